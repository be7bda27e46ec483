"""Sorting decides for each arrival: new, a repeat, or poison; and each aggregate's versions stand in order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rushlight.engine.batch import FOLLOWS_PARKED, Batch
from rushlight.engine.sorter import Arrival, Sorter
from rushlight.events.catalogue import Line, OrderCancelled, OrderCreated, OrderPaid, OrderShipped
from rushlight.events.envelope import Envelope, decode, encode
from rushlight.events.event import Event
from rushlight.events.ids import partition_of
from rushlight.store.database import Database
from rushlight.store.journal import Journal, to_document
from rushlight.store.outbox import Outbox, OutboxReader

PARTITION = partition_of("default", "o-1", 8)


@pytest.fixture
def sorter(database: Database) -> Sorter:
    """The sorter of the partition of order ``o-1``, which has seen nothing yet."""
    return Sorter(PARTITION, Journal(database, latest=True), OutboxReader(database), set())


async def placed(database: Database, *more: Event, order_id: str = "o-1") -> list[Envelope]:
    """An order in MongoDB; what its outbox holds."""
    lines = [Line(product_id="tea", quantity=1, amount=100)]
    created = OrderCreated(order_id=order_id, currency="EUR", lines=lines, gross=100, total=100)
    order = Outbox.attach({"_id": order_id}, created, *more)
    await database.orders.insert_one(order)
    return [decode(entry["e"]) for entry in order["outbox"]]


def paid(number: int) -> OrderPaid:
    """One of several payments."""
    return OrderPaid(order_id="o-1", payment_id=f"p-{number}", currency="EUR", amount=1)


def arrivals(*events: Envelope) -> list[Arrival]:
    """Events as they come from the stream."""
    return [(f"s:{PARTITION}:{number}-0", encode(event)) for number, event in enumerate(events, start=1)]


def copied(event: Envelope, **changes: Any) -> Envelope:
    """The same event with other fields."""
    return msgspec.structs.replace(event, **changes)


def told(batch: Batch) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Origins accepted, outcomes by kind and origin, origins found settled."""
    accepted = [candidate.event.origin for candidate in batch.accepted]
    return accepted, [(outcome.kind, outcome.origin) for outcome in batch.outcomes], batch.settled


async def test_repeats(database: Database, sorter: Sorter) -> None:
    """The same acknowledgement again is only cleared; the same event under another one is a duplicate, once each."""
    (event,) = await placed(database)
    again = copied(event, origin="w:log:1")
    assert told(await sorter.sort(arrivals(event, event, again, again))) == (
        ["o:o-1:1"],
        [("duplicate", "w:log:1")],
        [],
    )
    await database.journal.insert_one(to_document(event, PARTITION, 1))
    await database.outcomes.insert_one({"_id": "w:log:1", "kind": "duplicate"})
    third = copied(event, origin="w:log:2")
    assert told(await sorter.sort(arrivals(event, again, third, third))) == (
        [],
        [("duplicate", "w:log:2")],
        ["o:o-1:1", "w:log:1"],
    )


async def test_any_order_of_arrival(database: Database, sorter: Sorter) -> None:
    """Versions are put in order, other aggregates stay where they came."""
    first = await placed(database, paid(1), paid(2), OrderCancelled(order_id="o-1"))
    second = copied(first[0], id="x", aggregate_id="other", origin="w:log:1", version=None, name="order_updated2")
    batch = await sorter.sort(arrivals(first[3], first[1], second, first[0], first[2]))
    assert [candidate.event.version for candidate in batch.accepted] == [1, 2, 3, 4, None]
    assert batch.outcomes == []


async def test_gaps_are_filled(database: Database, sorter: Sorter) -> None:
    """What the stream has not brought is taken from the outbox, in order; what is not needed yet is left."""
    events = await placed(database, paid(1), paid(2), paid(3))
    batch = await sorter.sort(arrivals(events[2]))
    assert told(batch)[0] == ["o:o-1:1", "o:o-1:2", "o:o-1:3"]
    sorter.committed(batch)
    await database.journal.insert_many([to_document(c.event, PARTITION, n) for n, c in enumerate(batch.accepted, 1)])
    batch = await sorter.sort(arrivals(events[3]))
    assert told(batch)[0] == ["o:o-1:4"]
    late = await sorter.sort(arrivals(events[0], events[1]))
    assert told(late) == ([], [], ["o:o-1:1", "o:o-1:2"])


