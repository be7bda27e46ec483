"""Takes hold of a log: locked here and registered in MongoDB before anything is acknowledged through it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from pymongo.errors import PyMongoError

from rushlight.errors import SetupError, Unavailable
from rushlight.failpoints import at
from rushlight.ingest.log import disk
from rushlight.ingest.log.delivery import Delivery
from rushlight.ingest.log.figures import Figures
from rushlight.ingest.log.recovery import SUFFIX, has_frames, peek
from rushlight.ingest.log.registry import Registration, identity
from rushlight.ingest.log.wal import WriteAheadLog
from rushlight.store.database import Database


async def hold(database: Database, redis_url: str, directory: Path, *, cap_bytes: int, partitions: int) -> Delivery:
    """A log in ``directory`` that takes new records: a sound one that was left behind, else a new one.

    Raises:
        SetupError: the directory cannot be used.
        Unavailable: MongoDB does not answer.
    """
    log: WriteAheadLog | None = None
    try:
        known_as = await identity(database)
        log = await asyncio.to_thread(_free, directory, known_as, cap_bytes, partitions)
        if log is None:
            log = WriteAheadLog.create(directory.absolute(), known_as, cap_bytes=cap_bytes)
        delivery = await deliver(log, database, redis_url)
    except OSError as error:
        raise SetupError(f"{directory} cannot hold a write-ahead log ({error}): change it or its owner") from error
    except PyMongoError as error:
        if log is not None:
            await log.close()
        raise Unavailable(f"MongoDB does not answer: {error}") from error
    at("log.opened")
    return delivery


async def deliver(log: WriteAheadLog, database: Database, redis_url: str) -> Delivery:
    """Register a log that this process holds.

    Raises:
        PyMongoError: it is not registered, and must not acknowledge anything.
    """
    registration = Registration(database, log.id, str(log.directory), log.cap_bytes)
    before = await registration.begin()
    known = Counter({name: counts["acknowledged"] for name, counts in before.get("sources", {}).items()})
    for name, count in (known - log.acknowledged).items():
        log.missing(name, count)
    return Delivery(log, database, redis_url, Figures(log, registration, before.get("rejected", {})))


def _free(directory: Path, database: str, cap_bytes: int, partitions: int) -> WriteAheadLog | None:
    """The first log that nobody holds, belongs to this database and can be read in full."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in sorted(entry for entry in directory.absolute().iterdir() if entry.is_dir()):
        held = lock_log(path)
        if held is None:
            continue
        with suppress(Undeliverable):
            log = take_over(path, held, database, cap_bytes=cap_bytes, partitions=partitions)
            if log is not None and not log.damage:
                return log
            if log is not None:
                log.abandon()
    return None


class Undeliverable(SetupError):
    """What lies in a log cannot be delivered to this database; somebody has to look at it."""


def lock_log(directory: Path) -> int | None:
    """Lock the log in a directory; None when somebody holds it, or there is none."""
    try:
        return disk.lock(directory) if any(directory.glob(f"*{SUFFIX}")) else None
    except OSError:
        return None


def take_over(directory: Path, held: int, database: str, *, cap_bytes: int, partitions: int) -> WriteAheadLog | None:
    """Read a log that this process has locked; None (and unlocked) when nothing was ever acknowledged in it. Blocks.

    Raises:
        Undeliverable: it belongs to another database, or no file of it says to which.
        Unavailable, OSError: its files cannot be read.
    """
    try:
        header = peek(directory)
        if header is not None and header.database == database:
            return WriteAheadLog.take_over(directory, held, cap_bytes=cap_bytes, partitions=partitions)
        if header is not None:
            raise Undeliverable(f"the log in {directory} was written for another database and is left as it is")
        if has_frames(directory):
            raise Undeliverable(f"the log in {directory} is damaged: no file of it says to which database it belongs")
    except BaseException:
        os.close(held)
        raise
    os.close(held)
    return None
