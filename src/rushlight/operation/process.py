"""What the process says of itself: version, start, processor time, memory, open files."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rushlight.metrics import Exposition

_STARTED = time.time()
_PAGE = resource.getpagesize()


class Usage(NamedTuple):
    """Of this process: Unix time of its start, processor seconds, bytes of memory."""

    started: float
    cpu_seconds: float
    memory_bytes: int


def usage() -> Usage:
    """As things stand now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Where there is no /proc, the most that it ever had (kilobytes, on macOS bytes).
    memory = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    with suppress(OSError, IndexError, ValueError):
        memory = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE
    return Usage(_STARTED, used.ru_utime + used.ru_stime, memory)


def report() -> dict[str, Any]:
    """The same as part of a report."""
    now = usage()
    return {"started": now.started, "cpuSeconds": now.cpu_seconds, "memoryBytes": now.memory_bytes}


def collect(exposition: Exposition, role: str) -> None:
    """Add this process's basics."""
    now = usage()
    exposition.add("rushlight_build_info", 1, version=version("rushlight"), role=role)
    exposition.add("process_start_time_seconds", now.started)
    exposition.add("process_cpu_seconds_total", now.cpu_seconds)
    exposition.add("process_resident_memory_bytes", now.memory_bytes)
    with suppress(OSError):
        exposition.add("process_open_fds", len(list(Path("/proc/self/fd").iterdir())))
