"""``rushlight import``: a progress bar on stderr, the result on stdout."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from rushlight.commands import NOT_WELL
from rushlight.commands.files import FileOptions
from rushlight.commands.session import opened
from rushlight.events.money import to_text
from rushlight.ingest.history.importing import ImportResult, import_history
from rushlight.ingest.history.sending import Progress
from rushlight.ingest.intake import Intake
from rushlight.settings import Settings

MAX_SHOWN_FAULTS = 10
PHASES = {"reading": "Reading", "sending": "Sending orders", "settling": "Settling", "journal": "Reading the journal"}


async def import_file(settings: Settings, options: FileOptions) -> int:
    """Import and print what came of it; 3 when rows were rejected."""
    async with opened(settings, role="import") as session:
        target = f"{session.settings.mongo_url} {session.settings.database}"
        request = options.request(session.settings, session.settings.path / "imports", target=target)
        intake = await Intake.open(
            session.database,
            session.settings.redis_url or "",
            session.settings.path / "wal",
            cap_bytes=session.settings.wal_bytes,
            partitions=session.settings.partitions,
        )
        try:
            with PhaseBars() as bars:
                result = await import_history(intake, request, bars.show)
        finally:
            await intake.close()
    if options.as_json:
        click.echo(msgspec.json.encode(_summary(result)))
    else:
        _print(result)
    _print_faults(result)
    return NOT_WELL if result.rejected else 0


class PhaseBars:
    """One bar for the phase at hand, on a terminal only."""

    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[waiting]}"),
            console=Console(stderr=True),
            disable=not Console(stderr=True).is_terminal,
        )
        self._phase = ""
        self._task = self._bars.add_task("Starting", waiting="")

    def __enter__(self) -> PhaseBars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, progress: Progress) -> None:
        """Move the bar; a new phase begins a new one."""
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._bars.remove_task(self._task)
            self._task = self._bars.add_task(PHASES[progress.phase], total=progress.total, waiting="")
        self._bars.update(self._task, completed=progress.done, total=progress.total, waiting=progress.waiting)


def _summary(result: ImportResult) -> dict[str, object]:
    money = {
        currency: {
            "orders": totals.orders,
            "units": totals.units,
            **{name: to_text(getattr(totals, name), currency) for name in ("gross", "discounts", "refunds", "net")},
        }
        for currency, totals in sorted(result.currencies.items())
    }
    counts = {name: getattr(result, name) for name in ("rows", "orders", "refunds", "events", "rejected")}
    counts |= {"heldOrders": result.held_orders, "heldRows": result.held_rows}
    return {**counts, "currencies": money, "resumed": result.resumed, "seconds": round(result.seconds, 1)}


def _print(result: ImportResult) -> None:
    click.echo(
        f"{result.rows:,} rows: {result.orders:,} orders and {result.refunds:,} refunds in {result.seconds:.1f} s"
        + (" (continued where an interrupted import had stopped)" if result.resumed else "")
    )
    for currency, totals in sorted(result.currencies.items()):
        gross, discounts, refunds, net = (
            to_text(getattr(totals, name), currency) for name in ("gross", "discounts", "refunds", "net")
        )
        click.echo(f"{currency}: gross {gross}, discounts {discounts}, refunds {refunds}, net {net}")


def _print_faults(result: ImportResult) -> None:
    """What was not taken, on stderr: a faulty row holds back its whole order until it is mended."""
    for fault in result.faults[:MAX_SHOWN_FAULTS]:
        click.echo(str(fault), err=True)
    if result.rejected:
        more = f"; all of them in {result.report}" if result.report else ""
        click.echo(f"{result.rejected:,} rows were rejected{more}", err=True)
    if result.held_rows:
        click.echo(f"{result.held_orders:,} orders wait for theirs, with {result.held_rows:,} good rows", err=True)
