"""One segment's records in memory: some thirty bytes each, never their data, which is read again when it is needed."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from rushlight.failpoints import at
from rushlight.ingest.log.frames import RECORD_HEAD, read_record

OPEN, SETTLED, UNREADABLE = 0, 1, 2
ID_BYTES = 16
NO_PARTITION = 255


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record to be: the envelope's bytes, its id (16 bytes), partition, source and priority."""

    data: bytes
    id: bytes
    partition: int
    source: int
    priority: int


class Records(msgspec.Struct, frozen=True, gc=False):
    """Records to be, field by field: what many of them cost is what one costs.

    Attributes:
        ids: of 16 bytes each, one behind the other. partitions, priorities: a byte for each.
    """

    data: list[bytes]
    ids: bytes
    partitions: bytes | bytearray
    sources: list[int]
    priorities: bytes | bytearray

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Records:
        """The same from one object for each."""
        entries = list(entries)
        return cls(
            [entry.data for entry in entries],
            b"".join([entry.id for entry in entries]),
            bytes([entry.partition for entry in entries]),
            [entry.source for entry in entries],
            bytes([entry.priority for entry in entries]),
        )


class Segment:
    """What is known of each record of one file.

    Attributes:
        first: number of the first record. size: bytes of the file that count against the cap.
        unsettled: records without a terminal record, the unreadable among them.
    """

    def __init__(self, path: Path, first: int, size: int) -> None:
        self.path = path
        self.first = first
        self.size = size
        self.unsettled = 0
        self.partitions = bytearray()
        self.sources = array("H")
        self.priorities = bytearray()
        self.received = array("q")
        self._states = bytearray()
        self._ids = bytearray()
        self._offsets = array("I")

    @property
    def end(self) -> int:
        """The number after its last record's."""
        return self.first + len(self._states)

    def add(self, entry: Entry, offset: int, received_ms: int) -> None:
        """Note a record that is on disk."""
        self._offsets.append(offset)
        self._ids += entry.id
        self.partitions.append(entry.partition)
        self.sources.append(entry.source)
        self.priorities.append(entry.priority)
        self.received.append(received_ms)
        self._states.append(OPEN)
        self.unsettled += 1

    def add_all(self, group: Sequence[Records], offsets: Sequence[int], received_ms: Sequence[int]) -> None:
        """Note records that are on disk."""
        self._offsets.extend(offsets)
        self._ids += b"".join([records.ids for records in group])
        self.partitions += b"".join([records.partitions for records in group])
        self.sources.extend([source for records in group for source in records.sources])
        self.priorities += b"".join([records.priorities for records in group])
        self.received.extend(received_ms)
        self._states += bytes(len(offsets))  # OPEN
        self.unsettled += len(offsets)

    def add_unreadable(self, count: int, source: int) -> None:
        """Note records that were acknowledged and cannot be read."""
        for _ in range(count):
            self.add(Entry(b"", bytes(ID_BYTES), NO_PARTITION, source, 0), 0, 0)
            self._states[-1] = UNREADABLE

    def id(self, number: int) -> str:
        """The event id of a record."""
        at = (number - self.first) * ID_BYTES
        return self._ids[at : at + ID_BYTES].hex()

    def settle(self, number: int) -> bool:
        """Note that a record has its terminal record; False when that was known."""
        index = number - self.first
        if self._states[index] != OPEN:
            return False
        self._states[index] = SETTLED
        self.unsettled -= 1
        return True

    def is_open(self, number: int) -> bool:
        """Whether a record can be sent and is not settled."""
        return self._states[number - self.first] == OPEN

    def next_open(self, number: int) -> int | None:
        """The first record from ``number`` on that can be sent and is not settled."""
        found = self._states.find(OPEN, max(0, number - self.first))
        return None if found < 0 else self.first + found

    def open_of(self, partition: int, start: int, stop: int) -> Iterator[int]:
        """Unsettled records of a partition with ``start <= number < stop``."""
        index, end = max(0, start - self.first), stop - self.first
        while (index := self.partitions.find(partition, index, end)) >= 0:
            if self._states[index] == OPEN:
                yield self.first + index
            index += 1

    def read(self, numbers: Sequence[int]) -> list[bytes | None]:
        """Envelopes of records, from the file; None for what is damaged. Blocks.

        Raises:
            OSError: the file cannot be read.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return [self._read(descriptor, number) for number in numbers]
        finally:
            os.close(descriptor)

    def mark_unreadable(self, number: int) -> None:
        """Note that a record's bytes turned out to be damaged: it stays unsettled, in sight."""
        self._states[number - self.first] = UNREADABLE

    def remove(self) -> None:
        """Remove the file.

        Raises:
            OSError: it is still there.
        """
        at("log.dropping")
        self.path.unlink(missing_ok=True)
        at("log.dropped")

    def _read(self, descriptor: int, number: int) -> bytes | None:
        offset = self._offsets[number - self.first]
        head = os.pread(descriptor, RECORD_HEAD.size, offset - RECORD_HEAD.size)
        if len(head) < RECORD_HEAD.size:
            return None
        return read_record(head + os.pread(descriptor, RECORD_HEAD.unpack(head)[0], offset))
