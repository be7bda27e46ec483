"""What runs on a data directory, as every other process may read it; believed only while the lock is held."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

import msgspec

from rushlight.errors import SetupError
from rushlight.local.layout import Layout
from rushlight.local.records import Record, is_alive, read_records
from rushlight.settings import Settings

LOCK_SECONDS = 1.0  # a reader that looks whether the lock is held holds it for an instant
POLL_SECONDS = 0.02
STOP_SECONDS = 10.0
START_SECONDS = 30.0


class Locked(SetupError):
    """Another supervisor holds the data directory."""


class Instance(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """A running instance: where it is reached and which processes it consists of.

    Attributes:
        pid: the supervisor.
        urls: ``board`` and ``orders``, as far as they run.
        redis_url, mongo_url, orders_mongo_url: the servers, embedded or given; orders share MongoDB unless said.
        database: the name of its MongoDB database.
        children: pids of the children by name: ``valkey``, ``mongod``, ``web``, ``ingest-1`` …, ``orders``,
            ``worker-1`` …
        settings: the whole settings it runs with, ports and URLs filled in.
    """

    pid: int
    urls: dict[str, str]
    redis_url: str
    mongo_url: str
    database: str
    children: dict[str, int]
    settings: Settings
    orders_mongo_url: str | None = None

    def kill(self, child: str) -> None:
        """End a child with SIGKILL; the supervisor starts it again."""
        self._signal(child, signal.SIGKILL)

    def freeze(self, child: str) -> None:
        """Stop a child where it stands (SIGSTOP): it neither answers nor dies."""
        self._signal(child, signal.SIGSTOP)

    def thaw(self, child: str) -> None:
        """Let a frozen child go on."""
        self._signal(child, signal.SIGCONT)

    async def stop(self, child: str) -> None:
        """Stop a child in good order and keep it stopped until ``start``; after ten seconds by SIGKILL."""
        self._layout.hold(child).touch()
        record = self._record(child)
        _send(record, signal.SIGTERM)
        _send(record, signal.SIGCONT)
        deadline = time.monotonic() + STOP_SECONDS
        while is_alive(record):
            if time.monotonic() > deadline:
                _send(record, signal.SIGKILL)
            await asyncio.sleep(POLL_SECONDS)

    async def start(self, child: str) -> None:
        """Start a child that ``stop`` stopped, and wait until its process is there.

        Raises:
            SetupError: when it does not come up.
        """
        self._layout.hold(child).unlink(missing_ok=True)
        deadline = time.monotonic() + START_SECONDS
        while not is_alive(self._record(child)):
            if time.monotonic() > deadline:
                raise SetupError(f"{child} did not start again: see {self._layout.log_of(child)}")
            await asyncio.sleep(POLL_SECONDS)

    def pid_of(self, child: str) -> int:
        """The child's pid as of now (a restart changes it)."""
        return self._record(child).pid

    @property
    def _layout(self) -> Layout:
        return Layout(self.settings.path)

    def _record(self, child: str) -> Record:
        found = read_records(self._layout.children).get(child)
        if found is None:
            raise SetupError(f"no child named {child} runs on {self.settings.data}: there are {sorted(self.children)}")
        return found

    def _signal(self, child: str, number: signal.Signals) -> None:
        _send(self._record(child), number)


def read(data: Path | str) -> Instance | None:
    """The instance that runs on this data directory; None when none does or it is not ready yet."""
    layout = Layout(Path(data))
    if not is_locked(layout):
        return None
    try:
        return msgspec.json.decode(layout.instance.read_bytes(), type=Instance)
    except (OSError, msgspec.MsgspecError):
        return None


def is_locked(layout: Layout) -> bool:
    """Whether a supervisor holds this data directory."""
    try:
        with layout.lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def take_lock(layout: Layout) -> int:
    """Hold the data directory until the returned descriptor is closed or this process ends.

    Raises:
        Locked: when another supervisor holds it; it says its pid and URL.
        OSError: when the file system knows no locks.
    """
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.read(descriptor, 32).decode().strip()
                os.close(descriptor)
                raise Locked(_locked(layout, holder)) from None
            time.sleep(POLL_SECONDS)
        else:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor


def _locked(layout: Layout, holder: str) -> str:
    where = ""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        urls = msgspec.json.decode(layout.instance.read_bytes(), type=Instance).urls
        where = f" at {next(iter(urls.values()))}" if urls else ""
    pid = holder or "unknown"
    return f"another instance (pid {pid}) runs on {layout.data}{where}: stop it (kill {pid}) or give another --data"


def _send(record: Record, number: signal.Signals) -> None:
    if is_alive(record):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)
