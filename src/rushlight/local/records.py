"""Remembers every child by an identity that no later process can have, so that the next start ends survivors safely."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

POLL_SECONDS = 0.02
SURVIVOR_SECONDS = 15.0


class Record(msgspec.Struct, frozen=True):
    """One started child as the next start finds it on disk."""

    pid: int
    identity: str


def identity(pid: int) -> str | None:
    """What tells this process from every other that has or will have its pid; None when there is no such process."""
    try:
        if sys.platform == "linux":
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[0] in "ZX":
                return None
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return f"{boot}/{fields[19]}"
        command = ["ps", "-o", "lstart=,comm=", "-p", str(pid)]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        return shown.stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


def is_alive(record: Record) -> bool:
    """Whether exactly the recorded process still runs."""
    return identity(record.pid) == record.identity


def write_records(path: Path, children: Mapping[str, Record]) -> None:
    """Replace the records on disk in one step."""
    write_atomically(path, msgspec.json.encode(children))


def read_records(path: Path) -> dict[str, Record]:
    """The records on disk; none when the file is absent or torn."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Record])
    except (OSError, msgspec.MsgspecError):
        return {}


def end_survivors(path: Path) -> list[str]:
    """Kill what a former supervisor left running, wait until it is gone, and return the names.

    Raises:
        TimeoutError: when one does not go (it hangs in the kernel).
    """
    survivors = {name: record for name, record in read_records(path).items() if is_alive(record)}
    for record in survivors.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGKILL)
    deadline = time.monotonic() + SURVIVOR_SECONDS
    while any(is_alive(record) for record in survivors.values()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(POLL_SECONDS)
    return list(survivors)


def write_atomically(path: Path, content: bytes) -> None:
    """Readers see the old or the new content, never a part."""
    draft = path.with_name(f"{path.name}.new")
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(path)
