"""Turns a file of any size into a table of its lines by order, in bounded memory: (occurred_at, order_id), file order.

The table is a DuckDB file of its own. It appears under its name only when it is whole, so a crash leaves none or all.
"""

from __future__ import annotations

import shutil
import threading
import zlib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb

from rushlight.errors import Rejected, SetupError
from rushlight.ingest.history.columns import choose
from rushlight.ingest.history.records import CsvRecords, JsonRecords, Records
from rushlight.ingest.history.sql import SORT, TEXTS, lines, literal, pattern, quoted

BUILD_MEMORY_MB = 256
READ_MEMORY_MB = 64
THREADS = 2
APPEND_ROWS = 10_000
FETCH_ROWS = 5_000
MAX_ORDER_LINES = 5_000
STAGE_FILE = "lines.duckdb"

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
}
FORMATS = ("csv", "ndjson", "parquet")

Line = tuple[Any, ...]
"""(row, fault, microseconds or None, the time's text when it could not be read, then the texts of `TEXTS`)."""


class StagedOrder(NamedTuple):
    """All lines of one order id; `size` is greater than ``len(lines)`` when there are more than `MAX_ORDER_LINES`."""

    number: int
    order_id: str
    size: int
    lines: list[Line]


def detect_format(path: Path) -> str:
    """The format by the file's name (also with ``.gz``), else by its first bytes."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in SUFFIXES:
        return SUFFIXES[suffixes[-1]]
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PAR1":
        return "parquet"
    return "ndjson" if start.lstrip()[:1] == b"{" else "csv"


class Build:
    """Makes the table of one file. `run` blocks and is meant for a thread; `fraction` and `cancel` are for others."""

    def __init__(
        self,
        source: Path,
        directory: Path,
        *,
        format_: str,
        mapping: Mapping[str, str],
        currency: str | None,
        zone: str,
    ) -> None:
        self._source = source
        self._directory = directory
        self._format = format_
        self._mapping = mapping
        self._currency = currency
        self._zone = ZoneInfo(zone).key
        self._database: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.Lock()  # others ask about the database only while it is open
        self._cancelled = threading.Event()
        self._bytes = max(1, source.stat().st_size)
        self._read_bytes = 0
        self._sorting = False
        self._done = False

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1; reading the file is the first half, sorting its lines the second."""
        if self._done:
            return 1.0
        if self._read_bytes and not self._sorting:
            return min(0.5, self._read_bytes / self._bytes / 2)
        with self._lock:
            percent = max(0.0, self._database.query_progress()) if self._database is not None else 0.0
        return (0.5 if self._sorting else 0.0) + percent / 200

    def cancel(self) -> None:
        """Make `run` end soon, without a table."""
        self._cancelled.set()
        with self._lock:
            if self._database is not None:
                self._database.interrupt()

    def run(self) -> None:
        """Make the table.

        Raises:
            Rejected: the file cannot be read, or its columns do not fit.
            SetupError: no room on the disk.
        """
        unfinished = self._directory / "unfinished.duckdb"
        _discard(unfinished)
        try:
            self._database = database = connect(unfinished, self._directory, BUILD_MEMORY_MB)
            try:
                self._fill(database)
            finally:
                with self._lock:
                    self._database = None
                    database.close()
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            _discard(unfinished)
            raise SetupError(f"no room to sort {self._source.name} in {self._directory}: {error}") from error
        except (duckdb.Error, OSError, EOFError, UnicodeError, zlib.error) as error:
            _discard(unfinished)
            # DuckDB puts the statement that it was at behind its reason.
            why, *_ = str(error).splitlines() or [type(error).__name__]
            reason = f"cannot be read as {self._format}: {why}"
            raise Rejected(reason, field=self._source.name, code="file") from error
        unfinished.rename(self._directory / STAGE_FILE)
        self._done = True

    def _fill(self, database: duckdb.DuckDBPyConnection) -> None:
        database.execute(f"SET TimeZone = {literal(self._zone)}")
        database.execute("SET enable_progress_bar = true")  # keeps count, for `fraction`
        database.execute("SET enable_progress_bar_print = false")
        if self._format == "parquet":
            self._fill_from_parquet(database)
        else:
            self._fill_from_records(database)
        self._sorting = True
        for statement in SORT:
            if self._cancelled.is_set():
                raise Rejected("cancelled", code="cancelled")
            database.execute(statement)

    def _fill_from_records(self, database: duckdb.DuckDBPyConnection) -> None:
        records: Records = CsvRecords(self._source) if self._format == "csv" else JsonRecords(self._source)
        try:
            chosen = choose(records.columns, self._mapping, currency=self._currency)
            columns = ", ".join(f"{field} VARCHAR" for field in chosen)
            database.execute(f"CREATE TABLE cells (row BIGINT, fault VARCHAR, {columns})")
            appender = database.appender("cells")
            rows = records.read(chosen)
            while batch := list(islice(rows, APPEND_ROWS)):
                if self._cancelled.is_set():
                    raise Rejected("cancelled", code="cancelled")
                appender.append_rows(batch)
                appender.flush()
                self._read_bytes = records.position()
        finally:
            records.close()
        source = {field: (field, "VARCHAR") for field in chosen}
        database.execute(lines("row, fault", source, self._zone, "cells"))
        database.execute("DROP TABLE cells")

    def _fill_from_parquet(self, database: duckdb.DuckDBPyConnection) -> None:
        table = f"read_parquet({pattern(str(self._source))}, file_row_number = true, binary_as_string = true)"
        described = database.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {table}").fetchall()  # noqa: S608
        types = {name: kind for name, kind, *_ in described}
        chosen = choose(list(types), self._mapping, currency=self._currency)
        source = {field: (quoted(column), types[column]) for field, column in chosen.items()}
        database.execute(lines("file_row_number + 1 AS row, NULL::VARCHAR AS fault", source, self._zone, table))


