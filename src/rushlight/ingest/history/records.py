"""Reads CSV and NDJSON record by record: a bad record is named by its line and costs no other record."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Protocol, cast

import msgspec

from rushlight.errors import Rejected

Cells = tuple[int | str | None, ...]
"""The line where a record begins, what is wrong with it or None, then the text or None of each chosen field."""

DELIMITERS = ",;\t|"
SAMPLED_OBJECTS = 1000
MAX_LINE = 1 << 20  # bytes or characters; a longer line is read in pieces, which are bad records
GZIP_MAGIC = b"\x1f\x8b"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Fields where the number 17850.0 means "17850": tools write whole numbers so when a column also has gaps.
ID_FIELDS = frozenset({"order_id", "customer_id", "product_id"})


class Records(Protocol):
    """A file of records that is open for one pass."""

    columns: list[str]

    def read(self, chosen: Mapping[str, str]) -> Iterator[Cells]:
        """The records, given the column of each field."""

    def position(self) -> int:
        """Bytes of the file that are behind."""

    def close(self) -> None:
        """Close the file."""


class _File:
    """The file's text as bytes, unpacked when it is gzip, with the place in the file as it lies on disk."""

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        packed = self._raw.read(2) == GZIP_MAGIC
        self._raw.seek(0)
        self.bytes = cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw)) if packed else self._raw

    def position(self) -> int:
        return self._raw.tell()

    def close(self) -> None:
        self.bytes.close()
        self._raw.close()


class CsvRecords:
    """CSV with a header: comma, semicolon, tab or bar; double quotes; UTF-8 (or UTF-16 with its mark); any line end.

    Raises:
        Rejected: the file has no header.
    """

    def __init__(self, path: Path) -> None:
        self._file = _File(path)
        self._undecodable = False
        try:
            encoding = "utf-16" if _peek(path) in UTF16_MARKS else "utf-8-sig"
            self._text = io.TextIOWrapper(self._file.bytes, encoding, errors="surrogateescape", newline="")
            header = self._text.readline(MAX_LINE)
            if not header.strip():
                raise Rejected("the file is empty; a CSV file begins with a header of column names", code="file")
            self._delimiter = max(DELIMITERS, key=lambda mark: len(_header([header], mark)))
            self._reader = csv.reader(self._watched(header), delimiter=self._delimiter)
            self.columns = [column.strip() for column in next(self._reader)]
        except BaseException:
            self._file.close()
            raise

    def read(self, chosen: Mapping[str, str]) -> Iterator[Cells]:
        """The records after the header; empty lines are none."""
        pick = itemgetter(*(self.columns.index(column) for column in chosen.values()))
        width = len(self.columns)
        while True:
            line = self._reader.line_num + 1
            fault = None
            try:
                row = next(self._reader, None)
            except csv.Error as error:
                row, fault = [""], f"is not CSV: {error}"
            if row is None:
                return
            if not row:
                continue
            if self._undecodable:
                self._undecodable = False
                row, fault = [_decodable(cell) for cell in row], "is not UTF-8"
            elif len(row) != width and not fault:
                fault = f"has {len(row)} cells, the header {width}"
            if fault:
                row += [""] * (width - len(row))
            yield (line, fault, *pick(row))

    def position(self) -> int:
        """Bytes of the file that are behind."""
        return self._file.position()

    def close(self) -> None:
        """Close the file."""
        self._text.close()
        self._file.close()

    def _watched(self, header: str) -> Iterator[str]:
        yield header
        while line := self._text.readline(MAX_LINE):
            if not line.isascii() and _decodable(line) != line:
                self._undecodable = True
            yield line


class JsonRecords:
    """NDJSON: one object a line, UTF-8; numbers keep the digits that were written; empty lines are none."""

    def __init__(self, path: Path) -> None:
        self._file = _File(path)
        self._sample: list[bytes] = []
        names: dict[str, None] = {}
        try:
            while len(self._sample) < SAMPLED_OBJECTS and (line := self._file.bytes.readline(MAX_LINE)):
                self._sample.append(line)
                names.update(dict.fromkeys(_keys(line)))
            if self._sample and self._sample[0].lstrip()[:1] == b"[":
                raise Rejected("the file is one JSON array; NDJSON has one object a line", code="file")
        except BaseException:
            self._file.close()
            raise
        self.columns = list(names)

    def read(self, chosen: Mapping[str, str]) -> Iterator[Cells]:
        """The objects of the file."""
        decode = msgspec.json.Decoder(dict[str, Any], float_hook=_Number).decode
        fields = [(column, field in ID_FIELDS) for field, column in chosen.items()]
        nothing = (None,) * len(chosen)
        for line, raw in enumerate(self._raw_lines(), start=1):
            try:
                get = decode(raw).get
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                if not raw.isspace():
                    yield (line, f"is not a JSON object: {error}", *nothing)
            else:
                yield (line, None, *[_text(get(column), is_id) for column, is_id in fields])

    def position(self) -> int:
        """Bytes of the file that are behind."""
        return self._file.position()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _raw_lines(self) -> Iterable[bytes]:
        yield from self._sample
        while line := self._file.bytes.readline(MAX_LINE):
            yield line


class _Number(str):
    """A number with a fraction or an exponent, as it was written."""

    __slots__ = ()


def _keys(raw: bytes) -> Iterable[str]:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
    return found if isinstance(found, dict) else ()


def _text(value: Any, is_id: bool) -> str | None:
    if value is None or type(value) is str:
        return value
    if isinstance(value, _Number):
        whole, _, fraction = value.partition(".")
        return whole if is_id and whole and not fraction.strip("0") else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return msgspec.json.encode(value).decode()


def _header(lines: list[str], delimiter: str) -> list[str]:
    return next(csv.reader(lines, delimiter=delimiter))


def _peek(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(2)
    if start != GZIP_MAGIC:
        return start
    with gzip.open(path) as unpacked:
        return unpacked.read(2)


def _decodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
