"""What still lies in orders' outboxes without a terminal record: acknowledged, and not yet in any figure.

An entry is cleared from its order some time after its terminal record was committed; until then it lies there but no
longer counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession

from rushlight.store.database import Collection, Database, Document
from rushlight.store.outbox import NUMBER, ORIGIN, numbered, written_at

LOOKUP_ENTRIES = 1000
FETCH_ORDERS = 500
COUNTED_ORDERS = 10_000
# Any number: it makes the condition one that the sparse index can answer.
SOME_ENTRY: Document = {"outbox.p": {"$gte": 0}}
SOME_NUMBERED: Document = {"outbox": {"$elemMatch": {"p": {"$gte": 0}, "n": NUMBER}}}
ENTRY_FIELDS = {"outbox.n": 1, "outbox.at": 1, "outbox.e": 1}


class _Head(msgspec.Struct, rename="camel"):
    id: str
    event_name: str


class Entry(msgspec.Struct, frozen=True):
    """One outbox entry.

    Attributes:
        origin: its acknowledgement. at: when it was received.
        event_id, name: of its event; empty when the entry cannot be read.
    """

    origin: str
    at: datetime
    event_id: str
    name: str


_head = msgspec.json.Decoder(_Head)


def entries_of(order: Document) -> list[Entry]:
    """The outbox entries of an order that was fetched with `ENTRY_FIELDS`."""
    return [_entry(order["_id"], entry) for entry in numbered(order)]


def _entry(order_id: Any, entry: Document) -> Entry:
    origin = f"{ORIGIN}{order_id}:{entry['n']}"
    try:
        head = _head.decode(entry["e"])
    except (KeyError, TypeError, msgspec.MsgspecError):  # its owner parks it, in sight
        return Entry(origin, written_at(entry), "", "")
    return Entry(origin, written_at(entry), head.id, head.event_name)


async def unsettled(
    database: Database, entries: Sequence[Entry], session: AsyncClientSession | None = None
) -> list[Entry]:
    """Those of the entries that have no terminal record: neither stored under their origin nor otherwise ended."""
    open_entries: list[Entry] = []
    for start in range(0, len(entries), LOOKUP_ENTRIES):
        some = entries[start : start + LOOKUP_ENTRIES]
        stored_ids = {"_id": {"$in": [entry.event_id for entry in some if entry.event_id]}}
        stored = database.journal.find(stored_ids, {"_id": 0, "origin": 1}, session=session)
        ended = {document["origin"] async for document in stored}
        left = [entry for entry in some if entry.origin not in ended]
        if left:
            outcomes = database.outcomes.find({"_id": {"$in": [e.origin for e in left]}}, {"_id": 1}, session=session)
            ended = {document["_id"] async for document in outcomes}
        open_entries.extend(entry for entry in left if entry.origin not in ended)
    return open_entries


async def count_unsettled(
    database: Database, *, orders: AsyncClientSession | None, records: AsyncClientSession | None
) -> int:
    """How many outbox entries have no terminal record.

    Args:
        orders: session in which the orders are read. records: session in which journal and outcomes are read.
    """
    total, batch = 0, list[Entry]()
    async for order in _orders(database, orders):
        batch.extend(entries_of(order))
        if len(batch) >= LOOKUP_ENTRIES:
            total += len(await unsettled(database, batch, records))
            batch = []
    return total + len(await unsettled(database, batch, records))


def _orders(database: Database, session: AsyncClientSession | None) -> AsyncIterator[Document]:
    return database.orders.find(SOME_ENTRY, ENTRY_FIELDS, hint="outbox", batch_size=FETCH_ORDERS, session=session)


async def oldest(database: Database, *, limit: int) -> tuple[list[Entry], datetime | None]:
    """Unsettled entries among the orders that have waited longest.

    Returns:
        The entries, and the moment before which there are no others; None when these are all there are.

    Raises:
        OrdersUnreachable: the orders' own MongoDB does not answer.
    """
    async with database.orders_gate.use():
        found = database.orders.find(SOME_NUMBERED, ENTRY_FIELDS, hint="outbox").sort("outbox.at", 1).limit(limit)
        orders = await found.to_list()
    entries = [entry for order in orders for entry in entries_of(order)]
    horizon = min(entry.at for entry in entries_of(orders[-1])) if len(orders) == limit else None
    return await unsettled(database, entries), horizon


async def count_orders(orders: Collection, match: Document) -> int:
    """How many orders still have such outbox entries, counted from the index up to 10,000.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    return await orders.count_documents(match, hint="outbox", limit=COUNTED_ORDERS)
