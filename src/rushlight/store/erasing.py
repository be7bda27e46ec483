"""Erases a person: deletes the subject and cuts the links; every figure stays as it is.

First each commit is made to know of it, then what is there is changed, and the links by which all of it is found go
last: whoever is killed in between begins again and finds the rest. Doing it twice does no more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from rushlight.errors import Rejected
from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.events.envelope import Envelope, decode, encode
from rushlight.failpoints import at
from rushlight.store.clock import server_time
from rushlight.store.database import Database, Document
from rushlight.store.parking import Records
from rushlight.store.subjects import Kind, Person, Subjects, subject_id, tombstone_id, under
from rushlight.store.unlinking import FLOW, NAMING, NOBODY, PURCHASES, unlinked

T = TypeVar("T")
IDS_AT_ONCE = 500
MONEY = sorted(MONEY_EVENTS)
# A shorter value stands in too much that has nothing to do with the person.
TELLING_CHARACTERS = 5


class Erased(msgspec.Struct, kw_only=True, rename="camel"):
    """What an erasure has done, in numbers.

    Attributes:
        at: what was received until then loses the person, whenever it comes.
        ids, visitors: the customer's ids, and visitors that were linked to them.
        subjects: documents with traits. links: documents that tied ids to each other. parked: events that are set
            aside, cut loose. behaviour, money, purchases: events of the journal that lost a link.
        samples: rejected items that were kept to be looked at.
        streamed: entries taken out of the streams. waiting: events of the person that are not committed yet.
    """

    at: datetime
    ids: int = 0
    visitors: int = 0
    subjects: int = 0
    links: int = 0
    parked: int = 0
    behaviour: int = 0
    money: int = 0
    purchases: int = 0
    samples: int = 0
    streamed: int = 0
    waiting: int = 0


class Erasure:
    """One person's erasure. Make it with `begin`.

    Attributes:
        done: what it has done so far.
    """

    def __init__(self, database: Database, partitions: int, shop: str, person: Person, at: datetime) -> None:
        self._database = database
        self._partitions = range(partitions)
        self._shop = shop
        self._person = person
        self._ids = frozenset(person.customers)
        self._visitors = frozenset([*person.visitors, *person.customers])
        self.done = Erased(at=at, ids=len(person.customers), visitors=len(person.visitors))

    @classmethod
    async def begin(cls, database: Database, partitions: int, shop: str, customer: str, *, by: str) -> Erasure:
        """Find the person, and make every commit from here on know that they are erased.

        Args:
            by: who asks for it; kept.
        """
        moment = await server_time(database)
        person = await _found(database, partitions, shop, customer)
        erasure = cls(database, partitions, shop, person, moment)
        await erasure._mark(by)
        # What was committed between looking and marking; from here on nothing comes that was received before.
        again = await _found(database, partitions, shop, customer)
        if {*again.customers, *again.visitors} - {*person.customers, *person.visitors}:
            erasure = cls(database, partitions, shop, again, moment)
            await erasure._mark(by)
        at("erase.marked")
        return erasure

    async def _mark(self, by: str) -> None:
        subjects: list[tuple[Kind, str]] = [("c", name) for name in self._person.customers]
        subjects += [("v", name) for name in sorted(self._visitors)]
        for kind, name in subjects:
            record = {"shop": self._shop, "kind": kind, "by": by, "done": False}
            await self._database.erased.update_one(
                {"_id": tombstone_id(self._shop, kind, name)},
                {"$set": record, "$max": {"at": self.done.at}},
                upsert=True,
            )
        # Only now: a transaction that does not see the records meets this write, or was committed before it.
        await self._database.positions.update_many({}, {"$max": {"erased": self.done.at}})

    async def erase(self) -> None:
        """Do everything but the links."""
        await self._journal()
        await self._set_aside()
        await self._rejected()
        ids = [("c", name) for name in self._person.customers] + [("v", name) for name in self._visitors]
        documents = [subject_id(p, self._shop, kind, name) for kind, name in ids for p in self._partitions]
        documents += [
            d["_id"] async for d in Subjects(self._database, len(self._partitions)).parked(self._shop) if self._is_of(d)
        ]
        self.done.subjects += await self._deleted(documents)
        at("erase.subjects")

    async def finish(self) -> Erased:
        """Delete the links, and write down that it is done."""
        for kind, name in [("l", name) for name in self._ids] + [("a", name) for name in self._ids]:
            ranges = [{"_id": under(subject_id(p, self._shop, kind, name))} for p in self._partitions]
            self.done.links += (await self._database.subjects.delete_many({"$or": ranges})).deleted_count
        records = [tombstone_id(self._shop, "c", name) for name in self._ids]
        records += [tombstone_id(self._shop, "v", name) for name in self._visitors]
        await self._database.erased.update_many({"_id": {"$in": records}}, {"$set": {"done": True}})
        return self.done

    def is_meant(self, data: bytes) -> bool:
        """Whether an event on its way would tell something of the person."""
        try:
            event = decode(data)
        except Rejected:
            return False
        if event.customer_id is not None or event.personal is None:
            return self._names(event)
        return event.visitor_id in self._visitors and event.received_at <= self.done.at

    def _names(self, event: Envelope) -> bool:
        return event.customer_id in self._ids and event.received_at <= self.done.at

    def _is_of(self, parked: Document) -> bool:
        return parked["customer"] in self._ids or (parked["customer"] is None and parked["visitor"] in self._visitors)

    async def _journal(self) -> None:
        """Purchases first: once their customer is gone, nothing leads to them."""
        own = {"shop": self._shop, "customerId": {"$in": sorted(self._ids)}}
        money, behaviour = own | {"eventName": {"$in": MONEY}}, own | {"eventName": {"$nin": MONEY}}
        for orders in _chunks(await _grouped(self._database, "aggregateId", money)):
            for visitors in _chunks(sorted(self._visitors)):
                match = {"shop": self._shop, "aggregateId": {"$in": visitors}}
                match |= {"eventName": {"$in": sorted(PURCHASES)}, "payload.transactionId": {"$in": orders}}
                self.done.purchases += await self._change(match, ["payload.transactionId", *FLOW], hint="aggregate")
        at("erase.journal")
        for name in NAMING:
            match = behaviour | {f"payload.{name}": {"$exists": True}}
            await self._database.journal.update_many(match, {"$set": {f"payload.{name}": NOBODY}}, hint="customer")
        purchases = behaviour | {"eventName": {"$in": sorted(PURCHASES)}}
        await self._change(purchases, ["payload.transactionId"], hint="customer")
        # What they are found by goes in the write that ends it.
        self.done.behaviour += await self._change(behaviour, ["customerId", *FLOW], hint="customer")
        seen: Document = {"$or": [{name: {"$exists": True}} for name in ("visitorId", "payload.visitorId", *FLOW)]}
        seen["$expr"] = {"$ne": ["$visitorId", "$aggregateId"]}
        self.done.money += await self._change(money | seen, ["visitorId", "payload.visitorId", *FLOW], hint="customer")

    async def _change(self, match: Document, fields: Iterable[str], *, hint: str) -> int:
        unset = {"$unset": dict.fromkeys(fields, "")}
        return (await self._database.journal.update_many(match, unset, hint=hint)).modified_count

    async def _set_aside(self) -> None:
        """Parked and dropped events keep their bytes; those of the person lose the links."""
        outcomes = self._database.outcomes
        async for document in Records(self._database).kept(self._shop):
            text = document.get("event", "")
            try:
                event = decode(text)
            except Rejected:
                continue
            if not self._names(event):
                continue
            before = encode(event)
            unlinked(event)
            after = encode(event)
            if after != before:
                change = {"$set": {"event": after.decode(), "bytes": len(after)}}
                changed = await outcomes.update_one({"_id": document["_id"], "event": text}, change)
                self.done.parked += changed.modified_count

    async def _rejected(self) -> None:
        """Samples of what was turned away were kept as they came: those with an id or a trait of the person go."""
        values = [msgspec.json.decode(trait.value) for trait in self._person.traits.values()]
        words = {*self._ids, *self._person.visitors, *(v for v in values if isinstance(v, str))}
        words = {word for word in words if len(word) >= TELLING_CHARACTERS}
        samples = self._database.rejected
        own = samples.find({"shop": {"$in": [self._shop, "", None]}})  # or of nobody whose shop is known
        found = [d["_id"] async for d in own if any(word in str(d) for word in words)]
        if found:
            self.done.samples += (await samples.delete_many({"_id": {"$in": found}})).deleted_count

    async def _deleted(self, ids: Sequence[str]) -> int:
        count = 0
        for some in _chunks(ids):
            count += (await self._database.subjects.delete_many({"_id": {"$in": some}})).deleted_count
        return count


async def _found(database: Database, partitions: int, shop: str, customer: str) -> Person:
    """Who it is, with visitors that only the journal knows: from before links were kept."""
    person = await Subjects(database, partitions).person(shop, customer)
    match = {"shop": shop, "customerId": {"$in": person.customers}, "visitorId": {"$exists": True}}
    seen = await _grouped(database, "visitorId", match)
    return person._replace(visitors=sorted({*person.visitors, *seen} - set(person.customers)))


async def _grouped(database: Database, field: str, match: Document) -> list[str]:
    """Each value of a field among a customer's events."""
    rows = await database.journal.aggregate([{"$match": match}, {"$group": {"_id": f"${field}"}}], hint="customer")
    return [row["_id"] async for row in rows]


def _chunks(values: Sequence[T]) -> Iterator[list[T]]:
    for start in range(0, len(values), IDS_AT_ONCE):
        yield list(values[start : start + IDS_AT_ONCE])


async def records(database: Database) -> AsyncIterator[Document]:
    """Who was erased, by hash, when and by whom; the oldest first."""
    async for document in database.erased.find({}).sort([("at", 1), ("_id", 1)]):
        yield document
