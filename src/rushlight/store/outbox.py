"""An order and its events are one document: no order without its events, no event without its order.

The order carries ``outbox`` (the entries that are not settled yet), ``emitted`` (how many entries there ever were) and
``versions`` (how many of them are the order's own). An entry is ``{n, p, at, e}``: its number, its partition, when it
was written, and the envelope's JSON. The origin of an entry is ``o:{order}:{n}``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bson import json_util

from rushlight.errors import Rejected
from rushlight.events.catalogue import Behaviour, OrderCreated
from rushlight.events.envelope import Envelope, encode, millisecond, now
from rushlight.events.event import Event
from rushlight.events.ids import event_id, money_id, partition_of
from rushlight.settings import DEFAULT_SHOP
from rushlight.store.database import Database, Document

log = logging.getLogger(__name__)

ORIGIN = "o:"
MAX_LEFTOVER_ORDERS = 1000
NUMBER: Document = {"$type": ["int", "long"]}
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
MAX_DAMAGE_LINES = 20
_told: set[str] = set()
CLOCKS_AGREE = timedelta(seconds=1)
# Fields that tell one event of a kind from the next within an order.
REFERENCES = ("refund_id", "payment_id", "shipment_id", "revision")


class Leftover(NamedTuple):
    """An outbox entry that is not known to be settled."""

    order_id: str
    number: int
    at: datetime
    data: bytes


class Outbox:
    """Puts events into an order's own document, where one write saves both."""

    @staticmethod
    def attach(
        order: Document,
        *events: Event,
        shop: str = DEFAULT_SHOP,
        source: str = "orders",
        partitions: int = 8,
        occurred_at: datetime | None = None,
    ) -> Document:
        """Add events to an order that is about to be inserted.

        Args:
            order: the document; its ``_id`` is the order's id, a string.
            events: those whose aggregate is the order take the next versions; others (the visitor's ``purchase``)
                have none.

        Returns:
            The same document, with ``outbox``, ``emitted`` and ``versions``.

        Raises:
            Rejected: the order's id is no string.
        """
        entries, versions = _entries(order, events, shop, source, partitions, occurred_at)
        order["outbox"] = [*order.get("outbox", []), *entries]
        order["emitted"] = order.get("emitted", 0) + len(entries)
        order["versions"] = versions
        return order

    @staticmethod
    def extend(
        order: Document,
        *events: Event,
        shop: str = DEFAULT_SHOP,
        source: str = "orders",
        partitions: int = 8,
        occurred_at: datetime | None = None,
    ) -> tuple[Document, Document]:
        """Condition and update that add events to an order that was read before.

        Returns:
            A filter that matches only while nobody else has added events, and the update to merge with one's own.
        """
        entries, versions = _entries(order, events, shop, source, partitions, occurred_at)
        emitted = order.get("emitted", 0)
        update = {
            "$push": {"outbox": {"$each": entries}},
            "$set": {"emitted": emitted + len(entries), "versions": versions},
        }
        return {"_id": order["_id"], "emitted": emitted}, update

    @staticmethod
    def entries(order: Document) -> list[tuple[int, bytes]]:
        """Partition and envelope JSON of each unsettled entry, for the stream's fast path."""
        return [(entry["p"], entry["e"].encode()) for entry in order.get("outbox", [])]


def _entries(
    order: Document,
    events: Sequence[Event],
    shop: str,
    source: str,
    partitions: int,
    occurred_at: datetime | None,
) -> tuple[list[Document], int]:
    order_id, emitted, version = _order_id(order), order.get("emitted", 0), order.get("versions", 0)
    received = now()
    occurred = millisecond(occurred_at) if occurred_at else received
    entries = []
    for number, event in enumerate(events, start=emitted + 1):
        aggregate_id = event.aggregate_id
        # A visitor may have an order's id; what the visitor does is not the order's own all the same.
        own = aggregate_id == order_id and not isinstance(event, Behaviour)
        version += own
        envelope = Envelope(
            id=_id(event, shop, source, order_id, number, own=own),
            name=event.event_name,
            aggregate_id=aggregate_id,
            payload=event,  # type: ignore[arg-type]  # encoded at once, to the bytes that its payload would give
            occurred_at=occurred,
            received_at=received,
            shop=shop,
            source=source,
            origin=f"{ORIGIN}{order_id}:{number}",
            schema=event.schema,
            version=version if own else None,
            visitor_id=getattr(event, "visitor_id", None),
            customer_id=getattr(event, "customer_id", None),
        )
        partition = partition_of(shop, aggregate_id, partitions)
        entries.append({"n": number, "p": partition, "at": received, "e": encode(envelope).decode()})
    return entries, version