class Stage:
    """The finished table, open for reading."""

    def __init__(self, directory: Path) -> None:
        self._database = connect(directory / STAGE_FILE, directory, READ_MEMORY_MB, read_only=True)
        self.orders, self.rows, positive, negative = self._one("SELECT orders, rows, positive, negative FROM totals")
        # Exports write discounts as positive or as negative numbers; where a file has both, a negative one is wrong.
        self.discount_sign = -1 if negative and not positive else 1

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether the table has been made."""
        return (directory / STAGE_FILE).exists()

    def without_order(self) -> Iterator[Line]:
        """(row, fault) of the rows that name no order."""
        self._database.execute("SELECT row, fault FROM homeless ORDER BY row")
        while rows := self._database.fetchmany(FETCH_ROWS):
            yield from rows

    def read(self, start: int) -> Iterator[StagedOrder]:
        """The orders from the given number (the first is 0) on."""
        columns = ", ".join(("number", "order_id", "size", "row", "fault", "micros", "time", *TEXTS))
        self._database.execute(f"SELECT {columns} FROM staged WHERE number >= ?", [start])  # noqa: S608 - our names
        order: StagedOrder | None = None
        while rows := self._database.fetchmany(FETCH_ROWS):
            for number, order_id, size, *line in rows:
                if order is None or order.number != number:
                    if order is not None:
                        yield order
                    order = StagedOrder(number, order_id, size, [])
                if len(order.lines) < MAX_ORDER_LINES:
                    order.lines.append(tuple(line))
        if order is not None:
            yield order

    def close(self) -> None:
        """Close the table."""
        self._database.close()

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self._database.execute(query).fetchone()
        if row is None:
            raise Rejected("the staged file is damaged", code="file")
        return row


def connect(path: Path, directory: Path, memory_mb: int, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A DuckDB file that spills into the directory and fetches nothing over the network."""
    return duckdb.connect(
        str(path),
        read_only=read_only,
        config={
            "memory_limit": f"{memory_mb}MB",
            "threads": str(THREADS),
            "temp_directory": str(directory / "spill"),
            "preserve_insertion_order": "true",
            # Nothing is fetched over the network: what is needed is in the package.
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    shutil.rmtree(path.parent / "spill", ignore_errors=True)
