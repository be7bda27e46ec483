"""However a partition's journal is cut into batches, MongoDB holds the same documents afterwards, to the byte."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import bson
import pytest
from bson.int64 import Int64

from rushlight.engine.folding import Folder, Poison
from rushlight.events.catalogue import (
    AddToCart,
    Item,
    Line,
    OrderCancelled,
    OrderPaid,
    OrderRefunded,
    OrderShipped,
    Purchase,
    RefundLine,
    RemoveFromCart,
    ViewItem,
)
from rushlight.events.envelope import Envelope
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.money import Money
from rushlight.projections.projection import Projection
from rushlight.projections.state import State
from rushlight.store import bulk
from rushlight.store.database import Database
from tests.projections import oracle
from tests.projections.folding import fold
from tests.projections.making import BEGIN, did, placed, sealed

PROJECTIONS = (Money(), Behaviour())


def journal(seed: int, orders: int = 12) -> list[Envelope]:
    """A partition's worth of events in a disorderly order."""
    chance = random.Random(seed)
    events: list[Envelope] = []
    for number in range(orders):
        at = BEGIN + timedelta(minutes=chance.randrange(180), milliseconds=chance.randrange(1000))
        order_id, visitor = f"o-{number}", f"v-{chance.randrange(3)}"
        lines = [
            Line(product_id=f"p/{chance.randrange(4)}", quantity=1, amount=chance.randrange(3_000_000_000), name="P")
            for _ in range(3)
        ]
        events.append(placed(order_id, lines, at, customer_id=f"c-{chance.randrange(3)}", tax=chance.randrange(99)))
        item = Item(product_id=lines[0].product_id, name="P")
        for behaviour in (ViewItem, AddToCart, AddToCart, RemoveFromCart, Purchase):
            moment = at - timedelta(minutes=chance.randrange(90))
            events.append(did(behaviour(visitor_id=visitor, items=[item]), moment, message=f"{seed} {len(events)}"))
        if chance.random() < 0.5:
            paid = OrderPaid(order_id=order_id, payment_id="p", currency="EUR", amount=7)
            events += [sealed(paid, at), sealed(OrderShipped(order_id=order_id, shipment_id="s"), at)]
        if chance.random() < 0.4:
            part = RefundLine(product_id=lines[1].product_id, amount=5)
            for refund_id, parts in (("a", [part]), ("b", [])):
                refund = OrderRefunded(
                    order_id=order_id, refund_id=refund_id, currency="EUR", amount=5, lines=list(parts)
                )
                events.append(sealed(refund, at + timedelta(hours=1)))
        if chance.random() < 0.3:
            events.append(sealed(OrderCancelled(order_id=order_id), at))
    chance.shuffle(events)
    return events


async def write(database: Database, partition: int, events: Sequence[Envelope], cuts: Sequence[int]) -> None:
    """Fold the events into MongoDB, a batch from cut to cut."""
    for projection in PROJECTIONS:
        folder = Folder(database, projection, 1, partition)
        for start, end in itertools.pairwise([0, *cuts, len(events)]):
            collection, inserts, updates = await folder.fold(events[start:end], start + 1)
            if inserts:
                await collection.insert_many(inserts)
            await bulk.update(collection, updates)


async def documents(database: Database, projection: Projection, partition: int) -> dict[str, dict[str, Any]]:
    """What MongoDB holds of a partition, by key."""
    found = database.projection(projection.name).find({"p": partition})
    return {document.pop("_id").split("/", 2)[2]: document async for document in found}


def canonical(value: Any) -> Any:
    """The same value with names in order; numbers are numbers, whatever their width."""
    if isinstance(value, dict):
        return {name: canonical(value[name]) for name in sorted(value)}
    if isinstance(value, Int64):  # once a number has been wider than 32 bits, MongoDB keeps it so
        return int(value)
    return [canonical(item) for item in value] if isinstance(value, list) else value


def to_bytes(documents: dict[str, dict[str, Any]]) -> bytes:
    """All documents but for the partition that they say they belong to."""
    return bson.encode(canonical({key: {**content, "p": 0} for key, content in documents.items()}))


@pytest.mark.parametrize("seed", range(3))
async def test_cuts_do_not_matter(database: Database, seed: int) -> None:
    """One batch, single events and random cuts give byte-equal documents, the seq of the last change among them."""
    events = journal(seed)
    chance = random.Random(seed)
    every = list(range(1, len(events)))
    ways = [[], every, *(sorted(chance.sample(every, size)) for size in (1, 3, 9))]
    for partition, cuts in enumerate(ways):
        await write(database, partition, events, cuts)
    for projection in PROJECTIONS:
        found = [await documents(database, projection, partition) for partition in range(len(ways))]
        assert len({to_bytes(some) for some in found}) == 1
        expected = fold(projection, events)
        assert {
            key: {name: value for name, value in content.items() if name not in {"seq", "p"}}
            for key, content in found[0].items()
            if set(content) != {"seq", "p"}
        } == expected
    money, behaviour = [await documents(database, projection, 0) for projection in PROJECTIONS]
    assert oracle.flat(_unescaped(money), "hdpcx") == oracle.money(events)
    assert oracle.flat(_unescaped(behaviour), "fpsubtn") == oracle.behaviour(events)


async def test_the_comparison_notices(database: Database) -> None:
    """Negative control: one event folded twice, or a seq that is off by one, is another byte."""
    events = journal(7, orders=2)
    await write(database, 0, events, [])
    await write(database, 1, [*events, events[-1]], [])
    await write(database, 2, [*events[:-2], events[-1], events[-2]], [])
    bytes_of = [
        b"".join([to_bytes(await documents(database, projection, partition)) for projection in PROJECTIONS])
        for partition in range(3)
    ]
    assert len(set(bytes_of)) == 3


class _Bomb(Money):
    name = "money"

    def fold(self, state: State, event: Envelope) -> None:
        """Fail on one order after having changed the state."""
        super().fold(state, event)
        if event.aggregate_id == "o-1":
            raise ZeroDivisionError


async def test_a_fold_that_fails_names_its_event(database: Database) -> None:
    """The event that broke is named, and nothing was written."""
    line = Line(product_id="tea", quantity=1, amount=100)
    events = [placed(f"o-{n}", [line], BEGIN) for n in range(3)]
    with pytest.raises(Poison, match="ZeroDivisionError") as poison:
        await Folder(database, _Bomb(), 1, 0).fold(events, 1)
    assert poison.value.event is events[1]
    assert await documents(database, Money(), 0) == {}


async def test_a_sum_beyond_what_is_stored(database: Database) -> None:
    """Sums that 64 bits cannot hold are the fault of the event that makes them, not of its neighbours."""
    huge = [Line(product_id="tea", quantity=1, amount=2**53 - 1)] * 1025
    events = [placed("o-0", huge[:1], BEGIN), placed("o-1", huge, BEGIN), placed("o-2", huge[:1], BEGIN)]
    with pytest.raises(Poison) as poison:
        await Folder(database, Money(), 1, 0).fold(events, 1)
    assert poison.value.event is events[1]


def _unescaped(documents: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {key.replace("%2F", "/"): content for key, content in documents.items()}
