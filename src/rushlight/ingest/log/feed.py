"""What is sent next: a log's records in order, from memory when they are fresh, from the disk when they are not.

``cursor`` is the one place that moves: every record below it was answered by Redis, or has its terminal record. Going
back is moving it back; on the way forward, records that were sent before are looked up first and sent only if they
are still unsettled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import islice
from typing import NamedTuple

from rushlight.ingest.log.segment import Segment
from rushlight.ingest.log.wal import Call, WriteAheadLog

MAX_BATCH_RECORDS = 1000
MAX_BATCH_BYTES = 1 << 20
MAX_READ_RECORDS = 250
MAX_FRESH_BYTES = 8 << 20

Lookup = Callable[[Sequence[int]], Awaitable[object]]


class Batch(NamedTuple):
    """Records to send; when Redis has answered all of them the cursor may move from ``start`` to ``end``."""

    start: int
    end: int
    numbers: Sequence[int]
    partitions: Sequence[int]
    data: Sequence[bytes]


class Feed:
    """The order in which one log's records go out.

    Args:
        lookup: settles those of the given records in the log that have their terminal record.
    """

    def __init__(self, log: WriteAheadLog, lookup: Lookup) -> None:
        self._log = log
        self._lookup = lookup
        self._fresh: deque[Call] = deque()  # dense, and up to the end of what is on disk
        self._fresh_first = 0  # the records of the first of them below this number were sent
        self._fresh_bytes = 0
        self.cursor = log.segments[0].first if log.segments else log.next_number
        # Records below may have been sent before: by whoever held the log, or by us.
        self._sent_end = log.written_end
        # Below this number only records of these partitions are sent: the others' are still in their streams.
        self._again: set[int] = set()
        self._again_end = 0

    @property
    def drained(self) -> bool:
        """Whether everything on disk has been sent."""
        return self.cursor >= self._log.written_end

    @property
    def current(self) -> bool:
        """Whether what comes next is what has just come in."""
        return bool(self._fresh) and self._fresh_first <= self.cursor

    def written(self, calls: Sequence[Call]) -> None:
        """Take in what has just come onto the disk."""
        fresh = self._fresh
        for call in calls:
            if self._fresh_bytes + call.size > MAX_FRESH_BYTES:
                fresh.clear()
                self._fresh_bytes = 0
            if not fresh:
                self._fresh_first = call.first
            self._fresh_bytes += call.size
            fresh.append(call)

    async def next(self) -> Batch:
        """The next records; none, when all in the way are settled.

        Raises:
            OSError: the log cannot be read. PyMongoError: what is settled cannot be looked up.
        """
        return self._from_memory() if self.current else await self._from_disk()

    def advance(self, start: int, end: int) -> None:
        """Records up to ``end`` were answered. Does nothing when the cursor was moved back meanwhile."""
        if self.cursor != start:
            return
        self.cursor = end
        self._sent_end = max(self._sent_end, end)
        fresh = self._fresh
        while fresh and fresh[0].end <= end:
            self._fresh_bytes -= fresh.popleft().size
        self._fresh_first = max(self._fresh_first, end)

    def rewind(self, partitions: Collection[int]) -> None:
        """Send everything unsettled of these partitions again, in order, before anything new."""
        first = [next(self._log.open_of(partition, 0, self.cursor), self.cursor) for partition in partitions]
        if self.cursor >= self._again_end:
            self._again = set()
        self._again |= set(partitions)
        self._again_end = max(self._again_end, self.cursor)
        self.cursor = min(self.cursor, *first)

    def _from_memory(self) -> Batch:
        start = self.cursor
        data: list[bytes] = []
        partitions = bytearray()
        size = 0
        for call in self._fresh:
            records = call.records
            if (
                call.first >= start
                and len(data) + len(records.data) <= MAX_BATCH_RECORDS
                and size + call.size <= MAX_BATCH_BYTES
            ):
                data += records.data
                partitions += records.partitions
                size += call.size
                continue
            begin = max(0, start - call.first)
            end = begin + self._fitting(records.data, begin, len(data), size)
            data += records.data[begin:end]
            partitions += records.partitions[begin:end]
            break
        end = start + len(data)
        return Batch(start, end, range(start, end), partitions, data)

    @staticmethod
    def _fitting(records: Sequence[bytes], begin: int, before: int, size: int) -> int:
        """How many records from ``begin`` on a batch takes that has some before; at least one, if it is the first."""
        count = 0
        for data in islice(records, begin, begin + MAX_BATCH_RECORDS - before):
            size += len(data)
            if size > MAX_BATCH_BYTES and before + count:
                break
            count += 1
        return count

    async def _from_disk(self) -> Batch:
        start = self.cursor
        # What is settled may have been dropped since.
        begin = max(start, self._log.segments[0].first)
        segment = self._log.segment_of(begin)
        numbers, end = self._chunk(segment, begin)
        before = [number for number in numbers if number < self._sent_end]
        if before:
            await self._lookup(before)
            numbers = [number for number in numbers if segment.is_open(number)]
        return await self._read(segment, numbers, start, end)

    def _chunk(self, segment: Segment, start: int) -> tuple[list[int], int]:
        """Unsettled records of one segment in the way, and the end of the stretch that they lie in."""
        stop = self._fresh_first if self._fresh else self._log.written_end
        end = min(stop, segment.end)
        numbers: list[int] = []
        number = segment.next_open(start)
        while number is not None and number < end:
            if number >= self._again_end or segment.partitions[number - segment.first] in self._again:
                numbers.append(number)
                if len(numbers) == MAX_READ_RECORDS:
                    return numbers, number + 1
            number = segment.next_open(number + 1)
        return numbers, end

    async def _read(self, segment: Segment, numbers: Sequence[int], start: int, end: int) -> Batch:
        read: list[int] = []
        found: list[bytes] = []
        size = 0
        for number, data in zip(numbers, await self._log.read(segment, numbers) if numbers else (), strict=True):
            if data is None:
                self._log.damaged(number)
                continue
            size += len(data)
            if read and size > MAX_BATCH_BYTES:
                end = number
                break
            read.append(number)
            found.append(data)
        return Batch(start, end, read, [segment.partitions[number - segment.first] for number in read], found)
