"""``rushlight reactions``: how they stand, what they hold, and what a person can do about it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from datetime import UTC, datetime

import click
import msgspec
from rich.console import Console
from rich.table import Table

from rushlight.commands.session import modules_of, opened
from rushlight.commands.text import plain, when
from rushlight.engine.reactions import Reactions
from rushlight.engine.subscription import subscriptions
from rushlight.errors import SetupError
from rushlight.modules import import_modules
from rushlight.settings import DEFAULT_SHOP, Settings
from rushlight.store import held
from rushlight.store.database import Database
from rushlight.store.held import HeldEntry
from rushlight.store.subscriptions import Standing, ask_for_replay, standings


async def show(settings: Settings, *, name: str | None, as_json: bool) -> None:
    """Print how the reactions stand and what each of them holds."""
    async with opened(settings, role="reactions", roles=(), reads=True) as session:
        reactions = [one for one in await standings(session.database) if name in (None, one.name)]
        if name is not None and not reactions:
            raise await _unknown(session.database, name)
        entries = [entry async for entry in held.entries(session.database, name)]
    if as_json:
        click.echo(msgspec.json.encode({"reactions": reactions, "held": entries}))
        return
    _print(reactions, entries)


async def retry(settings: Settings, *, name: str, aggregates: Sequence[str], shop: str | None) -> None:
    """Have held aggregates tried again at once, in order."""
    async with opened(settings, role="reactions", reads=True) as session:
        await _require_one_shop(session.database, name, aggregates, shop)
        count = await held.retry(session.database, name, aggregates, shop)
        await _require(session.database, name, count)
    some = f"1 held aggregate of {name} is" if count == 1 else f"{count:,} held aggregates of {name} are"
    click.echo(f"{some} tried again, from the event that failed on.")


async def drop(settings: Settings, *, name: str, aggregates: Sequence[str], reason: str, shop: str | None) -> None:
    """Give up the events on which parked aggregates stand; what comes after them is handled."""
    if not reason.strip():
        raise click.UsageError("--reason must say why: it is kept with the event's id")
    async with opened(settings, role="reactions", reads=True) as session:
        await _require_one_shop(session.database, name, aggregates, shop)
        count = await held.drop(session.database, name, aggregates, reason.strip(), shop)
        await _require(session.database, name, count)
    click.echo(f"{count} {'event' if count == 1 else 'events'} of {name} given up; what comes after is handled.")


async def replay(settings: Settings, *, name: str, since: datetime | None, from_start: bool) -> None:
    """Have a reaction begin again from a moment, or from the first event."""
    if (since is None) != from_start:
        raise click.UsageError("say from where: --from TIME or --from-start, one of the two")
    moment = None if since is None else (since if since.tzinfo else since.replace(tzinfo=UTC))
    async with opened(settings, role="reactions", reads=True) as session:
        asked = await ask_for_replay(session.database, name, moment)
        await _require(session.database, name, asked.places)
    where = "the first event" if moment is None else f"what was received at {when(moment)}"
    click.echo(f"{name} begins again from {where}: {asked.events:,} places of the journal.")


async def run(settings: Settings, *, names: Sequence[str]) -> None:
    """Run reactions in this process, and nothing else, until a signal."""
    import_modules(modules_of(settings))
    declared = {one.name: one for one in subscriptions()}
    if missing := sorted(set(names) - declared.keys()):
        raise SetupError(f"no module declares a subscription named {', '.join(missing)}")
    if not declared:
        raise SetupError("no module declares a subscription: name yours with --module")
    async with opened(settings, role="reactions") as session:
        reacting = Reactions(session.database, session.settings, [declared[name] for name in names or declared])
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, reacting.stop)
        click.echo(f"Reacting: {', '.join(names or sorted(declared))}. Ctrl-C stops.")
        await reacting.run()


async def _require_one_shop(database: Database, name: str, aggregates: Sequence[str], shop: str | None) -> None:
    for aggregate in aggregates if shop is None else ():
        if len(shops := await held.shops(database, name, aggregate)) > 1:
            raise SetupError(f"{plain(aggregate)} is held in the shops {', '.join(shops)}: say in which with --shop")


async def _require(database: Database, name: str, count: int) -> None:
    if not count:
        if all(one.name != name for one in await standings(database)):
            raise await _unknown(database, name)
        raise SetupError(f"reaction {name} holds nothing of this kind: see `rushlight reactions list {name}`")


async def _unknown(database: Database, name: str) -> SetupError:
    known = ", ".join(one.name for one in await standings(database)) or "none"
    return SetupError(f"no reaction named {name} ever ran here; known are: {known}")


def _print(reactions: Sequence[Standing], entries: Sequence[HeldEntry]) -> None:
    console = Console(highlight=False)
    table = Table("reaction", "pending", "handled", "retrying", "parked", "workers", box=None, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for one in reactions:
        table.add_row(one.name, *[f"{n:,}" for n in (one.pending, one.handled, one.retrying, one.parked, one.workers)])
    console.print(table if reactions else "No reaction ever ran here.")
    for entry in entries:
        console.print(
            f"{entry.name}  {entry.state} since {when(entry.since)}  {plain(entry.aggregate_id)}{_of_shop(entry.shop)}"
            f"  {entry.event_name} {entry.event_id}, attempt {entry.attempts}: {plain(entry.reason)}",
            markup=False,
            soft_wrap=True,
        )


def _of_shop(shop: str) -> str:
    return "" if shop == DEFAULT_SHOP else f" of shop {shop}"
