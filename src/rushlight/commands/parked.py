"""``rushlight parked``: look at what was set aside, have its owners retry it, or drop it with a reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from rushlight.commands import NOT_WELL
from rushlight.commands.session import opened
from rushlight.commands.text import plain, somebody, when
from rushlight.errors import RushlightError
from rushlight.query.parked import Parked, ParkedEvent, parked
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.leases import Leases
from rushlight.store.parking import Held, Records, Request, Requests, Verb, Wish

POLL_SECONDS = 0.2
# Longer than a lease of a worker that was killed, and than the start of one.
WORKER_SECONDS = 20.0
PATIENCE_SECONDS = 120.0


class Misunderstood(RushlightError):
    """What was named is not there to be retried or dropped; the message says why."""


async def show(settings: Settings, *, shop: str, aggregate: str | None, limit: int, as_json: bool) -> None:
    """Print what is parked, the oldest first."""
    async with opened(settings, role="parked", roles=(), reads=True) as session:
        found = await parked(session.database, shop, aggregate=aggregate, limit=limit)
    if as_json:
        click.echo(msgspec.json.encode(found))
    elif aggregate is not None:
        _print_queue(aggregate, found)
    else:
        _print_list(found)


async def retry(settings: Settings, *, names: Sequence[str], everything: bool, shop: str, as_json: bool) -> int:
    """Have parked events processed again; 3 when some stay parked, or of some that were named nothing is parked.

    Raises:
        Misunderstood: nothing of what was named is parked, or it cannot be retried.
    """
    if bool(names) == everything:
        raise click.UsageError("name aggregates or say --all, one of the two")
    async with opened(settings, role="parked", reads=True) as session:
        wishes = await _retries(session.database, shop, None if everything else names)
        return await _carry_out(session.database, wishes, names, as_json=as_json)


async def drop(settings: Settings, *, names: Sequence[str], reason: str, shop: str, as_json: bool) -> int:
    """Give parked events up; 3 when others of the same aggregates stay parked, or some were not parked.

    Raises:
        Misunderstood: nothing of what was named is parked, or it is not clear what is meant.
    """
    if not reason.strip():
        raise click.UsageError("--reason must say why: it is kept with what is dropped")
    async with opened(settings, role="parked", reads=True) as session:
        wishes = await _drops(session.database, shop, names, reason.strip())
        return await _carry_out(session.database, wishes, names, as_json=as_json)


async def _retries(database: Database, shop: str, names: Sequence[str] | None) -> list[Wish]:
    records = Records(database)
    found = await records.whereabouts(shop, names)
    wishes = [Wish(partition=p, kind="retry", shop=shop, aggregate_id=aggregate) for p, aggregate in found]
    if names is None:
        return [*(_of_origin(held, "retry") for held in await records.unreadable()), *wishes]
    named = {aggregate for _, aggregate in found}
    for held in (await records.find([name for name in names if name not in named])).values():
        if held.aggregate_id is not None:
            raise Misunderstood(f"{held.origin} is one event of {plain(held.aggregate_id)}: retry that, in its order")
        if held.kind != "parked":
            raise Misunderstood(f"{held.origin} cannot be read and nobody was promised it: it can only be dropped")
        wishes.append(_of_origin(held, "retry"))
    return wishes


async def _drops(database: Database, shop: str, names: Sequence[str], reason: str) -> list[Wish]:
    records = Records(database)
    found = await records.whereabouts(shop, names)
    origins = await records.find(names)
    for _, aggregate in found:
        if aggregate in origins:
            raise Misunderstood(f"{plain(aggregate)} is an aggregate and an origin: name its events by their origins")
    wishes = [
        Wish(partition=p, kind="drop", shop=shop, aggregate_id=aggregate, reason=reason) for p, aggregate in found
    ]
    return [*wishes, *(_of_origin(held, "drop", reason) for held in origins.values())]


def _of_origin(held: Held, kind: Verb, reason: str = "") -> Wish:
    return Wish(partition=held.partition, kind=kind, origin=held.origin, reason=reason)


async def _carry_out(database: Database, wishes: list[Wish], names: Sequence[str], *, as_json: bool) -> int:
    wanted = {wish.origin or wish.aggregate_id for wish in wishes}
    missing = ", ".join(plain(name) for name in names if name not in wanted)
    if missing and not wishes:
        raise Misunderstood(f"nothing is parked of {missing}: see `rushlight parked list`")
    requests = Requests(database)
    group = await requests.ask(wishes, by=somebody())
    why_not = await _done(database, group, len(wishes)) if wishes else ""
    answers = await requests.of_group(group)
    if as_json:
        click.echo(msgspec.json.encode([_summary(answer) for answer in answers]))
    else:
        for answer in answers:
            click.echo(_line(answer))
        if not wishes:
            click.echo("Nothing is parked.")
    if missing:
        click.echo(f"nothing is parked of {missing}", err=True)
    if why_not:
        click.echo(why_not, err=True)
    return NOT_WELL if missing or why_not or any(answer.left for answer in answers) else 0


async def _done(database: Database, group: str, total: int) -> str:
    """Wait until the owners have answered; otherwise why they have not."""
    requests, leases = Requests(database), Leases(database, "", 0)
    progress = -1
    begun = moved = time.monotonic()
    with _bars() as bars:
        bar = bars.add_task("Waiting for the owners", total=total)
        while left := await requests.count_open(group):
            bars.update(bar, completed=total - left)
            present, before, progress = time.monotonic(), progress, await requests.progress(group)
            if progress != before:
                moved = present
            workers, _ = await leases.survey()
            if not workers and present - max(begun, moved) > WORKER_SECONDS:
                return (
                    "no worker is running, and only a worker can do this: start one with `rushlight worker`;"
                    f" {_requests(left)} kept and will be done then"
                )
            if present - moved > PATIENCE_SECONDS:
                return f"the workers have done nothing about it for {PATIENCE_SECONDS:.0f} s; {_requests(left)} kept"
            await asyncio.sleep(POLL_SECONDS)
        bars.update(bar, completed=total)
    return ""


def _requests(count: int) -> str:
    return "1 request is" if count == 1 else f"{count:,} requests are"


def _bars() -> Bars:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Bars(*columns, console=console, disable=not console.is_terminal)


def _target(answer: Request) -> str:
    return answer.wish.origin or answer.wish.aggregate_id or ""


def _summary(answer: Request) -> dict[str, object]:
    counts = {name: getattr(answer, name) for name in ("stored", "duplicate", "dropped", "left")}
    target = {"aggregateId": answer.wish.aggregate_id, "origin": answer.wish.origin}
    return {**{k: v for k, v in target.items() if v is not None}, "state": answer.state, **counts, "why": answer.why}


def _line(answer: Request) -> str:
    name = plain(_target(answer))
    done = [f"{getattr(answer, kind):,} {kind}" for kind in ("stored", "duplicate", "dropped") if getattr(answer, kind)]
    if answer.state == "open":
        return f"{name}: {', '.join(done) or 'nothing'} so far; not done yet"
    if not done and not answer.left:
        return f"{name}: nothing is parked"
    if not answer.left:
        return f"{name}: {', '.join(done)}"
    stays = "1 stays" if answer.left == 1 else f"{answer.left:,} stay"
    why = f": {plain(answer.why)}" if answer.why else ""
    return f"{name}: {', '.join([*done, f'{stays} parked'])}{why}"


def _print_list(found: Parked) -> None:
    for each in found.aggregates:
        count = "1 event" if each.events == 1 else f"{each.events:,} events"
        what = f"{', '.join(each.event_names)} from {', '.join(each.sources)}"
        click.echo(f"{plain(each.aggregate_id)}  {count} since {when(each.since)}  {plain(what)}")
        click.echo(f"    {plain(each.origin)}: {plain(each.reason)}{_tried(each.attempts)}")
    for record in found.unreadable:
        click.echo(f"unreadable since {when(record.since)}  {record.bytes:,} bytes")
        click.echo(f"    {plain(record.origin)}: {plain(record.reason)}{_tried(record.attempts)}")
    if found.total:
        more = f", {len(found.aggregates):,} of them shown" if found.total > len(found.aggregates) else ""
        events = "1 event" if found.events == 1 else f"{found.events:,} events"
        click.echo(f"{events} of {'1 aggregate' if found.total == 1 else f'{found.total:,} aggregates'}{more}")
    if found.unreadable_total > len(found.unreadable):
        click.echo(f"{found.unreadable_total:,} unreadable records, {len(found.unreadable):,} of them shown")
    if not found.total and not found.unreadable_total:
        click.echo("Nothing is parked.")


def _print_queue(aggregate: str, found: Parked) -> None:
    if not found.queue:
        click.echo(f"{plain(aggregate)}: nothing is parked")
    for event in found.queue:
        click.echo(_of_event(event))
    if found.events > len(found.queue):
        click.echo(f"{found.events:,} events, the first {len(found.queue):,} shown")


def _of_event(event: ParkedEvent) -> str:
    version = f" v{event.version}" if event.version is not None else ""
    cut = "" if event.whole else f" (only a part of {event.bytes:,} bytes was kept)"
    return (
        f"{event.origin}  {when(event.since)}  {plain(event.event_name or '')}{version}  {plain(event.source)}\n"
        f"    {plain(event.reason)}{_tried(event.attempts)}\n    {plain(event.event)}{cut}"
    )


def _tried(attempts: int) -> str:
    return f" (retried {attempts}×)" if attempts else ""