async def test_a_new_owner_knows_the_versions(database: Database, sorter: Sorter) -> None:
    """Without memory the highest version with a record is looked up, among the stored and the parked."""
    events = await placed(database, paid(1), paid(2), paid(3))
    await database.journal.insert_one(to_document(events[0], PARTITION, 1))
    parked = {"kind": "parked", "shop": "default", "aggregateId": "o-1", "version": 2, "p": PARTITION}
    await database.outcomes.insert_one({"_id": "o:o-1:2", **parked})
    await database.orders.update_one({"_id": "o-1"}, {"$pull": {"outbox": {"n": {"$lte": 2}}}})
    assert told(await sorter.sort(arrivals(events[3])))[0] == ["o:o-1:3", "o:o-1:4"]


async def test_an_event_by_two_roads_across_a_gap(database: Database, sorter: Sorter) -> None:
    """An order that was imported and whose own report lies in the outbox is one event, and one duplicate."""
    events = await placed(database, paid(1))
    imported = copied(events[0], origin="w:log:1", version=None)
    batch = await sorter.sort(arrivals(imported, events[1]))
    assert told(batch) == (["w:log:1", "o:o-1:2"], [("duplicate", "o:o-1:1")], [])
    await database.journal.insert_one(to_document(imported, PARTITION, 1))
    again = await sorter.sort(arrivals(events[0], events[1]))
    assert told(again) == (["o:o-1:2"], [("duplicate", "o:o-1:1")], [])


async def test_the_gap_of_a_duplicate_closes(database: Database, sorter: Sorter) -> None:
    """A duplicate is a terminal record: its version is no gap for those that follow."""
    events = await placed(database, paid(1), paid(2))
    imported = copied(events[0], origin="w:log:1", version=None)
    await database.journal.insert_one(to_document(imported, PARTITION, 1))
    sorter.committed(await sorter.sort(arrivals(events[0])))
    await database.orders.update_one({"_id": "o-1"}, {"$pull": {"outbox": {"n": 1}}})
    assert told(await sorter.sort(arrivals(events[1], events[2])))[0] == ["o:o-1:2", "o:o-1:3"]


async def test_poison_parks_its_aggregate_from_there_on(database: Database, sorter: Sorter) -> None:
    """An event that breaks its schema and the later ones of its aggregate are parked; earlier ones are not."""
    events = await placed(database, paid(1), OrderShipped(order_id="o-1", shipment_id="s"), paid(2))
    other = copied(events[0], id="x", aggregate_id="o-2", origin="w:log:1", version=None)
    events[1].payload["amount"] = -1
    batch = await sorter.sort(arrivals(events[3], events[1], other, events[2], events[0]))
    assert told(batch)[0] == ["o:o-1:1", "w:log:1"]
    assert [(outcome.kind, outcome.origin, outcome.reason) for outcome in batch.outcomes] == [
        ("parked", "o:o-1:2", "payload.amount: Expected `int` >= 0"),
        ("parked", "o:o-1:3", FOLLOWS_PARKED),
        ("parked", "o:o-1:4", FOLLOWS_PARKED),
    ]
    sorter.committed(batch)
    later = copied(events[0], id="y", origin="w:log:2", version=None)
    assert told(await sorter.sort(arrivals(later)))[1] == [("parked", "w:log:2")]


async def test_what_was_not_committed_is_not_remembered(database: Database, sorter: Sorter) -> None:
    """A batch that is sorted again because its commit failed gives the same outcomes, with the same reasons."""
    events = await placed(database, paid(1))
    events[0].payload["currency"] = "XXX"
    first, second = [await sorter.sort(arrivals(*events)) for _ in range(2)]
    assert told(first) == told(second)
    assert [o.reason for o in first.outcomes] == [o.reason for o in second.outcomes]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"schema": 2}, "newer than this code"),
        ({"payload": {"orderId": "o-1"}}, "currency"),
        ({"payload": {}}, "orderId"),
    ],
)
async def test_more_poison(database: Database, sorter: Sorter, changes: dict[str, Any], word: str) -> None:
    """A newer schema and missing fields are parked with the reason; a shop's own events are not looked into."""
    (event,) = await placed(database)
    batch = await sorter.sort(arrivals(copied(event, **changes), copied(event, id="y", name="their_own", **changes)))
    assert batch.outcomes[0].kind == "parked"
    assert word in batch.outcomes[0].reason


async def test_what_cannot_be_read(database: Database, sorter: Sorter) -> None:
    """Garbage in an outbox is parked under its acknowledgement, once; in a stream it is noted beside the ledger."""
    arrived = [("o:o-1:1", b"garbage"), ("s:3:1-0", b"\xff"), ("o:o-1:1", b"garbage")]
    batch = await sorter.sort(arrived)
    assert told(batch) == ([], [("parked", "o:o-1:1"), ("unreadable", "s:3:1-0")], [])
    await database.outcomes.insert_one({"_id": "o:o-1:1", "kind": "parked"})
    assert told(await sorter.sort(arrived[:1])) == ([], [], ["o:o-1:1"])
