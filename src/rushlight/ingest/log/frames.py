"""The bytes of a log segment: whatever was written whole is read back, and whatever was not is noticed.

A segment is a file header (JSON with a checksum) and frames. A frame is one group commit: it is written only after the
frame before it is on disk, so a frame that is followed by another one was acknowledged, and damage in it is damage;
damage in the last frame is a torn tail, which nobody was told about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from struct import Struct
from typing import NamedTuple
from zlib import crc32

import msgspec

FILE_MAGIC = b"\xffRLWAL1\n"
FILE_HEAD = Struct("<8sII")  # magic, bytes of the header's JSON, their CRC-32
# 0xff never stands in UTF-8: no record's text can be taken for a frame.
FRAME_MAGIC = b"\xffRLF"
FRAME_HEAD = Struct("<4sQIII")  # magic, first number, records, bytes that follow, CRC-32 of the fields before
RECORD_HEAD = Struct("<II")  # bytes of the envelope, their CRC-32
MAX_HEADER_BYTES = 1 << 20


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says of itself and carries forward from the segments before it.

    Attributes:
        log: the log's id. database: identity of the database whose journal its records belong to.
        first: number of the first record.
        acknowledged: records before ``first``, by source.
        missing: those of them that are gone without a terminal record, by source.
    """

    log: str
    database: str
    first: int
    acknowledged: dict[str, int]
    missing: dict[str, int] = {}


class Frame(NamedTuple):
    """One group commit as it was found.

    Attributes:
        offset, end: its bytes in the segment. first: number of its first record.
        records: offset of each envelope, and the envelope, or None where it is damaged.
    """

    offset: int
    end: int
    first: int
    records: list[tuple[int, bytes | None]]

    @property
    def whole(self) -> bool:
        """Whether nothing in it is damaged."""
        return all(data is not None for _, data in self.records)


def pack_header(header: Header) -> bytes:
    """The bytes that a segment begins with."""
    body = msgspec.json.encode(header)
    return FILE_HEAD.pack(FILE_MAGIC, len(body), crc32(body)) + body


def read_header(data: bytes) -> tuple[Header, int] | None:
    """The header and the offset of the first frame; None when the header is torn or damaged."""
    if len(data) < FILE_HEAD.size:
        return None
    magic, size, checksum = FILE_HEAD.unpack_from(data)
    body = data[FILE_HEAD.size : FILE_HEAD.size + size]
    if magic != FILE_MAGIC or size > MAX_HEADER_BYTES or len(body) != size or crc32(body) != checksum:
        return None
    return msgspec.json.decode(body, type=Header), FILE_HEAD.size + size


def pack_frame(first: int, records: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """One frame, and the offset of each record's envelope within it."""
    head, count = RECORD_HEAD.size, len(records)
    sizes = [*map(len, records)]
    parts = [b""] * (1 + 2 * count)
    parts[0] = _pack_head(first, count, sum(sizes) + head * count)
    parts[1::2] = map(RECORD_HEAD.pack, sizes, map(crc32, records))
    parts[2::2] = records
    begins = accumulate([size + head for size in sizes[:-1]], initial=FRAME_HEAD.size + head)
    return b"".join(parts), [*begins][:count]


def read_frames(data: bytes, start: int) -> Iterator[Frame]:
    """Every frame from ``start`` on, skipping bytes that belong to none."""
    at = start
    while 0 <= at < len(data):
        frame = _frame_at(data, at)
        if frame is None:
            at = data.find(FRAME_MAGIC, at + 1)
        else:
            yield frame
            at = frame.end


def read_record(data: bytes) -> bytes | None:
    """The envelope of a record that begins with its head; None when it is damaged."""
    if len(data) < RECORD_HEAD.size:
        return None
    size, checksum = RECORD_HEAD.unpack_from(data)
    body = data[RECORD_HEAD.size : RECORD_HEAD.size + size]
    return body if len(body) == size and crc32(body) == checksum else None


def _pack_head(first: int, count: int, size: int) -> bytes:
    return FRAME_HEAD.pack(FRAME_MAGIC, first, count, size, _head_checksum(first, count, size))


def _head_checksum(first: int, count: int, size: int) -> int:
    return crc32(b"%d %d %d" % (first, count, size))


def _frame_at(data: bytes, at: int) -> Frame | None:
    if len(data) - at < FRAME_HEAD.size:
        return None
    magic, first, count, size, checksum = FRAME_HEAD.unpack_from(data, at)
    if magic != FRAME_MAGIC or checksum != _head_checksum(first, count, size):
        return None
    end = min(at + FRAME_HEAD.size + size, len(data))
    records: list[tuple[int, bytes | None]] = []
    position = at + FRAME_HEAD.size
    for _ in range(count):
        body = position + RECORD_HEAD.size
        length = RECORD_HEAD.unpack_from(data, position)[0] if body <= end else end
        # A damaged length loses what follows it in this frame; the checksums tell.
        records.append((body, read_record(data[position : min(body + length, end)])))
        position = min(body + length, end)
    return Frame(at, end, first, records)
