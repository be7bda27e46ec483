"""``rushlight ledger``."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console
from rich.table import Table

from rushlight.commands import NOT_WELL
from rushlight.commands.session import opened
from rushlight.settings import Settings
from rushlight.store.accounts import ORDERS_ACCOUNT
from rushlight.store.ledger import Counts, Ledger, read
from rushlight.store.recount import verify as recounted

COLUMNS = ("acknowledged", "stored", "duplicate", "parked", "dropped", "pending", "rejected")


async def show(settings: Settings, *, verify: bool, as_json: bool) -> int:
    """Print the ledger; 3 when it is not balanced, or a recount differs from the counters."""
    async with opened(settings, role="ledger", reads=True) as session:
        recount = await recounted(session.database) if verify else None
        ledger = recount.ledger if recount else await read(session.database)
    differences = recount.differences if recount else []
    if as_json:
        click.echo(msgspec.json.encode(ledger))
    else:
        print_ledger(ledger)
    for difference in differences:
        click.echo(f"the counters and the documents differ: {difference}", err=True)
    if verify and not differences and not as_json:
        click.echo("Recounted from the documents: the same.")
    return 0 if ledger.balanced and not differences else NOT_WELL


def print_ledger(ledger: Ledger) -> None:
    """The ledger as a table: one row a source, and the total."""
    table = Table("source", *COLUMNS, box=None, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, counts in [*sorted(ledger.sources.items()), ("total", ledger.total)]:
        table.add_row(name, *_cells(counts))
    console = Console(highlight=False)
    console.print(table)
    verdict = "balanced" if ledger.balanced else "NOT balanced"
    console.print(f"acknowledged = stored + duplicate + parked + dropped + pending: {verdict}")
    for log in ledger.unreachable:
        who = "the orders' MongoDB does not answer" if log == ORDERS_ACCOUNT else f"log {log} is silent"
        console.print(f"{who}: what was acknowledged there last is not known")


def _cells(counts: Counts) -> list[str]:
    return [f"{getattr(counts, column):,}" for column in COLUMNS]
