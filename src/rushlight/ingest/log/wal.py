"""A write-ahead log: what `put` reports as written is on disk, and is found again after any crash, until it is settled.

A log is a directory: ``lock`` (flock, held for as long as somebody works on it) and segments ``0000000001.wal`` …
Each segment's header carries forward how many records of each source came before it, so that the counts outlive the
segments. Records have dense numbers; (log, number) is a record's origin.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from rushlight.errors import Unavailable
from rushlight.failpoints import at
from rushlight.ingest.log import disk
from rushlight.ingest.log.frames import Header, pack_frame, pack_header
from rushlight.ingest.log.priority import MONEY, TENTHS, limit_bytes
from rushlight.ingest.log.recovery import SUFFIX, UNREADABLE_SOURCE, Found, recover
from rushlight.ingest.log.segment import Records, Segment

logger = logging.getLogger(__name__)

MAX_SEGMENT_BYTES = 16 << 20
MIN_SEGMENT_BYTES = 64 << 10
SEGMENTS_PER_CAP = 16
MAX_GROUP_BYTES = 4 << 20
MAX_QUEUED_BYTES = 64 << 20
RECORD_OVERHEAD_BYTES = 40
FULL_RETRY_SECONDS = 5.0
DISK_RETRY_SECONDS = 2.0
REFUSED_SECONDS = 15.0


class Call:
    """What one caller wants on disk together, and who is told when it is safe.

    Attributes:
        end: the number after its last record's. error: why it was refused, once it was.
    """

    __slots__ = ("_future", "_then", "answered", "end", "error", "first", "priority", "received_ms", "records", "size")

    def __init__(self, records: Records, received_ms: int, priority: int, first: int, size: int) -> None:
        self.records = records
        self.received_ms = received_ms
        self.priority = priority
        self.first = first
        self.end = first + len(records.data)
        self.size = size
        self.answered = False
        self.error: Unavailable | None = None
        self._then: Callable[[Unavailable | None], None] | None = None
        self._future: asyncio.Future[None] | None = None

    def then(self, told: Callable[[Unavailable | None], None]) -> None:
        """Have this called when the call is answered, which it is not yet; one caller only."""
        self._then = told

    @property
    def future(self) -> asyncio.Future[None]:
        """The same for those who wait; raises Unavailable when it was refused."""
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
            if self.answered:
                self._settle(self._future)
        return self._future

    def answer(self, error: Unavailable | None = None) -> None:
        """Tell the caller, once."""
        if self.answered:
            return
        self.answered = True
        self.error = error
        if self._future is not None and not self._future.done():
            self._settle(self._future)
        then, self._then = self._then, None  # what it holds must not live for as long as what is sent again
        if then is not None:
            try:
                then(error)
            except Exception:  # those who are told after this one are told nevertheless
                logger.exception("a caller could not be told")

    def _settle(self, future: asyncio.Future[None]) -> None:
        if self.error is None:
            future.set_result(None)
        else:
            future.set_exception(self.error)


class WriteAheadLog:
    """One log, held by this process. Make it with `create` or `take_over`, inside a running loop.

    Attributes:
        id: the log's id. damage: what could not be read when it was taken over, in words.
        acknowledged, pending: records by source, those of dropped segments included.
    """

    def __init__(self, directory: Path, held: int, log_id: str, database: str, cap_bytes: int, found: Found) -> None:
        self.directory = directory
        self.id = log_id
        self.database = database
        self.cap_bytes = cap_bytes
        self.damage = found.damage
        self.sources = found.sources
        self.segments = found.segments
        self.next_number = found.next_number
        self.pending: Counter[str] = Counter()
        self.pending_money = 0
        for segment in self.segments:
            self.pending.update(self.sources.names[number] for number in segment.sources)
            self.pending_money += segment.priorities.count(MONEY)
        self.acknowledged = found.before + self.pending
        self._missing = found.missing
        self.pending += self._missing
        self.on_written: Callable[[Sequence[Call]], None] = _answer_all
        self._serial = found.next_serial
        self._held = held
        self._disk = disk.Disk(f"log {log_id}")
        self._segment_bytes = max(MIN_SEGMENT_BYTES, min(MAX_SEGMENT_BYTES, cap_bytes // SEGMENTS_PER_CAP))
        self._descriptor = -1  # of the active segment, the last; below 0 the next write begins another
        self._queue: deque[Call] = deque()
        self._group: list[Call] = []
        self._stored_bytes = sum(segment.size for segment in self.segments)
        self._queued_bytes = 0
        self._limits = {priority: limit_bytes(cap_bytes, priority) for priority in TENTHS}
        self._refused, self._refused_at = "", 0.0  # why the disk did not take the last group, and when
        self._busy = False  # the disk works on a group or on a new segment
        self._closing = False

    @classmethod
    def create(cls, root: Path, database: str, *, cap_bytes: int) -> WriteAheadLog:
        """A new log in a directory of its own under ``root``.

        Raises:
            OSError: it cannot be made.
        """
        log_id = secrets.token_hex(6)
        directory = root / log_id
        directory.mkdir(parents=True)
        held = disk.lock(directory)
        if held is None:
            raise OSError(f"{directory} cannot be locked")
        log = cls(directory, held, log_id, database, cap_bytes, Found())
        path, header = log._next_segment()
        log._begun(disk.create(path, header), path, len(header), log.next_number)
        disk.sync_directory(root)
        return log

    @classmethod
    def take_over(cls, directory: Path, held: int, *, cap_bytes: int, partitions: int) -> WriteAheadLog:
        """A log that somebody left behind and that this process has locked (``held``). Blocks while it is read.

        Raises:
            Unavailable: its files cannot be read.
        """
        found = recover(directory, partitions)
        known = {segment.path for segment in found.segments}
        for path in directory.glob(f"*{SUFFIX}"):
            if path not in known:  # a segment that was never begun
                path.unlink(missing_ok=True)
        return cls(directory, held, found.log or directory.name, found.database, cap_bytes, found)

    @property
    def size(self) -> int:
        """Bytes that count against the cap."""
        return self._stored_bytes + self._queued_bytes

    def trouble(self, priority: int) -> str | None:
        """Why a large event of this priority would be refused now; None when it would not."""
        # For a while: whoever is sent nothing any more because of it would never find out that the disk is well again.
        if self._refused and time.monotonic() - self._refused_at < REFUSED_SECONDS:
            return self._refused
        largest = min(MIN_SEGMENT_BYTES, self.cap_bytes // SEGMENTS_PER_CAP)
        if self.size + largest > self._limits[priority]:
            return f"the write-ahead log is full ({self.size >> 20} of {self.cap_bytes >> 20} MiB)"
        return None

    @property
    def written_end(self) -> int:
        """The number after the last record that is on disk."""
        return self.segments[-1].end if self.segments else self.next_number

    @property
    def oldest_waiting(self) -> Call | None:
        """The oldest call that is not on disk yet."""
        waiting = self._group or self._queue
        return waiting[0] if waiting else None

    @property
    def writing(self) -> Iterator[Call]:
        """Calls that are not on disk yet, the oldest first."""
        yield from self._group
        yield from self._queue

    def put(self, records: Records, received_ms: int, priority: int = MONEY) -> Call:
        """Queue records; the first has the number `next_number`. `on_written` is told when they are on disk.

        The call is answered with Unavailable when the disk refuses them.

        Raises:
            Unavailable: there is no room for events of this priority, or the log is closing. Nothing was queued.
        """
        size = sum(map(len, records.data)) + RECORD_OVERHEAD_BYTES * len(records.data)
        if self._closing:
            raise Unavailable("the write-ahead log is closing", retry_after_seconds=DISK_RETRY_SECONDS)
        room = self._limits[priority] - self._stored_bytes - self._queued_bytes
        if size > room or self._queued_bytes > MAX_QUEUED_BYTES:
            raise Unavailable("the write-ahead log is full", retry_after_seconds=FULL_RETRY_SECONDS)
        call = Call(records, received_ms, priority, self.next_number, size)
        self.next_number = call.end
        self._queued_bytes += size
        self._queue.append(call)
        if not self._busy:
            self._write()
        return call

    def segment_of(self, number: int) -> Segment:
        """The segment of a record that is on disk and not dropped."""
        return self.segments[bisect_right(self.segments, number, key=lambda segment: segment.first) - 1]

    def settle(self, number: int) -> None:
        """Note that a record has its terminal record; its segment may be gone by now."""
        if number < self.segments[0].first:
            return
        segment = self.segment_of(number)
        if segment.settle(number):
            index = number - segment.first
            self.pending[self.sources.names[segment.sources[index]]] -= 1
            self.pending_money -= segment.priorities[index] == MONEY

    def damaged(self, number: int) -> None:
        """Note that a record's bytes cannot be read any more: it stays pending, in sight."""
        segment = self.segment_of(number)
        segment.mark_unreadable(number)
        self._report(f"{segment.path}: record {number} was acknowledged and cannot be read")

    def missing(self, source: str, count: int) -> None:
        """Note records that MongoDB knows to have been acknowledged and that are no longer here: pending for good."""
        self._report(f"{self.directory}: {count} acknowledged records of {source} are gone")
        known = min(count, self.pending[UNREADABLE_SOURCE])  # noticed before, without knowing whose they are
        for counts in (self.acknowledged, self.pending):
            counts[UNREADABLE_SOURCE] -= known
            counts[source] += count
        self._missing[source] += count - known

    def open_of(self, partition: int, start: int, stop: int) -> Iterator[int]:
        """Unsettled records of a partition with ``start <= number < stop``."""
        for segment in self.segments:
            if segment.end > start and segment.first < stop:
                yield from segment.open_of(partition, start, stop)

    def next_open(self, number: int) -> int | None:
        """The first unsettled record from ``number`` on that is on disk and can be read."""
        for segment in self.segments:
            if segment.end > number:
                found = segment.next_open(number)
                if found is not None:
                    return found
        return None

    def drop_settled(self) -> None:
        """Remove the oldest segments as far as everything in them is settled; the newest carries their counts."""
        while len(self.segments) > 1 and not self.segments[0].unsettled:
            segment = self.segments.pop(0)
            self._stored_bytes -= segment.size
            self._disk.submit(segment.remove, _ignore)

    async def read(self, segment: Segment, numbers: Sequence[int]) -> list[bytes | None]:
        """Envelopes of records of one segment, from the disk; None for what is damaged.

        Raises:
            OSError: the file cannot be read.
        """
        return await self._disk.run(lambda: segment.read(numbers))

    async def compact(self) -> None:
        """Begin a new segment and drop what is settled: a log at rest is one small file.

        Raises:
            OSError: the segment cannot be made; nothing has changed.
        """
        if self._busy or not self.segments or self.segments[-1].end == self.segments[-1].first:
            return
        self._busy = True  # a record that were written meanwhile would stand behind the end that the header says
        path, header = self._next_segment()
        compacted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def switch(result: int | OSError) -> None:  # also when nobody waits for it any more
            self._busy = False
            if not isinstance(result, OSError):
                self._begun(result, path, len(header), self.segments[-1].end)
                at("log.compacted")
                self.drop_settled()
            self._write()
            if not compacted.done():
                compacted.set_exception(result) if isinstance(result, OSError) else compacted.set_result(None)

        self._disk.submit(lambda: disk.create(path, header), switch)
        await compacted

    async def close(self) -> None:
        """Finish what was queued, and let go of the directory."""
        self._closing = True
        while self._busy:
            await self._disk.run(_nothing)
        self.abandon()

    def abandon(self) -> None:
        """Let go of a directory through which nothing is being written."""
        self._closing = True
        self._disk.close(self._release)

    def _report(self, what: str) -> None:
        self.damage.append(what)
        logger.error("write-ahead log: %s", what)

    def _release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        os.close(self._held)

    def _write(self) -> None:
        """Hand the next group to the disk. Only one is under way: a frame follows only one that is on disk."""
        size = 0
        while self._queue and (not self._group or size + self._queue[0].size <= MAX_GROUP_BYTES):
            call = self._queue.popleft()
            size += call.size
            self._group.append(call)
        if not self._group:
            return
        self._busy = True
        frame, offsets = pack_frame(self._group[0].first, [data for call in self._group for data in call.records.data])
        descriptor = self._descriptor
        if descriptor >= 0 and self.segments[-1].size + len(frame) <= self._segment_bytes:
            offset = self.segments[-1].size
            self._disk.submit(
                lambda: _append(descriptor, frame, offset), lambda result: self._written(result, frame, offsets)
            )
            return
        path, header = self._next_segment()
        self._disk.submit(
            lambda: _begin(path, header, frame),
            lambda result: self._written(result, frame, offsets, (path, len(header))),
        )

    def _next_segment(self) -> tuple[Path, bytes]:
        first = self.written_end
        carried = {name: count for name, count in self.acknowledged.items() if count}
        path = self.directory / f"{self._serial:010d}{SUFFIX}"
        self._serial += 1
        header = Header(
            log=self.id, database=self.database, first=first, acknowledged=carried, missing=dict(self._missing)
        )
        return path, pack_header(header)

    def _begun(self, descriptor: int, path: Path, size: int, first: int) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._stored_bytes += size
        self.segments.append(Segment(path, first, size))

    def _written(
        self, result: int | OSError, frame: bytes, offsets: list[int], begun: tuple[Path, int] | None = None
    ) -> None:
        group, self._group = self._group, []
        self._busy = False
        if isinstance(result, OSError):
            self._refuse(group, result)
            return
        if begun:
            self._begun(result, *begun, group[0].first)
        self._refused = ""
        self._note(group, len(frame), offsets)
        self._write()
        self.on_written(group)

    def _note(self, group: list[Call], size: int, offsets: list[int]) -> None:
        segment = self.segments[-1]
        names = self.sources.names
        start, before = len(segment.sources), segment.size
        received = [call.received_ms for call in group for _ in call.records.data]
        segment.add_all([call.records for call in group], [before + offset for offset in offsets], received)
        counts = Counter(segment.sources[start:])
        self.pending_money += segment.priorities.count(MONEY, start)
        self._queued_bytes -= sum([call.size for call in group])
        for source, count in counts.items():
            self.acknowledged[names[source]] += count
            self.pending[names[source]] += count
        segment.size += size
        self._stored_bytes += size

    def _refuse(self, group: list[Call], error: OSError) -> None:
        # What a failed write left in the file is unknown. The next one goes to another file, whose header says that
        # the refused numbers, which are given again, do not count in this one.
        refused = [*group, *self._queue]
        self._queue.clear()
        self._queued_bytes = 0
        self.next_number = group[0].first
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):
                os.close(descriptor)
        self._refused_at = time.monotonic()
        reason = self._refused = f"the write-ahead log cannot be written: {error.strerror or error}"
        for call in refused:
            call.answer(Unavailable(reason, retry_after_seconds=DISK_RETRY_SECONDS))


def _answer_all(calls: Sequence[Call]) -> None:
    for call in calls:
        call.answer()


def _append(descriptor: int, frame: bytes, offset: int) -> int:
    at("log.unwritten")
    try:
        disk.write(descriptor, frame, offset)
        at("log.synced")
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, offset)
        raise
    return descriptor


def _begin(path: Path, header: bytes, frame: bytes) -> int:
    descriptor = disk.create(path, header)
    try:
        at("log.rolled")
        disk.write(descriptor, frame, len(header))
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


def _nothing() -> None:
    """What one waits for behind everything that was asked of the disk before."""


def _ignore(_: object) -> None:
    """A file that could not be removed is removed by the next holder."""
