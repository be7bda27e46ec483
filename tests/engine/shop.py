"""A shop that keeps a list of all that was acknowledged, outside the system, so that nobody has to be believed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo.errors import BulkWriteError, PyMongoError

from rushlight.bus.appender import Appender
from rushlight.errors import Unavailable
from rushlight.events.catalogue import (
    AddToCart,
    Item,
    Line,
    OrderCancelled,
    OrderCreated,
    OrderPaid,
    OrderRefunded,
    OrderShipped,
    Purchase,
    ViewItem,
)
from rushlight.events.envelope import Envelope, decode, encode, now
from rushlight.events.event import Event
from rushlight.events.ids import event_id, partition_of
from rushlight.projections.session import MAX_POINTS
from rushlight.store.database import Database, Document
from rushlight.store.outbox import Outbox

DUPLICATE_KEY = 11000
PRODUCTS = tuple(f"p-{n}" for n in range(9))


async def appended(appender: Appender, partition: int, data: bytes) -> None:
    """Append until Redis says that it has it: a busy machine may be too slow for the deadline, and twice is once."""
    while True:
        try:
            await appender.append(partition, data)
        except Unavailable:
            await asyncio.sleep(0.1)
        else:
            return


class Shop:
    """Places orders with their outboxes, lets them go on, and sends what visitors do.

    Args:
        appender: the fast path; None when there is no Redis. loss: share of offers that are dropped on the way.
    """

    def __init__(self, database: Database, appender: Appender | None, *, seed: int = 0, loss: float = 0.0) -> None:
        self.acknowledged: list[Envelope] = []
        self.appender = appender
        self.loss = loss
        self._database = database
        self._chance = random.Random(seed)
        self._orders: dict[str, Document] = {}
        self._visits = 0
        self._heard: Counter[str] = Counter()

    async def place(self, count: int) -> list[str]:
        """Place orders in one write and offer their events; returns their ids."""
        documents = [self._order(f"o-{len(self._orders) + n}") for n in range(count)]
        await self._insert(documents)
        for document in documents:
            self._orders[document["_id"]] = document
            self._emit(document["outbox"])
        return [document["_id"] for document in documents]

    async def _insert(self, documents: list[Document]) -> None:
        """Insert until all are known to be there; one's own order that is there already is success."""
        while True:
            try:
                await self._database.orders.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                details = error.details or {}
                others = [row for row in details["writeErrors"] if row["code"] != DUPLICATE_KEY]
                if not others and not details["writeConcernErrors"]:
                    return
            except PyMongoError:
                await asyncio.sleep(0.1)
            else:
                return

    async def go_on(self, count: int) -> None:
        """Pay, ship, refund or cancel orders at random."""
        for _ in range(count):
            await self.report(self._later(self._chance.choice(list(self._orders))))

    async def report(self, *events: Event) -> None:
        """Add events to the order that they are about."""
        order = self._orders[events[0].aggregate_id]
        condition, update = Outbox.extend(order, *events, occurred_at=self._moment())
        assert (await self._database.orders.update_one(condition, update)).matched_count == 1
        order |= update["$set"]
        self._emit(update["$push"]["outbox"]["$each"])

    async def visit(self, count: int) -> None:
        """Send what visitors do through the stream, as ingest would from its log, and wait until Redis has it."""
        await self.send([self.seen() for _ in range(count)])

    async def send(self, events: Sequence[Envelope]) -> None:
        """Acknowledge events and append them to the stream."""
        assert self.appender is not None
        self.acknowledged += events
        sent = [
            appended(self.appender, partition_of(event.shop, event.aggregate_id, 8), encode(event)) for event in events
        ]
        await asyncio.gather(*sent)

    def seen(self, visitor: str = "", **changes: Any) -> Envelope:
        """Something that a visitor did, under an acknowledgement of its own."""
        self._visits += 1
        visitor = visitor or f"v-{self._chance.randrange(20)}"
        declared = self._chance.choice([ViewItem, AddToCart])
        envelope = declared(visitor_id=visitor, items=[Item(product_id=self._chance.choice(PRODUCTS))]).seal(
            id=event_id("default", "public", "web", f"m-{self._visits}"),
            shop="default",
            source="web",
            origin=f"w:log:{self._visits}",
            occurred_at=self._moment(visitor),
        )
        for name, value in changes.items():
            setattr(envelope, name, value)
        return envelope

    def outbox_of(self, order_id: str) -> list[tuple[int, bytes]]:
        """Partition and bytes of all that an order ever emitted with its placing."""
        return Outbox.entries(self._orders[order_id])

    def _emit(self, entries: list[Document]) -> None:
        for partition, data in Outbox.entries({"outbox": entries}):
            self.acknowledged.append(decode(data))
            if self.appender is not None and self._chance.random() >= self.loss:
                self.appender.offer(partition, data)

    def _order(self, order_id: str) -> Document:
        chance = self._chance
        lines = [
            Line(
                product_id=chance.choice(PRODUCTS),
                quantity=chance.randrange(4),
                amount=chance.randrange(9999),
                discount=0,
            )
            for _ in range(chance.randrange(1, 4))
        ]
        gross, tax = sum(line.amount for line in lines), chance.randrange(100)
        visitor = f"v-{chance.randrange(20)}" if chance.random() < 0.6 else None
        created = OrderCreated(
            order_id=order_id,
            currency=chance.choice(["EUR", "JPY"]),
            lines=lines,
            gross=gross,
            tax=tax,
            total=gross + tax,
            customer_id=f"c-{chance.randrange(9)}",
            visitor_id=visitor,
        )
        twin = [Purchase(visitor_id=visitor, transaction_id=order_id)] if visitor else []
        return Outbox.attach({"_id": order_id}, created, *twin, occurred_at=self._moment(visitor))

    def _later(self, order_id: str) -> Event:
        reference = f"r-{self._chance.randrange(10**9)}"
        return self._chance.choice(
            [
                OrderPaid(order_id=order_id, payment_id=reference, currency="EUR", amount=5),
                OrderShipped(order_id=order_id, shipment_id=reference),
                OrderRefunded(order_id=order_id, refund_id=reference, currency="EUR", amount=7, tax=1),
                OrderCancelled(order_id=order_id),
            ]
        )

    def _moment(self, visitor: str | None = None) -> datetime:
        """Some time ago; but of a visitor of whom sessions remember no more, nothing comes late."""
        if visitor is not None:
            self._heard[visitor] += 1
            if self._heard[visitor] > MAX_POINTS // 2:
                return now()
        return now() - timedelta(seconds=self._chance.randrange(7200))
