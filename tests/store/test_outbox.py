"""An order and its events are one document; what is settled leaves it, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from rushlight.errors import Rejected
from rushlight.events.catalogue import (
    Line,
    OrderCancelled,
    OrderCreated,
    OrderPaid,
    OrderRefunded,
    OrderShipped,
    Purchase,
)
from rushlight.events.envelope import Envelope, decode, now
from rushlight.events.event import Event
from rushlight.events.ids import money_id, partition_of
from rushlight.store.clearing import Clearing
from rushlight.store.database import Database, of_primary
from rushlight.store.outbox import Outbox, OutboxReader


def created(order_id: str, visitor_id: str | None = None) -> OrderCreated:
    """An order of one line."""
    lines = [Line(product_id="tea", quantity=1, amount=100)]
    return OrderCreated(
        order_id=order_id, currency="EUR", lines=lines, gross=100, total=100, visitor_id=visitor_id, customer_id="c"
    )


def placed(order_id: str, *more: Event) -> dict[str, Any]:
    """An order document with its first events."""
    return Outbox.attach({"_id": order_id}, created(order_id), *more)


def envelopes(order: dict[str, Any]) -> list[Envelope]:
    """The events in an order's outbox."""
    return [decode(entry["e"]) for entry in order["outbox"]]


def test_attach() -> None:
    """Entries are numbered, only the order's own have versions, and each knows its partition and origin."""
    order = Outbox.attach(
        {"_id": "o-1", "kept": True},
        created("o-1", "v-1"),
        Purchase(visitor_id="v-1", transaction_id="o-1"),
        OrderPaid(order_id="o-1", payment_id="p", currency="EUR", amount=100),
    )
    assert (order["emitted"], order["versions"], order["kept"]) == (3, 2, True)
    events = envelopes(order)
    assert [(event.name, event.version, event.origin) for event in events] == [
        ("order_created", 1, "o:o-1:1"),
        ("purchase", None, "o:o-1:2"),
        ("order_paid", 2, "o:o-1:3"),
    ]
    assert [entry["n"] for entry in order["outbox"]] == [1, 2, 3]
    assert [entry["p"] for entry in order["outbox"]] == [
        partition_of("default", key, 8) for key in ("o-1", "v-1", "o-1")
    ]
    assert events[0].id == money_id("default", "orders", "o-1", "order_created")
    assert events[2].id == money_id("default", "orders", "o-1", "order_paid", "p")
    assert (events[0].customer_id, events[0].visitor_id, events[1].aggregate_id) == ("c", "v-1", "v-1")
    assert events[0].payload == created("o-1", "v-1").payload()
    assert Outbox.entries(order) == [(entry["p"], entry["e"].encode()) for entry in order["outbox"]]


def test_a_visitor_with_an_orders_id() -> None:
    """What a visitor does is not the order's own, even if the ids are the same."""
    order = placed("same", Purchase(visitor_id="same"))
    assert [event.version for event in envelopes(order)] == [1, None]


def test_several_of_a_kind() -> None:
    """Two events of one kind differ by what they refer to, or else by their number; they are no repeats."""
    order = placed(
        "o-1",
        OrderShipped(order_id="o-1", shipment_id="a"),
        OrderShipped(order_id="o-1", shipment_id="b"),
        OrderCancelled(order_id="o-1"),
        OrderCancelled(order_id="o-1"),
    )
    assert len({event.id for event in envelopes(order)}) == 5
    later = Outbox.attach(dict(order), OrderCancelled(order_id="o-1"))
    assert [event.version for event in envelopes(later)] == [1, 2, 3, 4, 5, 6]


def test_ids_are_strings() -> None:
    """An id that is no string is refused: its entries could not be found again to be cleared."""
    with pytest.raises(Rejected, match="ObjectId"):
        Outbox.attach({"_id": ObjectId()}, created("o-1"))


