"""Events, and what every checker asks of the journal."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import redis

from rushlight.bus.stream import stream_key
from rushlight.engine.worker import Worker
from rushlight.events.catalogue import Item, Line, OrderCreated, ViewItem
from rushlight.events.envelope import Envelope, decode
from rushlight.events.ids import event_id, money_id
from rushlight.settings import Settings
from rushlight.store.database import Database

_numbers = itertools.count(1)


def view(visitor: str = "v1", message: str | None = None, *, source: str = "web", name: str = "Tea") -> Envelope:
    """A product's page seen by a visitor; a new event unless the message id is given."""
    event = ViewItem(visitor_id=visitor, items=[Item(product_id="tea", name=name)])
    return event.seal(
        id=event_id("default", "public", source, message or f"view {next(_numbers)}"),
        shop="default",
        source=source,
        origin="",
    )


def order(order_id: str, amount: int = 1000) -> Envelope:
    """An order of one line."""
    event = OrderCreated(
        order_id=order_id,
        currency="EUR",
        lines=[Line(product_id="tea", quantity=1, amount=amount)],
        gross=amount,
        total=amount,
    )
    return event.seal(id=money_id("default", "api", order_id, "order_created"), shop="default", source="api", origin="")


def views(count: int, visitors: int = 7) -> list[Envelope]:
    """Events of several visitors in turn."""
    return [view(f"v{index % visitors}") for index in range(count)]


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Database]:
    """A real worker for as long as the block runs, and a connection to look with."""
    database = await Database.connect(settings, role="worker of a test")
    worker = Worker(database, settings)
    task = asyncio.create_task(worker.run())
    try:
        yield database
    finally:
        worker.stop()
        await task
        await database.close()


def in_streams(url: str, partitions: int = 8) -> list[Envelope]:
    """What stands in the streams, partition by partition."""
    with redis.Redis.from_url(url) as client:
        return [
            decode(fields[b"e"])
            for partition in range(partitions)
            for _, fields in client.xrange(stream_key(partition))
        ]


async def missing(database: Database, event_ids: Iterable[str]) -> set[str]:
    """Acknowledged events that are neither in the journal nor parked: must be empty."""
    wanted = set(event_ids)
    stored = {row["_id"] async for row in database.journal.find({"_id": {"$in": list(wanted)}}, {"_id": 1})}
    parked = {row["eventId"] async for row in database.outcomes.find({"kind": "parked"}, {"eventId": 1})}
    return wanted - stored - parked


async def stored_order(database: Database, events: Sequence[Envelope]) -> dict[str, list[str]]:
    """For each aggregate, its events in the order in which the journal has them."""
    ids = [event.id for event in events]
    rows = await database.journal.find({"_id": {"$in": ids}}).sort([("p", 1), ("seq", 1)]).to_list()
    return by_aggregate((row["aggregateId"], row["_id"]) for row in rows)


def sent_order(events: Sequence[Envelope]) -> dict[str, list[str]]:
    """For each aggregate, its events in the order in which they were sent."""
    return by_aggregate((event.aggregate_id, event.id) for event in events)


def by_aggregate(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Ids by aggregate, in the order given."""
    found: dict[str, list[str]] = {}
    for aggregate, event in pairs:
        found.setdefault(aggregate, []).append(event)
    return found


async def until(condition: Any, seconds: float = 60.0) -> None:
    """Wait for an (async) condition."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in a server
            await asyncio.sleep(0.05)


def ids(events: Collection[Envelope]) -> set[str]:
    """Their ids."""
    return {event.id for event in events}
