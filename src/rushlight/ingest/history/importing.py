"""Brings an order history through the pipeline: again changes nothing, interrupted goes on, memory stays bounded.

What is sent is what a shop's own record would have reported: ``order_created`` under the id that belongs to the order,
and ``order_refunded`` under one that follows from the refund's content. So an order that is known already, from an
earlier import or from the order service itself, is a duplicate and counts once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from rushlight.errors import Rejected
from rushlight.events.money import digits
from rushlight.ingest.history.orders import Fault, OrderMaker, Totals
from rushlight.ingest.history.sending import PROGRESS_SECONDS, Acceptor, Progress, Sending, settle
from rushlight.ingest.history.stage import FORMATS, Build, Stage, detect_format
from rushlight.ingest.history.work import Work
from rushlight.ingest.intake import SOURCE_NAME
from rushlight.settings import DEFAULT_SHOP, SHOP_ID

DEFAULT_SOURCE = "orders"


class ImportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to import and how to read it.

    Attributes:
        file: CSV (also ``.gz``), NDJSON (also ``.gz``) or Parquet.
        state: directory for progress and sorted lines, ``DATA/imports``.
        format: ``csv``, ``ndjson`` or ``parquet``; None goes by the file's name, else by its beginning.
        mapping: column by field; an empty column leaves the field out. Other fields go by the columns' names.
        currency: ISO 4217 code of rows that name none. time_zone: IANA zone of times without an offset.
        source: whom the money is reported by; the shop's source of record counts in figures.
        target: which database this goes to, so that an interrupted import is not continued into another one.
    """

    file: Path
    state: Path
    format: str | None = None
    mapping: Mapping[str, str] = {}
    currency: str | None = None
    time_zone: str = "UTC"
    source: str = DEFAULT_SOURCE
    shop: str = DEFAULT_SHOP
    target: str = ""


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a file came to, over all runs of its import.

    Attributes:
        rows: of the file. orders, refunds: sales and refunds that were made of them. events: both.
        rejected: rows with a fault. held_orders: orders held back because of one; held_rows: their good rows.
        currencies: amounts by currency. faults: the first faults; report: file with all of them.
        resumed: whether an earlier, interrupted run was continued. seconds: of this run.
    """

    rows: int
    orders: int
    refunds: int
    events: int
    rejected: int
    held_orders: int
    held_rows: int
    currencies: dict[str, Totals]
    faults: list[Fault]
    report: Path | None
    resumed: bool
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every row was taken."""
        return not self.rejected


async def import_history(
    intake: Acceptor, request: ImportRequest, progress: Callable[[Progress], None]
) -> ImportResult:
    """Import a file; ends when everything that was sent is settled.

    Interrupted at any point (cancelled, killed, machine gone) the same request continues where it was.

    Args:
        progress: called a few times a second, from the event loop.

    Raises:
        Rejected: the file, its columns or the request are wrong; nothing was sent.
        Conflict: the same import is running.
        SetupError: no room to sort the file.
        Unavailable: for ten minutes nothing was accepted or settled.
    """
    started = time.monotonic()
    chosen = checked(request)
    terms = {name: getattr(request, name) for name in request.__struct_fields__ if name not in ("file", "state")}
    terms |= {"format": chosen, "mapping": sorted(request.mapping.items())}
    with Work(request.state, request.file, terms) as work:
        resumed = work.tally.next > 0
        if not Stage.exists(work.directory):
            await read_file(work.directory, request, chosen, progress)
        stage = Stage(work.directory)
        try:
            rows = stage.rows
            maker = OrderMaker(
                shop=request.shop,
                source=request.source,
                currency=request.currency,
                discount_sign=stage.discount_sign,
            )
            await Sending(intake, maker, work, stage, progress).run()
        finally:
            stage.close()
        await settle(intake, work.tally.rejected, progress)
        report = work.finish()
    tally = work.tally
    return ImportResult(
        rows=rows,
        orders=tally.orders,
        refunds=tally.refunds,
        events=tally.events,
        rejected=tally.rejected,
        held_orders=tally.held_orders,
        held_rows=tally.held_rows,
        currencies=tally.currencies,
        faults=tally.faults,
        report=report,
        resumed=resumed,
        seconds=time.monotonic() - started,
    )


def checked(request: ImportRequest) -> str:
    """The file's format, once the request is seen to make sense.

    Raises:
        Rejected: it does not; names the option.
    """
    if not request.file.is_file():
        raise Rejected("there is no such file", field=str(request.file), code="file")
    if request.format is not None and request.format not in FORMATS:
        raise Rejected(f"must be {', '.join(FORMATS)}, not {request.format!r}", field="--format", code="format")
    try:
        ZoneInfo(request.time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise Rejected(f"{request.time_zone!r} is not an IANA time zone", field="--time-zone", code="zone") from error
    if request.currency is not None:
        digits(request.currency)
    if not SHOP_ID.match(request.shop):
        raise Rejected(f"{request.shop!r} is not a shop's id", field="--shop", code="shop")
    if not SOURCE_NAME.match(request.source):
        raise Rejected(f"{request.source!r} is not a source's name", field="--source", code="source")
    return request.format or detect_format(request.file)


async def read_file(
    directory: Path, request: ImportRequest, format_: str, progress: Callable[[Progress], None]
) -> None:
    """Read and sort the file into the table of a directory (see `Stage`).

    Raises:
        Rejected: the file cannot be read, or its columns do not fit.
        SetupError: no room to sort it.
    """
    build = Build(
        request.file,
        directory,
        format_=format_,
        mapping=request.mapping,
        currency=request.currency,
        zone=request.time_zone,
    )
    # In a thread, because a log's heartbeat must not wait for a sort.
    running = asyncio.create_task(asyncio.to_thread(build.run))
    try:
        while not running.done():
            progress(Progress(phase="reading", done=int(build.fraction * 1000), total=1000))
            await asyncio.wait([running], timeout=PROGRESS_SECONDS)
    finally:
        if not running.done():
            build.cancel()
            await asyncio.wait([running])
            running.exception()  # it was told to fail
    await running
