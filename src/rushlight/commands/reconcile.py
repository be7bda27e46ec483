"""``rushlight reconcile``: a table of the orders that differ, and both sides' totals."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from rushlight.commands import NOT_WELL
from rushlight.commands.files import FileOptions
from rushlight.commands.history import PhaseBars
from rushlight.commands.session import opened
from rushlight.events.money import to_text
from rushlight.ingest.history.orders import Totals
from rushlight.ingest.reconcile.comparing import Comparison, Difference, reconcile
from rushlight.ingest.reconcile.sql import AMOUNTS
from rushlight.settings import Settings

MAX_SHOWN_FAULTS = 10
PIPED_WIDTH = 400
TOTALS = ("orders", "units", "gross", "discounts", "refunds", "net")


async def compare_file(settings: Settings, options: FileOptions, limit: int) -> int:
    """Compare and print, at most ``limit`` orders for people; 3 when anything differs."""
    async with opened(settings, role="reconcile", reads=True) as session:
        with tempfile.TemporaryDirectory(prefix="reconcile-", dir=session.settings.path) as directory:
            request = options.request(session.settings, Path(directory))
            with PhaseBars() as bars:
                found, tables = await reconcile(session.database, request, bars.show)
            try:
                if options.as_json:
                    _print_json(found)
                else:
                    _print(found, limit)
                return 0 if found.equal else NOT_WELL
            finally:
                tables.close()


def _print_json(found: Comparison) -> None:
    """One object; written piece by piece, because there may be as many differences as orders."""
    head = {
        "equal": found.equal,
        "file": {"orders": found.in_file, "rowsWithoutOrder": found.homeless, "currencies": _money(found.file)},
        "journal": {"orders": found.in_journal, "currencies": _money(found.journal)},
        "differing": found.differing,
        "findings": found.kinds,
    }
    click.echo(msgspec.json.encode(head)[:-1], nl=False)
    for name, items in (("differences", found.differences()), ("sharedOrders", found.shared())):
        click.echo(f',"{name}":[', nl=False)
        for index, item in enumerate(items):
            click.echo((b"," if index else b"") + msgspec.json.encode(item), nl=False)
        click.echo("]", nl=False)
    click.echo("}")


def _money(totals: dict[str, Totals]) -> dict[str, dict[str, Any]]:
    return {currency: dict(zip(TOTALS, _texts(of, currency), strict=True)) for currency, of in totals.items()}


def _texts(totals: Totals, currency: str) -> list[Any]:
    amounts = (totals.gross, totals.discounts, totals.refunds, totals.net)
    return [totals.orders, totals.units, *(to_text(amount, currency) for amount in amounts)]


def _print(found: Comparison, limit: int) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:  # a line is a finding, for whoever searches it
        console.width = PIPED_WIDTH
    if found.differing:
        console.print(_table(islice(found.differences(), limit)))
    if found.differing > limit:
        console.print(f"… and {found.differing - limit:,} orders more; --limit or --json shows them")
    for shared in islice(found.shared(), limit):
        sources = ", ".join(f"{of.source} ({of.gross} {of.currency})" for of in shared.reports)
        console.print(f"order {shared.order_id} is reported by {sources}", markup=False)
    console.print(_totals_table(found))
    for fault in found.faults[:MAX_SHOWN_FAULTS]:
        click.echo(str(fault), err=True)
    console.print(
        f"{found.in_file:,} orders in the file, {found.in_journal:,} in the journal in its time span: ", end=""
    )
    if found.equal:
        console.print("equal.")
        return
    kinds = [f"{count:,} {kind.replace('_', ' ')}" for kind, count in found.kinds.items()]
    rows = [f"{found.homeless:,} rows without an order"] if found.homeless else []
    console.print(f"{found.differing:,} differ ({', '.join([*kinds, *rows])}).")


def _table(differences: Iterator[Difference]) -> Table:
    table = Table("order", "what differs", "file", "journal", box=None, padding=(0, 1, 0, 0))
    for difference in differences:
        for finding in difference.findings:
            table.add_row(*_cells(difference, finding))
    return table


def _cells(difference: Difference, finding: str) -> tuple[str, str, str, str]:
    what = finding.replace("_", " ")
    if finding == "unreadable":
        return difference.order_id, what, difference.reason or "", ""
    sides = [_cell(side, finding) for side in (difference.file, difference.journal)]
    return difference.order_id, what, sides[0], sides[1]


def _cell(side: Any, finding: str) -> str:
    if side is None:
        return "-"
    match finding:
        case "missing_in_journal" | "missing_in_file":
            amount = side.gross if side.status == "sold" else f"-{side.refunds}"
            return f"{side.status} {amount} {side.currency} at {side.at.isoformat().replace('+00:00', 'Z')}"
        case "time":
            return str(side.at.isoformat().replace("+00:00", "Z"))
        case "customer":
            return side.customer_id or "-"
    value = getattr(side, finding)
    return f"{value} {side.currency}" if finding in AMOUNTS and finding != "units" else str(value)


def _totals_table(found: Comparison) -> Table:
    table = Table("", *TOTALS, box=None, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for currency in sorted(found.file.keys() | found.journal.keys()):
        for name, totals in (("file", found.file), ("journal", found.journal)):
            texts = _texts(totals.get(currency, Totals()), currency)
            table.add_row(f"{currency} {name}", *(f"{text:,}" if isinstance(text, int) else text for text in texts))
    return table
