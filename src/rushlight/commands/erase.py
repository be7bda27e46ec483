"""``rushlight erase``: forget a person, say what was done, and how to be sure of the rest."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import click
import msgspec

from rushlight.bus.scrubbing import forget, scrub
from rushlight.commands import NOT_WELL
from rushlight.commands.session import Session, opened
from rushlight.commands.text import plain, somebody, when
from rushlight.errors import Unavailable
from rushlight.settings import Settings
from rushlight.store.erasing import Erased, Erasure, records
from rushlight.store.positions import Positions

POLL_SECONDS = 0.3
# What is on its way is committed within moments while a worker runs.
PATIENCE_SECONDS = 20.0
WORDS = (
    ("subjects", "documents with traits deleted"),
    ("links", "links deleted"),
    ("behaviour", "events of visitors without their customer now"),
    ("money", "events of orders without their visitor now"),
    ("purchases", "purchases without their order now"),
    ("parked", "parked or dropped events cut loose"),
    ("samples", "samples of rejected items deleted"),
    ("streamed", "entries taken out of the streams"),
)


async def erase(
    settings: Settings, *, customer: str | None, yes: bool, listed: bool, shop: str, as_json: bool
) -> int | None:
    """Erase, or list who was erased; 3 when something of the person is still on its way."""
    if listed == (customer is not None):
        raise click.UsageError("say whom to erase with --customer, or --list: one of the two")
    if customer is None:
        await _list(settings, as_json=as_json)
        return None
    if not customer:
        raise click.UsageError("--customer must name somebody")
    if not yes:
        _confirm(f"Erase {plain(customer)} of the shop {shop}? This cannot be undone")
    async with opened(settings, role="erase", reads=True) as session:
        database, partitions = session.database, session.settings.partitions
        erasure = await Erasure.begin(database, partitions, shop, customer, by=somebody())
        await erasure.erase()
        trouble = await _on_its_way(session, erasure)
        done = await erasure.finish()
    if as_json:
        click.echo(msgspec.json.encode({**msgspec.to_builtins(done), "trouble": trouble}))
    else:
        _print(customer, done)
    if trouble:
        click.echo(trouble, err=True)
    return NOT_WELL if trouble else 0


def _confirm(question: str) -> None:
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:  # nobody is there to answer
        click.echo(err=True)
        agreed = False
    if not agreed:
        raise click.ClickException("nothing was erased: answer y, or give --yes")


async def _on_its_way(session: Session, erasure: Erasure) -> str:
    """Take what is committed out of the streams; otherwise what stays there and why."""
    url = session.settings.redis_url or ""
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while True:
            positions = await Positions(session.database).all()
            entries = {partition: position.entry for partition, position in positions.items()}
            deleted, waiting = await scrub(url, entries, erasure.is_meant)
            erasure.done.streamed += deleted
            erasure.done.waiting = waiting
            if not waiting or time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
        await forget(url)
    except Unavailable as error:
        return f"the streams could not be searched ({error}): run this again when Redis answers"
    if not erasure.done.waiting:
        return ""
    return (
        f"{erasure.done.waiting} events of this person wait in the streams for a worker; they will come without what"
        " names the person, and stay in Redis until then: run this again"
    )


def _print(customer: str, done: Erased) -> None:
    counts = [(getattr(done, name), words) for name, words in WORDS]
    if not any(count for count, _ in counts):
        click.echo(f"{plain(customer)}: nothing is held any more")
        return
    names = f", under {done.ids} ids" if done.ids > 1 else ""
    click.echo(f"{plain(customer)}: erased{names}, with {done.visitors} visitors; received until {when(done.at)}")
    for count, words in counts:
        if count:
            click.echo(f"  {count:,} {words}")


async def _list(settings: Settings, *, as_json: bool) -> None:
    async with opened(settings, role="erase", roles=(), reads=True) as session:
        found = [document async for document in records(session.database)]
    if as_json:
        click.echo(msgspec.json.encode([_row(document) for document in found]))
        return
    for document in found:
        kind = "customer" if document["kind"] == "c" else "visitor"
        state = "" if document.get("done", True) else "  (not finished: run it again)"
        what = f"{document['shop']}  {kind} {document['_id'][:16]}…"
        click.echo(f"{when(document['at'])}  {what}  by {plain(document['by'])}{state}")
    if not found:
        click.echo("Nobody was erased.")


def _row(document: dict[str, Any]) -> dict[str, Any]:
    return {"id": document["_id"], **{k: v for k, v in document.items() if k != "_id"}}
