"""Every process a benchmark starts is ended by its pid, and dies with the benchmark if that is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rushlight.local.process import spawn

STOP_SECONDS = 20.0
POLL_SECONDS = 0.02
CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class BenchmarkError(Exception):
    """A benchmark cannot be run or did not measure what it set out to; the message says what to do."""


class Memory(NamedTuple):
    """Resident memory in bytes: ``pss`` shares common pages fairly, ``rss`` counts them for every process."""

    pss: int
    rss: int


def free_port(count: int = 1) -> int:
    """The first of ``count`` adjacent loopback ports that nobody listens on."""
    for _ in range(100):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            first = held.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            for offset in range(1, count):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port + offset))
            return port
    raise BenchmarkError(f"no {count} adjacent free ports on loopback")


class Child:
    """One started program, with its output in a log file.

    Must be started from the main thread: the kernel ends it when the starting thread ends.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None):
        self.name = name
        self._process = spawn(name, command, log=log, environment=environment)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Poll ``ready`` until it holds.

        Raises:
            BenchmarkError: when the program ends or the time runs out first; it shows the end of the log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if (code := self._process.code) is not None:
                raise BenchmarkError(f"{self.name} ended with {code}:\n{self.output()}")
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{self.name} was not ready within {seconds:.0f} s:\n{self.output()}")
            time.sleep(POLL_SECONDS)

    def output(self) -> str:
        """What it last wrote."""
        return self._process.last_words()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        while self._process.code is None:
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        for pid in process_tree(self.pid):
            _send(pid, signal.SIGCONT)
        self._process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while self._process.code is None:
            if time.monotonic() > deadline:
                self._process.kill()
            time.sleep(POLL_SECONDS)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Hold one process still (SIGSTOP) and let it go on afterwards whatever happens."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(pid, signal.SIGCONT)


def process_tree(root: int) -> list[int]:
    """The process and all its living descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that living processes have used so far, in seconds."""
    ticks = 0
    for pid in pids:
        if fields := _stat(pid):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / CLOCK_TICKS_PER_SECOND


def memory(pid: int) -> Memory:
    """Resident memory of one process; zero when it has ended."""
    values = {"Pss": 0, "Rss": 0}
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            key, _, rest = line.partition(":")
            if key in values:
                values[key] = int(rest.split()[0]) * 1024
    return Memory(values["Pss"], values["Rss"])


def resident(pid: int) -> int:
    """Resident bytes of one process, asked for in a way that does not hold it up; zero when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` after the name, state first."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
