"""Where a process lives, as part of its name in a lease, so that others of the same place know when it is dead."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path


def process_name() -> str:
    """A name for this process that no other has, nor had."""
    return f"{_place()}:{os.getpid()}:{secrets.token_hex(3)}"


def is_dead(name: str) -> bool:
    """Whether the owner of this name was a process of this place that is no more: nobody need wait for its lease."""
    place, pid, _ = name.rsplit(":", 2)
    if place != _place() or place.endswith("/"):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _place() -> str:
    """This machine since its last start, and within it the space in which process ids mean something."""
    boot, space = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]
        space = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    return f"{socket.gethostname()}/{boot}/{space}"
