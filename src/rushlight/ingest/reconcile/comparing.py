"""Compares a file with the journal in bounded memory: both sides become tables on disk, and DuckDB joins them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from pymongo.errors import PyMongoError

from rushlight.errors import Rejected, SetupError, Unavailable
from rushlight.events.money import to_text
from rushlight.ingest.history.importing import ImportRequest, checked, read_file
from rushlight.ingest.history.orders import Fault, OrderMaker, Totals
from rushlight.ingest.history.sending import PROGRESS_SECONDS, Progress
from rushlight.ingest.history.stage import FETCH_ROWS, Stage, connect
from rushlight.ingest.reconcile import sql
from rushlight.ingest.reconcile.sides import EPOCH, recorded, reported
from rushlight.store.database import Database

MEMORY_MB = 192
APPEND_ROWS = 10_000
KEPT_FAULTS = 100


class Side(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An order as one side has it; amounts are decimal strings, and ``status`` is sold, refund only or cancelled."""

    status: str
    at: datetime
    currency: str
    units: int
    gross: str
    discounts: str
    refunds: str
    customer_id: str | None


class Difference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An order that is not the same on both sides.

    Attributes:
        findings: what differs, of `sql.FINDINGS`. reason: why the file's order could not be read.
        roads: how the journal came to know of it: outbox, log (import, API or webhook), published.
    """

    order_id: str
    findings: list[str]
    file: Side | None
    journal: Side | None
    roads: list[str]
    reason: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one source reports of an order that several report."""

    source: str
    status: str
    currency: str
    units: int
    gross: str
    discounts: str
    refunds: str


class Shared(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An order that several sources report. Figures count that of the source of record only."""

    order_id: str
    reports: list[Report]


class Comparison:
    """What was found; open until its directory is removed.

    Attributes:
        in_file, in_journal: orders on either side; in the journal those within the file's time span.
        differing: orders with a difference. kinds: how many orders have each finding.
        homeless: rows of the file that name no order. faults: the first faults of the file.
        file, journal: totals by currency.
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, homeless: int, faults: list[Fault]) -> None:
        self._database = database
        self.homeless = homeless
        self.faults = faults
        self.in_file, self.in_journal, self.differing = self._database.execute(sql.COUNTS).fetchall()[0]
        kinds = dict(self._database.execute(sql.KINDS).fetchall())
        self.kinds: dict[str, int] = {name: kinds[name] for name in sql.FINDINGS if name in kinds}
        self.file = self._totals(sql.FILE_TOTALS)
        self.journal = self._totals(sql.JOURNAL_TOTALS)

    @property
    def equal(self) -> bool:
        """Whether every order of the file is in the journal as the file has it, and no other in its time span."""
        return not self.differing and not self.homeless

    def differences(self) -> Iterator[Difference]:
        """Every order that differs, by time; read as they are asked for."""
        return map(_difference, self._rows(sql.DIFFERENCES))

    def shared(self) -> Iterator[Shared]:
        """Orders that several sources report, by id."""
        return map(_shared, self._rows(sql.ROADS))

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        cursor = self._database.cursor()
        try:
            cursor.execute(query)
            while rows := cursor.fetchmany(FETCH_ROWS):
                yield from rows
        finally:
            cursor.close()

    def _totals(self, query: str) -> dict[str, Totals]:
        rows = self._database.execute(query).fetchall()
        return {
            currency: Totals(orders=orders, units=int(units or 0), gross=int(g), discounts=int(d), refunds=int(r))
            for currency, orders, units, g, d, r in sorted(rows)
        }


async def reconcile(
    database: Database, request: ImportRequest, progress: Callable[[Progress], None]
) -> tuple[Comparison, duckdb.DuckDBPyConnection]:
    """Lay a file beside the journal.

    Args:
        request: as for an import; ``state`` is an empty directory for the work, ``source`` whose reports are meant.
        progress: called a few times a second.

    Returns:
        What was found, and the tables that it reads, to be closed.

    Raises:
        Rejected: the file, its columns or the request are wrong, or the journal has orders and none of the source.
        SetupError: no room on the disk.
        Unavailable: MongoDB does not answer.
    """
    form = checked(request)
    await read_file(request.state, request, form, progress)
    with _on_disk(request.state):
        tables = connect(request.state / "compared.duckdb", request.state, MEMORY_MB)
        try:
            for statement in sql.TABLES:
                tables.execute(statement)
            homeless, faults = await asyncio.to_thread(_fill_reported, tables, request)
            await _fill_reports(tables, database, request.shop, progress)
            _require_source(tables, request)
            return await asyncio.to_thread(_compare, tables, request, homeless, faults), tables
        except BaseException:
            tables.close()
            raise


