"""Outboxes in a shop's own MongoDB, and Rushlight's copies of them.

A copy is a document in our ``orders`` under the order's own id: ``{_id, from, emitted, outbox}``. ``from`` names the
shop's collection, ``emitted`` is the number of the last entry that was copied: whoever raises it has copied what lies
between. Entries leave the copy as they leave every outbox, once they are settled; only then they leave the shop's.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple, Self

from pymongo import AsyncMongoClient, InsertOne, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from rushlight.errors import SetupError, Unavailable, in_short
from rushlight.store import bulk
from rushlight.store.clearing import pulls
from rushlight.store.database import INDEXES, Collection, Database, Document, connect_client
from rushlight.store.outstanding import SOME_ENTRY

# In ``logs``: ``relay:IDENTITY`` stands for a shop's own collection, whoever moves its outboxes at the moment.
RELAY = "relay:"
FETCH_ORDERS = 500
NOTES = "rushlight"
DUPLICATE_KEY = 11000
UNNUMBERED = 2**63


class Entry(NamedTuple):
    """One entry of a shop's outbox, as it will stand in the copy."""

    number: int
    partition: int
    at: datetime
    data: str

    def document(self) -> Document:
        """As an outbox holds it."""
        return {"n": self.number, "p": self.partition, "at": self.at, "e": self.data}


class Copy(NamedTuple):
    """What is known of an order's copy: up to which number it was copied, and what is not settled of that."""

    emitted: int
    open: frozenset[int]
    ours: bool


def number_of(entry: Document) -> int:
    """An entry's number in its order; what has none stands behind all that do."""
    number = entry.get("n")
    return number if isinstance(number, int) else UNNUMBERED


def _entries(order: Document) -> list[Document]:
    """An outbox as whoever wrote it left it: what is no entry holds up no other order."""
    outbox = order.get("outbox", [])
    return [entry if isinstance(entry, dict) else {} for entry in (outbox if isinstance(outbox, list) else [{}])]


class ShopOrders:
    """The collection of a shop's orders. Open it with `connect`."""

    def __init__(self, client: AsyncMongoClient[Document], orders: Collection, identity: str) -> None:
        self._client = client
        self._orders = orders
        self.identity = identity

    @classmethod
    async def connect(cls, url: str, place: str) -> Self:
        """Connect, and make the index by which outboxes are found.

        Args:
            place: ``DATABASE.COLLECTION``.

        Raises:
            Unavailable: no primary answers. SetupError: the URL or the place is malformed.
        """
        database, dot, collection = place.partition(".")
        if not (database and dot and collection):
            raise SetupError(f"relay_from must be DATABASE.COLLECTION, not {place!r}")
        client = connect_client(url, "relay", option="--orders-mongo-url")
        try:
            orders = client[database][collection]
            await orders.create_indexes([index for index in INDEXES["orders"] if index.document["name"] == "outbox"])
            note = await client[database][NOTES].find_one_and_update(
                {"_id": f"identity of {collection}"},
                {"$setOnInsert": {"value": secrets.token_hex(8)}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except PyMongoError as error:
            await client.close()
            raise Unavailable(
                f"the shop's MongoDB does not answer as a replica set's primary: {in_short(error)}"
            ) from error
        return cls(client, orders, str((note or {})["value"]))

    async def numbers(self) -> AsyncIterator[dict[str, list[int]]]:
        """The numbers of all entries by order, some hundred orders at a time.

        Raises:
            PyMongoError: the shop's MongoDB does not answer.
        """
        some: dict[str, list[int]] = {}
        found = self._orders.find(SOME_ENTRY, {"outbox.n": 1}, hint="outbox", batch_size=FETCH_ORDERS)
        async for order in found:
            some[order["_id"]] = sorted(map(number_of, _entries(order)))
            if len(some) == FETCH_ORDERS:
                yield some
                some = {}
        if some:
            yield some

    async def outboxes(self, order_ids: Sequence[str]) -> dict[str, list[Document]]:
        """Whole outboxes, by order and number.

        Raises:
            PyMongoError: the shop's MongoDB does not answer.
        """
        found = self._orders.find({"_id": {"$in": list(order_ids)}}, {"outbox": 1})
        return {order["_id"]: sorted(_entries(order), key=number_of) async for order in found}

    async def clear(self, settled: dict[str, set[int]]) -> None:
        """Take settled entries out; late or twice is harmless.

        Raises:
            PyMongoError: the shop's MongoDB does not answer.
        """
        if settled:
            await bulk.update(self._orders, bulk.encode(pulls(settled)), write_concern={"w": 1})

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()


class Copies:
    """Our side: the copies of one shop's outboxes."""

    def __init__(self, database: Database, identity: str) -> None:
        self._orders = database.orders
        self._identity = identity

    async def of(self, order_ids: Sequence[str]) -> dict[str, Copy]:
        """The copies of these orders as a majority has them; those that were never copied are left out.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        fields = {"emitted": 1, "from": 1, "outbox.n": 1}
        found = self._orders.find({"_id": {"$in": list(order_ids)}}, fields)
        return {
            order["_id"]: Copy(
                order.get("emitted", 0),
                frozenset(map(number_of, _entries(order))),
                order.get("from") == self._identity,
            )
            async for order in found
        }

    async def add(self, entries: dict[str, list[Entry]], known: dict[str, Copy]) -> None:
        """Copy entries behind what is known to be copied; where another relay was faster, nothing happens.

        Raises:
            PyMongoError: MongoDB does not answer; some may have been copied.
        """
        writes: list[InsertOne[Document] | UpdateOne] = []
        for order_id, some in entries.items():
            documents = [entry.document() for entry in some]
            last = some[-1].number
            copy = known.get(order_id)
            if copy is None:
                order = {"_id": order_id, "from": self._identity, "emitted": last, "outbox": documents}
                writes.append(InsertOne(order))
            else:
                fence = {"_id": order_id, "from": self._identity, "emitted": copy.emitted}
                change = {"$push": {"outbox": {"$each": documents}}, "$set": {"emitted": last}}
                writes.append(UpdateOne(fence, change))
        try:
            await self._orders.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            details = error.details or {}
            others = [row for row in details.get("writeErrors", ()) if row.get("code") != DUPLICATE_KEY]
            if others or details.get("writeConcernErrors"):
                raise