def _order_id(order: Document) -> str:
    order_id = order["_id"]
    if not isinstance(order_id, str):  # the origin is text, and by it the entry is found again to be cleared
        raise Rejected(f"must be a string, not {type(order_id).__name__}: events name it", field="_id", code="id")
    return order_id


def _id(event: Event, shop: str, source: str, order_id: str, number: int, *, own: bool) -> str:
    if own:
        reference = next((str(getattr(event, field)) for field in REFERENCES if hasattr(event, field)), "")
        if not reference and not isinstance(event, OrderCreated):  # an order may have several of the kind
            reference = f"{ORIGIN}{order_id}:{number}"
        return money_id(shop, source, order_id, event.event_name, reference)
    return event_id(shop, "trusted", source, f"{order_id}:{number}")


class OutboxReader:
    """The worker's side: finds what the stream has not brought."""

    def __init__(self, database: Database) -> None:
        self._orders = database.orders
        self._gate = database.orders_gate

    async def leftovers(self, partition: int, *, before: datetime | None) -> list[Leftover]:
        """Entries of a partition, by order and number; at most of 1,000 orders.

        Args:
            before: leave out entries written later (the stream is about to bring them); None takes all. An entry
                from the future was written by another clock, about which nothing can be said: it is taken.

        Raises:
            OrdersUnreachable: the orders' own MongoDB does not answer.
        """
        # What has no number is not settled: it must not stand in the way of the others.
        match: Document = {"outbox": {"$elemMatch": {"p": partition, "n": NUMBER}}}
        async with self._gate.use():
            found = self._orders.find(match, {"outbox": 1}).hint("outbox").limit(MAX_LEFTOVER_ORDERS)
            orders = await found.to_list()
        future = now() + CLOCKS_AGREE
        return [
            leftover
            for order in orders
            for leftover in _of(order, partition)
            if before is None or leftover.at <= before or leftover.at > future
        ]

    async def of_orders(self, order_ids: Sequence[str], partition: int) -> list[Leftover]:
        """Entries of a partition in the given orders, by order and number.

        Raises:
            OrdersUnreachable: the orders' own MongoDB does not answer.
        """
        async with self._gate.use():
            orders = await self._orders.find({"_id": {"$in": list(order_ids)}}, {"outbox": 1}).to_list()
        return [leftover for order in orders for leftover in _of(order, partition)]


def _of(order: Document, partition: int) -> list[Leftover]:
    return [
        Leftover(order["_id"], entry["n"], written_at(entry), _data(entry))
        for entry in numbered(order)
        if entry.get("p") == partition
    ]


def numbered(order: Document) -> list[Document]:
    """An order's entries that have a number, and so an origin, whoever wrote them.

    What has none was acknowledged by nobody and can be neither settled nor cleared: it is left where it is, and told
    of.
    """
    outbox = order.get("outbox") or []
    entries = outbox if isinstance(outbox, list) else [None]
    found = [entry for entry in entries if isinstance(entry, dict) and _is_number(entry.get("n"))]
    if len(found) < len(entries):
        _tell(repr(order["_id"]))
    return found


def written_at(entry: Document) -> datetime:
    """When an entry was written; long ago, where it does not say."""
    moment = entry.get("at")
    return moment if isinstance(moment, datetime) else LONG_AGO


def _data(entry: Document) -> bytes:
    """The envelope; of an entry that has none all of it, which is parked in sight as something that cannot be read."""
    text = entry.get("e")
    return text.encode("utf-8", "replace") if isinstance(text, str) else json_util.dumps(entry).encode()


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _tell(order: str) -> None:
    if order not in _told and len(_told) < MAX_DAMAGE_LINES:
        _told.add(order)
        log.error("left where it is, what is no entry of an outbox (an entry has a number): order %s", order)