@contextmanager
def _on_disk(directory: Path) -> Iterator[None]:
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise SetupError(f"no room to compare in {directory}: {error}") from error
    except PyMongoError as error:
        raise Unavailable(f"MongoDB does not answer: {error}") from error


def _fill_reported(tables: duckdb.DuckDBPyConnection, request: ImportRequest) -> tuple[int, list[Fault]]:
    stage = Stage(request.state)
    try:
        homeless, faults = 0, list[Fault]()
        for row, fault in stage.without_order():
            homeless += 1
            if homeless <= KEPT_FAULTS:
                field = "" if fault else "order_id"
                faults.append(Fault(row=row, field=field, reason=fault or "is empty", code="record"))
        maker = OrderMaker(
            shop=request.shop, source=request.source, currency=request.currency, discount_sign=stage.discount_sign
        )
        rows = reported(stage, maker, faults, KEPT_FAULTS)
        while batch := list(islice(rows, APPEND_ROWS)):
            _append(tables, "reported", batch)
    finally:
        stage.close()
    return homeless, faults


async def _fill_reports(
    tables: duckdb.DuckDBPyConnection, database: Database, shop: str, progress: Callable[[Progress], None]
) -> None:
    batch: list[tuple[Any, ...]] = []
    loop = asyncio.get_running_loop()
    read, told = 0, 0.0
    async for row in recorded(database, shop):
        batch.append(row)
        if len(batch) == APPEND_ROWS:
            _append(tables, "reports", batch)
            read, batch = read + len(batch), []
        if loop.time() - told > PROGRESS_SECONDS:
            told = loop.time()
            progress(Progress(phase="journal", done=read + len(batch), total=read + len(batch)))
    _append(tables, "reports", batch)


def _require_source(tables: duckdb.DuckDBPyConnection, request: ImportRequest) -> None:
    known = sorted(source for (source,) in tables.execute(sql.SOURCES).fetchall())
    if known and request.source not in known:
        raise Rejected(
            f"the journal has no orders of {request.source!r} in shop {request.shop}; it has some of"
            f" {', '.join(known)}: say which with --source",
            field="source",
        )


def _append(tables: duckdb.DuckDBPyConnection, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
    appender = tables.appender(name)
    appender.append_rows(list(rows))
    appender.flush()


def _compare(
    tables: duckdb.DuckDBPyConnection, request: ImportRequest, homeless: int, faults: list[Fault]
) -> Comparison:
    millisecond, second, minute, day = tables.execute(sql.precision(request.time_zone)).fetchall()[0]
    unit = None if day else sql.MINUTE if minute else sql.SECOND if second else sql.MILLISECOND if millisecond else 1
    units, customers = tables.execute(sql.HAS).fetchall()[0]
    tables.execute(sql.RECORDED)
    tick = sql.ticks(unit, request.time_zone)
    tables.execute(sql.compared(request.source, tick, units=units, customers=customers))
    return Comparison(tables, homeless, faults)


def _difference(row: tuple[Any, ...]) -> Difference:
    order_id, findings, fault, cancelled, roads, in_file, in_journal, *sides = row
    return Difference(
        order_id=order_id,
        findings=findings,
        file=_side(sides[:8], cancelled=False) if in_file and fault is None else None,
        journal=_side(sides[8:], cancelled=bool(cancelled)) if in_journal else None,
        roads=roads or [],
        reason=fault,
    )


def _side(columns: list[Any], *, cancelled: bool) -> Side:
    sale, at, currency, units, gross, discounts, refunds, customer = columns
    return Side(
        status=_status(sale=sale, cancelled=cancelled),
        at=EPOCH + timedelta(microseconds=at),
        currency=currency,
        units=units or 0,
        gross=to_text(gross, currency),
        discounts=to_text(discounts, currency),
        refunds=to_text(refunds, currency),
        customer_id=customer,
    )


def _shared(row: tuple[Any, ...]) -> Shared:
    order_id, reports = row
    return Shared(
        order_id=order_id,
        reports=[
            Report(
                source=source,
                status=_status(sale=sale == "true", cancelled=cancelled == "true"),
                currency=currency,
                units=int(units),
                gross=to_text(int(gross), currency),
                discounts=to_text(int(discounts), currency),
                refunds=to_text(int(refunds), currency),
            )
            for source, sale, cancelled, currency, units, gross, discounts, refunds in reports
        ],
    )


def _status(*, sale: bool, cancelled: bool) -> str:
    if cancelled:
        return "cancelled"
    return "sold" if sale else "refund only"