async def test_extend_matches_once(database: Database) -> None:
    """Of ten who extend the same state of an order one succeeds; the others learn that somebody was there."""
    order = placed("o-1")
    await database.orders.insert_one(order)
    attempts = []
    for number in range(10):
        refund = OrderRefunded(order_id="o-1", refund_id=f"{number}", currency="EUR", amount=1)
        condition, update = Outbox.extend(order, refund)
        attempts.append(database.orders.update_one(condition, update))
    results = await asyncio.gather(*attempts)
    assert sum(result.matched_count for result in results) == 1
    stored = await database.orders.find_one({"_id": "o-1"})
    assert stored is not None
    assert (stored["emitted"], stored["versions"], len(stored["outbox"])) == (2, 2, 2)
    assert [event.version for event in envelopes(stored)] == [1, 2]


async def test_settled_orders_cost_no_index_entry(database: Database) -> None:
    """An order whose outbox is empty has no key in the worker's index; a million of them cost a search nothing."""
    orders = [placed(f"o-{n}", Purchase(visitor_id=f"v-{n}")) for n in range(20)]
    await database.orders.insert_many(orders)
    clearing = Clearing(database)
    clearing.add(f"o:o-{n}:{entry}" for n in range(15) for entry in (1, 2))
    await clearing.flush()
    facts = await database.client[database.name].command("validate", "orders", full=True)
    keys = facts["keysPerIndex"]["outbox"]
    assert keys == sum(len({entry["p"] for entry in order["outbox"]}) for order in orders[15:])
    plan = await database.orders.find({"outbox.p": {"$gte": 0}}).hint("outbox").explain()
    assert plan["executionStats"]["totalDocsExamined"] == 5


async def test_leftovers(database: Database) -> None:
    """A partition's entries are found by age; one from the future was written by another clock and is found at once."""
    reader = OutboxReader(database)
    orders = [placed(f"o-{n}") for n in range(3)]
    moments = [now() - timedelta(minutes=1), now() + timedelta(milliseconds=500), now() + timedelta(hours=1)]
    for order, moment in zip(orders, moments, strict=True):
        order["outbox"][0] |= {"p": 3, "at": moment}
    await database.orders.insert_many([*orders, {"_id": "settled", "outbox": []}, {"_id": "theirs"}])
    found = {row.order_id for row in await reader.leftovers(3, before=None)}
    assert found == {"o-0", "o-1", "o-2"}
    some = await reader.leftovers(3, before=now() - timedelta(seconds=1))
    assert [(row.order_id, row.number, decode(row.data).origin) for row in some] == [
        ("o-0", 1, "o:o-0:1"),
        ("o-2", 1, "o:o-2:1"),
    ]
    assert await reader.leftovers(4, before=None) == []
    assert [row.order_id for row in await reader.of_orders(["o-1", "absent"], 3)] == ["o-1"]
    assert await reader.of_orders(["o-1"], 4) == []


async def test_clearing(database: Database) -> None:
    """Clearing takes exactly what is settled, twice or late or for nothing without harm, whatever the ids contain."""
    names = ["o-1", "o:2:7", "ö/3", "gone"]
    for name in names[:3]:
        await database.orders.insert_one(placed(name, OrderCancelled(order_id=name)))
    clearing = Clearing(database)
    clearing.add([f"o:{name}:1" for name in names] + ["w:log:1", "d:direct"])
    clearing.add(["o:o-1:1"])
    await clearing.close()
    await clearing.flush()
    # Clearing waits for no majority, so only the primary shows it at once.
    orders = of_primary(database.orders).find()
    left = {order["_id"]: [entry["n"] for entry in order["outbox"]] async for order in orders}
    assert left == {"o-1": [2], "o:2:7": [2], "ö/3": [2]}


async def test_clearing_while_the_order_goes_on(database: Database) -> None:
    """Entries that are added in the meantime stay."""
    order = placed("o-1")
    await database.orders.insert_one(order)
    clearing = Clearing(database)
    condition, update = Outbox.extend(order, OrderCancelled(order_id="o-1"))
    clearing.add(["o:o-1:1"])
    await asyncio.gather(clearing.flush(), database.orders.update_one(condition, update))
    stored = await of_primary(database.orders).find_one({"_id": "o-1"})
    assert stored is not None
    assert [entry["n"] for entry in stored["outbox"]] == [2]
