"""A bad record is named by its line and costs no other record, in CSV and in NDJSON."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from rushlight.errors import Rejected
from rushlight.ingest.history.records import MAX_LINE, CsvRecords, JsonRecords

CHOSEN = {"order_id": "order_id", "amount": "amount"}


def read_csv(path: Path, content: bytes) -> list[tuple[object, ...]]:
    """The records of a CSV file with this content."""
    path.write_bytes(content)
    records = CsvRecords(path)
    try:
        return list(records.read(CHOSEN))
    finally:
        records.close()


def read_json(path: Path, content: bytes) -> list[tuple[object, ...]]:
    """The records of an NDJSON file with this content."""
    path.write_bytes(content)
    records = JsonRecords(path)
    try:
        return list(records.read(CHOSEN))
    finally:
        records.close()


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_of_every_common_shape(tmp_path: Path, mark: str, end: str) -> None:
    """Delimiters and line ends are found out; quoted cells keep delimiters, quotes and line ends."""
    text = end.join([mark.join(cells) for cells in (("order_id", "amount"), (f'"a{mark}""b"""', "1"), ("c", "2"))])
    assert read_csv(tmp_path / "f.csv", text.encode()) == [(2, None, f'a{mark}"b"', "1"), (3, None, "c", "2")]


def test_csv_records_are_numbered_by_the_line_where_they_begin(tmp_path: Path) -> None:
    """Line ends inside cells and empty lines do not shift the numbers."""
    rows = read_csv(tmp_path / "f.csv", b'order_id,amount\n"a\nb",1\n\nc,2\n')
    assert [(line, cells[1]) for line, *cells in rows] == [(2, "a\nb"), (5, "c")]


def test_csv_rows_of_the_wrong_width_keep_their_order(tmp_path: Path) -> None:
    """A row with too few or too many cells is a fault of its order, not of its neighbours."""
    rows = read_csv(tmp_path / "f.csv", b"order_id,amount,note\na,1,x\nb\nc,3,x,y\nd,4,x\n")
    assert [row[2] for row in rows] == ["a", "b", "c", "d"]
    assert [row[1] for row in rows] == [None, "has 1 cells, the header 3", "has 4 cells, the header 3", None]


def test_csv_that_is_not_utf8(tmp_path: Path) -> None:
    """A row in another encoding is told, not garbled; the rows around it are read."""
    rows = read_csv(tmp_path / "f.csv", "order_id,amount\né,1\n".encode() + b"\xe9,2\n" + "ü,3\n".encode())
    assert [(row[1], row[2]) for row in rows] == [(None, "é"), ("is not UTF-8", "?"), (None, "ü")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_csv_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    """Spreadsheets write a mark in front; it is no part of the first column's name."""
    assert read_csv(tmp_path / "f.csv", "order_id,amount\né,1\n".encode(encoding)) == [(2, None, "é", "1")]


def test_csv_with_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    """What such a quote swallows is bounded, and named."""
    tail = b"".join(b"%d,1\n" % number for number in range(100_000))
    rows = read_csv(tmp_path / "f.csv", b'order_id,amount\na,1\n"b,2\n' + tail)
    assert rows[0] == (2, None, "a", "1")
    assert rows[1][0] == 3
    assert "not CSV" in str(rows[1][1])
    assert rows[-1][2:] == ("99999", "1")


def test_an_empty_csv_file(tmp_path: Path) -> None:
    """A file without a header says so."""
    with pytest.raises(Rejected, match="begins with a header"):
        read_csv(tmp_path / "f.csv", b"")


def test_packed_files(tmp_path: Path) -> None:
    """A packed file is seen by its first bytes."""
    assert read_csv(tmp_path / "f.csv", gzip.compress(b"order_id,amount\na,1\n")) == [(2, None, "a", "1")]
    assert read_json(tmp_path / "f.json", gzip.compress(b'{"order_id":"a","amount":1}')) == [(1, None, "a", "1")]


def test_json_numbers_keep_their_digits(tmp_path: Path) -> None:
    """A number is the text that was written, whatever a float would make of it."""
    content = b'{"order_id":12345678901234567890123,"amount":0.10000000000000000555}\n'
    assert read_json(tmp_path / "f.ndjson", content) == [(1, None, "12345678901234567890123", "0.10000000000000000555")]


def test_json_ids_that_became_floats(tmp_path: Path) -> None:
    """17850.0 is what tools make of 17850 in a column with gaps; a SKU that is a text stays as it is."""
    content = b'{"order_id":17850.0,"amount":1}\n{"order_id":"1.0","amount":1.50}\n{"amount":1e2}\n'
    assert [row[2:] for row in read_json(tmp_path / "f.ndjson", content)] == [
        ("17850", "1"),
        ("1.0", "1.50"),
        (None, "1e2"),
    ]


def test_json_lines_that_are_no_objects(tmp_path: Path) -> None:
    """Each is named by its line; an object after it is read; empty lines are none."""
    content = b'{"order_id":"a"}\n{"order_id":\n\n[1]\n"x"\n{"order_id":"\xff"}\n{"order_id":"b"}\n'
    rows = read_json(tmp_path / "f.ndjson", content)
    assert [(row[0], row[2]) for row in rows if row[1] is None] == [(1, "a"), (7, "b")]
    assert [row[0] for row in rows if row[1] is not None] == [2, 4, 5, 6]


def test_json_columns_are_those_of_the_first_objects(tmp_path: Path) -> None:
    """Objects need not all have the same keys."""
    path = tmp_path / "f.ndjson"
    path.write_bytes(b'{"a":1}\nnonsense\n{"b":2,"a":3}\n')
    records = JsonRecords(path)
    assert records.columns == ["a", "b"]
    records.close()


def test_one_json_array_is_told_from_ndjson(tmp_path: Path) -> None:
    """The error says what is expected instead."""
    with pytest.raises(Rejected, match="one object a line"):
        read_json(tmp_path / "f.json", b'[{"order_id":"a"}]')


def test_endless_lines_are_bounded(tmp_path: Path) -> None:
    """A line without end is read in pieces, which are bad records; what follows is read."""
    content = b'{"order_id":"' + b"x" * (2 * MAX_LINE) + b'"}\n{"order_id":"b"}\n'
    rows = read_json(tmp_path / "f.ndjson", content)
    assert rows[-1][2] == "b"
    assert all(row[1] for row in rows[:-1])
