"""A process started here cannot outlive us, and what it said last can be read.

On Linux the kernel kills a child when the thread that started it ends, however that happens; so children are
started from the main thread. Elsewhere, and as a second line, `rushlight.local.records` finds survivors.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from rushlight.local.records import Record, identity

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.05
OPEN_FILES = 16_384  # every viewer and every caller is one
LOG_BYTES = 8 * 1024 * 1024
LAST_WORDS_BYTES = 20_000


class Child:
    """A running child process and, once it has ended, its exit code (negative: the signal that ended it)."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, log_start: int) -> None:
        self.name = name
        self.pid = process.pid
        self.started = time.monotonic()
        self.record = Record(self.pid, identity(self.pid) or "")
        self._process = process
        self._log = log
        self._log_start = log_start

    @property
    def code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait for the end without a thread, and return the exit code."""
        with contextlib.suppress(OSError, AttributeError):
            watched = os.pidfd_open(self.pid)
            try:
                await _readable(watched)
            finally:
                os.close(watched)
        while (code := self.code) is None:  # noqa: ASYNC110 - where the system has no pidfd
            await asyncio.sleep(POLL_SECONDS)
        return code

    def last_words(self) -> str:
        """The end of what it has written to its log since it started."""
        try:
            with self._log.open("rb") as log:
                size = self._log.stat().st_size
                start = self._log_start if self._log_start <= size else 0  # capped meanwhile
                log.seek(max(start, size - LAST_WORDS_BYTES))
                return log.read().decode(errors="replace")
        except OSError:
            return ""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; one that has ended hears nothing."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """Ask it to stop, also when it is frozen."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once and collect it."""
        self._process.kill()
        self._process.wait()


def spawn(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    nice: int = 0,
    keep: Iterable[int] = (),
) -> Child:
    """Start a program that dies with the calling thread, in a process group of its own.

    Args:
        log: receives its standard output and error, appended.
        environment: added to ours.
        nice: by how much its priority is lowered.
        keep: file descriptors that it inherits.

    Raises:
        OSError: when the program cannot be started.
    """
    with log.open("ab") as output:
        log_start = output.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            process_group=0,
            pass_fds=tuple(keep),
            preexec_fn=_tied(os.getpid(), nice),  # noqa: PLW1509 - it only makes system calls
        )
    return Child(name, process, log, log_start)


def cap_log(path: Path) -> None:
    """Keep a log and one predecessor below the cap; writers append, so cutting it under them is safe."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > LOG_BYTES:
            path.with_name(f"{path.name}.1").write_bytes(path.read_bytes())
            os.truncate(path, 0)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _tied(parent: int, nice: int) -> Callable[[], None]:
    """What a new process does before it becomes the program; everything it needs is made ready before the fork."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else OPEN_FILES
    files = max(soft, min(most, OPEN_FILES)) if soft != resource.RLIM_INFINITY else soft

    def tie() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # the parent died before the line above: nobody would tell us
                os._exit(1)
        if files != soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        if nice:
            os.nice(nice)

    return tie
