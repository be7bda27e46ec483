"""``completeTo`` never claims an acknowledged event that is not in the figures yet."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from rushlight.events.catalogue import OrderCreated, Purchase
from rushlight.events.envelope import decode
from rushlight.query.freshness import OLDEST_ORDERS, SLACK, complete_to
from rushlight.settings import Settings
from rushlight.store.clock import server_time
from rushlight.store.database import Database
from rushlight.store.outbox import Outbox
from tests.query.pipeline import running

MINUTE = timedelta(minutes=1)


async def place(database: Database, settings: Settings, name: str, at: datetime, *, visitor: bool = False) -> Any:
    """An order that was received at a moment, with or without the visitor's purchase."""
    events = [OrderCreated(order_id=name, currency="USD", lines=[], gross=0)]
    twin = [Purchase(visitor_id=f"v-{name}", transaction_id=name)] if visitor else []
    order = Outbox.attach({"_id": name}, *events, *twin, partitions=settings.partitions)
    for entry in order["outbox"]:
        entry["at"] = at
    await database.orders.insert_one(order)
    return [decode(data) for _, data in Outbox.entries(order)]


async def test_at_rest_figures_are_complete_to_now(database: Database) -> None:
    """Nothing is under way: complete to the server's present, less the moment that seeing takes."""
    before = await server_time(database)
    found = await complete_to(database)
    after = await server_time(database)
    assert before - SLACK <= found.money == found.behaviour <= after - SLACK


async def test_the_oldest_unsettled_order_bounds_its_class(database: Database, settings: Settings) -> None:
    """Money waits for orders; behaviour only for the visitor's part of them."""
    present = await server_time(database)
    await place(database, settings, "o2", present - MINUTE, visitor=True)
    await place(database, settings, "o1", present - 5 * MINUTE)
    found = await complete_to(database)
    assert (found.money, found.behaviour) == (present - 5 * MINUTE, present - MINUTE)


async def test_a_settled_order_does_not_wait_to_be_cleared(database: Database, settings: Settings) -> None:
    """An entry with a terminal record is in the figures, though it still lies in its order."""
    present = await server_time(database)
    events = await place(database, settings, "o1", present - MINUTE, visitor=True)
    order = await database.orders.find_one({"_id": "o1"})
    async with running(database, settings) as pipeline:
        await pipeline.send(events)
    await database.orders.replace_one({"_id": "o1"}, order or {})
    found = await complete_to(database)
    assert min(found.money, found.behaviour) >= present - SLACK


async def test_many_waiting_orders_are_bounded_by_the_oldest_that_were_looked_at(
    database: Database, settings: Settings
) -> None:
    """Behind the orders that were looked at there may be others of either class, so both are bounded by them."""
    present = await server_time(database)
    for number in range(OLDEST_ORDERS + 5):
        await place(database, settings, f"o{number}", present - timedelta(seconds=1000 - number))
    found = await complete_to(database)
    assert found.money == present - timedelta(seconds=1000)
    assert found.behaviour == present - timedelta(seconds=1000 - OLDEST_ORDERS + 1)


async def test_an_entry_that_cannot_be_read_bounds_both(database: Database, settings: Settings) -> None:
    """Nobody can say what it is."""
    present = await server_time(database)
    await place(database, settings, "o1", present - MINUTE)
    await database.orders.update_one({"_id": "o1"}, {"$set": {"outbox.0.e": "{"}})
    found = await complete_to(database)
    assert (found.money, found.behaviour) == (present - MINUTE, present - MINUTE)


async def test_open_logs_bound_by_what_they_said_last(database: Database) -> None:
    """By their oldest unsettled events, and by their last heartbeat, for they may have taken more since."""
    present = await server_time(database)
    closed = {"_id": "gone", "closed": True, "startedAt": present, "heartbeatAt": present - 50 * MINUTE, "oldest": {}}
    silent = {"_id": "silent", "closed": False, "startedAt": present, "heartbeatAt": present - MINUTE, "oldest": {}}
    slow = {**silent, "_id": "slow", "heartbeatAt": present, "oldest": {"money": present - 9 * MINUTE}}
    await database.logs.insert_many([closed, silent, slow])
    found = await complete_to(database)
    assert (found.money, found.behaviour) == (present - 9 * MINUTE, present - MINUTE - SLACK)


async def test_a_projection_that_is_behind_its_journal_is_not_complete(database: Database) -> None:
    """Bounded by the first event that it has not folded; the other projection is not."""
    present = await server_time(database)
    await database.positions.update_one(
        {"_id": 3},
        {"$set": {"epoch": 1, "n": 2, "seq": 9, "projections": {"money_1": 9, "behaviour_1": 7}}},
        upsert=True,
    )
    await database.journal.insert_one({"_id": "e8", "p": 3, "seq": 8, "receivedAt": present - MINUTE})
    found = await complete_to(database)
    assert found.behaviour == present - MINUTE
    assert found.money > present - MINUTE
