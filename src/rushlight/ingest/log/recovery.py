"""Reads a log that somebody left behind: every record that was acknowledged is found, or reported as unreadable.

Nothing in the old files is changed. Numbers are dense, and a segment's header says where the one before it ended: a
record below that number was acknowledged, one from there on was not (its write failed, or its frame was torn).
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from rushlight.errors import Unavailable
from rushlight.events.ids import partition_of
from rushlight.ingest.log.frames import (
    FILE_HEAD,
    FRAME_MAGIC,
    MAX_HEADER_BYTES,
    Frame,
    Header,
    read_frames,
    read_header,
)
from rushlight.ingest.log.priority import priority_of
from rushlight.ingest.log.segment import Entry, Segment

logger = logging.getLogger(__name__)

SUFFIX = ".wal"
# Under this source stand records that were acknowledged and whose bytes are damaged.
UNREADABLE_SOURCE = "unreadable"


class _Record(msgspec.Struct, gc=False):
    """What has to be known of an envelope to deliver it."""

    id: str
    eventName: str  # noqa: N815 - the wire's name
    aggregateId: str  # noqa: N815
    shop: str
    source: str
    receivedAt: datetime  # noqa: N815


_decoder = msgspec.json.Decoder(_Record)


class Sources:
    """The names of a log's sources, by small numbers."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def find(self, name: str) -> int | None:
        """The source's number, if it has one."""
        return self._numbers.get(name)

    def number(self, name: str) -> int:
        """The source's number, a new one for a new name."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.names)
            self.names.append(name)
        return found


@dataclass(slots=True)
class Found:
    """What a log's directory holds.

    Attributes:
        log, database: identity as the headers have it; empty when there is no readable header.
        before: acknowledged records of segments that are gone, by source.
        missing: those of them that never got a terminal record, by source.
        next_number, next_serial: what the next record and the next file get.
        damage: what cannot be read, in words.
    """

    log: str = ""
    database: str = ""
    before: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    segments: list[Segment] = field(default_factory=list)
    sources: Sources = field(default_factory=Sources)
    next_number: int = 1
    next_serial: int = 1
    damage: list[str] = field(default_factory=list)

    def report(self, what: str) -> None:
        """Note damage, where an operator sees it."""
        self.damage.append(what)
        logger.error("write-ahead log: %s", what)


def peek(directory: Path) -> Header | None:
    """The newest readable header of a log, without reading the records."""
    headers = [_header(path) for path in _paths(directory)]
    return next((header for header in reversed(headers) if header is not None), None)


def has_frames(directory: Path) -> bool:
    """Whether anything was ever written into a log, though its headers may be gone."""
    return any(FRAME_MAGIC in path.read_bytes() for path in _paths(directory))


def recover(directory: Path, partitions: int) -> Found:
    """Read a whole log. Blocks; holds one segment at a time in memory.

    Raises:
        Unavailable: the files cannot be read.
    """
    found = Found()
    try:
        paths = _paths(directory)
        headers = [_header(path) for path in paths]
        for index, path in enumerate(paths):
            found.next_serial = int(path.stem) + 1
            following = [header.first for header in headers[index + 1 :] if header is not None]
            _read_segment(found, path, headers[index], following[0] if following else None, partitions)
        if paths:
            _sync(paths[-1])
    except OSError as error:
        raise Unavailable(f"the write-ahead log in {directory} cannot be read: {error}") from error
    return found


def _paths(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdigit())


def _header(path: Path) -> Header | None:
    with path.open("rb") as file:
        head = file.read(FILE_HEAD.size)
        size = FILE_HEAD.unpack(head)[1] if len(head) == FILE_HEAD.size else 0
        found = read_header(head + file.read(min(size, MAX_HEADER_BYTES)))
    return found[0] if found else None


def _read_segment(found: Found, path: Path, header: Header | None, limit: int | None, partitions: int) -> None:
    data = path.read_bytes()
    head = read_header(data)
    frames = list(read_frames(data, head[1] if head else 0))
    if header is None and not frames and limit is None:
        return  # made and not written before the end came: nothing was acknowledged in it
    if header is None:
        found.report(f"{path}: its header is damaged")
    else:
        found.log, found.database = header.log, header.database
    if not found.segments:
        found.before = Counter(header.acknowledged if header else {})
        found.missing = Counter(header.missing if header else {})
        found.next_number = header.first if header else frames[0].first if frames else found.next_number
    segment = Segment(path, found.next_number, len(data))
    found.segments.append(segment)
    _fill(found, segment, frames, limit, partitions)


def _fill(found: Found, segment: Segment, frames: Sequence[Frame], limit: int | None, partitions: int) -> None:
    for index, frame in enumerate(frames):
        last = limit is None and index == len(frames) - 1
        for number, (offset, data) in enumerate(frame.records, start=frame.first):
            if limit is not None and number >= limit:
                return
            record = _decode(data)
            if record is None and last:
                return  # the torn tail: whoever sent it was not answered
            _skip_to(found, segment, number)
            if number < found.next_number:
                continue
            if record is None:
                _skip_to(found, segment, number + 1)
            else:
                _note(found, segment, record, offset, partitions)
    if limit is not None:
        _skip_to(found, segment, limit)


def _skip_to(found: Found, segment: Segment, number: int) -> None:
    missing = number - found.next_number
    if missing <= 0:
        return
    found.report(f"{segment.path}: records {found.next_number} to {number - 1} were acknowledged and cannot be read")
    segment.add_unreadable(missing, found.sources.number(UNREADABLE_SOURCE))
    found.next_number = number


def _note(found: Found, segment: Segment, record: _Record, offset: int, partitions: int) -> None:
    partition = partition_of(record.shop, record.aggregateId, partitions)
    source = found.sources.number(record.source)
    entry = Entry(b"", bytes.fromhex(record.id), partition, source, priority_of(record.eventName))
    segment.add(entry, offset, int(record.receivedAt.timestamp() * 1000))
    found.next_number += 1


def _decode(data: bytes | None) -> _Record | None:
    if data is None:
        return None
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError:
        return None


def _sync(path: Path) -> None:
    # A tail that was read from the cache and not from the disk must not vanish after it has been counted.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
