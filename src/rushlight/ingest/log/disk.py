"""The one thread of a log: every write, sync, read and removal of its files happens there, in the order asked for."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

Job = Callable[[], None]

FILE_MODE = 0o600
# A write through such a descriptor returns when its bytes are on disk: one system call, one wait for the interpreter.
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_DSYNC


class Disk:
    """A thread that runs jobs one by one; results come back on the loop that asked."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T], done: Callable[[T | OSError], None]) -> None:
        """Run a job in the thread, then ``done`` with its result or its OSError on the running loop."""
        loop = asyncio.get_running_loop()

        def run() -> None:
            try:
                result: T | OSError = job()
            except OSError as error:
                result = error
            with suppress(RuntimeError):  # the loop is gone, and with it everybody who waited
                loop.call_soon_threadsafe(done, result)

        self._jobs.put(run)

    async def run(self, job: Callable[[], T]) -> T:
        """The same for those who wait.

        Raises:
            OSError: as the job.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(result: T | OSError) -> None:
            if future.done():
                return
            if isinstance(result, OSError):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.submit(job, done)
        return await future

    def close(self, last: Job) -> None:
        """Let the thread end after the jobs that were asked for and a last one; returns when it has."""
        self._jobs.put(last)
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def create(path: Path, content: bytes) -> int:
    """Make a file that is on disk, name and all, and return its descriptor.

    Raises:
        OSError: nothing is left behind.
    """
    descriptor = os.open(path, WRITE_FLAGS, FILE_MODE)
    try:
        write(descriptor, content, 0)
        sync_directory(path.parent)
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


def write(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of it and return when it is on disk.

    Raises:
        OSError: an unknown part of it may be.
    """
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
    if sys.platform == "darwin":  # there O_DSYNC stops at the drive's cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)


def sync_directory(directory: Path) -> None:
    """Put a directory's names on disk.

    Raises:
        OSError: they may not be.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(directory: Path) -> int | None:
    """Hold a directory (flock) until the descriptor is closed or the process ends; None while somebody else does.

    Raises:
        OSError: the directory is not there or not writable.
    """
    path = directory / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have removed the directory in between; then this lock protects nothing.
        held = path.stat().st_ino == os.fstat(descriptor).st_ino
    except (BlockingIOError, FileNotFoundError):
        held = False
    if not held:
        os.close(descriptor)
        return None
    return descriptor
