"""Parked events as they lie in the outcomes, and what operators ask to be done about them.

A parked record is an outcome ``{_id: origin, p, kind: "parked", place, reason, event, bytes, partial?, attempts?,
triedAt?, shop?, aggregateId?, eventName?, version?, …}``; ``place`` rises in the order in which the events of an
aggregate have to be retried. A stream's entry that nobody can read has the kind ``unreadable``.

A request is a document ``{_id, group, p, kind, shop?, aggregateId?, origin?, reason, by, at, state, stored, duplicate,
dropped, left, why, doneAt?}``; only the owner of partition ``p`` executes it, in its own commits.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from rushlight.events.envelope import Envelope, now
from rushlight.store.database import Database, Document, of_primary
from rushlight.store.outbox import ORIGIN

Verb = Literal["retry", "drop"]
State = Literal["open", "done"]
MAX_VERSION = 2**63 - 1
FETCH_RECORDS = 100
SET_ASIDE = ("parked", "unreadable")


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is set aside.

    Attributes:
        partition: whose owner decides about it. kind: ``parked`` or ``unreadable``.
        text: the event as it came, in so many bytes (``size``); ``whole`` unless it was cut or its bytes were no text.
        attempts: how often it was retried in vain.
    """

    origin: str
    partition: int
    kind: str
    at: datetime
    reason: str
    text: str
    size: int
    whole: bool = True
    attempts: int = 0
    event_id: str = ""
    source: str = ""
    shop: str | None = None
    aggregate_id: str | None = None
    event_name: str | None = None
    version: int | None = None

    @classmethod
    def of(cls, document: Document) -> Held:
        """From the stored document."""
        text = document.get("event", "")
        return cls(
            origin=document["_id"],
            partition=document["p"],
            kind=document["kind"],
            at=document["at"],
            reason=document.get("reason", ""),
            text=text,
            size=document.get("bytes", len(text)),
            whole=not document.get("partial", False),
            attempts=document.get("attempts", 0),
            event_id=document.get("eventId", ""),
            source=document.get("source", ""),
            shop=document.get("shop"),
            aggregate_id=document.get("aggregateId"),
            event_name=document.get("eventName"),
            version=document.get("version"),
        )


def parked_fields(event: Envelope) -> Document:
    """The fields by which a parked event is found."""
    fields: Document = {"eventId": event.id, "source": event.source, "shop": event.shop}
    fields |= {"aggregateId": event.aggregate_id, "eventName": event.name}
    if event.version is not None and event.version <= MAX_VERSION:
        fields["version"] = event.version
    return fields


class Records:
    """Reads what is set aside; only the commit changes it.

    Args:
        latest: as the primary has it, for the partition's owner; everybody else reads what a majority has.
    """

    def __init__(self, database: Database, *, latest: bool = False) -> None:
        self._outcomes = of_primary(database.outcomes) if latest else database.outcomes

    async def queue(
        self, partition: int, shop: str, aggregate_id: str, *, limit: int, max_bytes: int
    ) -> tuple[list[Held], bool]:
        """The parked events of an aggregate that come first, in their order.

        Returns:
            At most ``limit`` of at most ``max_bytes`` together, at least one if there is any; and whether there are
            more behind them.
        """
        match = _of_aggregate(partition, shop, aggregate_id)
        cursor = self._outcomes.find(match, hint="waiting", batch_size=FETCH_RECORDS).sort("place", 1)
        queue: list[Held] = []
        size = 0
        async with cursor:
            async for document in cursor:
                held = Held.of(document)
                size += held.size
                if queue and (len(queue) == limit or size > max_bytes):
                    return queue, True
                queue.append(held)
        return queue, False

    async def count(self, partition: int, shop: str, aggregate_id: str) -> int:
        """How many parked events an aggregate has."""
        match = _of_aggregate(partition, shop, aggregate_id)
        return await self._outcomes.count_documents(match, hint="waiting")

    async def of_aggregate(self, shop: str, aggregate_id: str, limit: int, session: Any = None) -> list[Held]:
        """The parked events of an aggregate that come first, in their order, wherever they lie."""
        match: Document = {"kind": "parked", "aggregateId": aggregate_id, "shop": shop}
        found = self._outcomes.find(match, hint="waiting", session=session).sort("place", 1).limit(limit)
        return [Held.of(document) async for document in found]

    async def whereabouts(self, shop: str, aggregate_ids: Sequence[str] | None) -> list[tuple[int, str]]:
        """Partition and id of each aggregate of the shop that has parked events.

        Args:
            aggregate_ids: only of these; None for all.
        """
        chosen: Document = {"$exists": True} if aggregate_ids is None else {"$in": list(aggregate_ids)}
        pipeline: list[Document] = [
            {"$match": {"kind": "parked", "shop": shop, "aggregateId": chosen}},
            {"$group": {"_id": {"p": "$p", "aggregate": "$aggregateId"}, "at": {"$min": "$at"}}},
            {"$sort": {"at": 1, "_id": 1}},
        ]
        rows = await self._outcomes.aggregate(pipeline, hint="waiting")
        return [(row["_id"]["p"], row["_id"]["aggregate"]) async for row in rows]

    async def unreadable(self) -> list[Held]:
        """What orders acknowledged and nobody could read."""
        match: Document = {"kind": "parked", "shop": None, "aggregateId": None}
        found = self._outcomes.find(match, {"event": 0}, hint="waiting").sort("place", 1)
        return [Held.of(document) async for document in found]

    async def unreadable_of(self, partition: int, order_id: str) -> str | None:
        """The origin of an entry of this order's outbox that nobody could read, if there is one in the partition."""
        begin = f"{ORIGIN}{order_id}:"
        # ";" follows ":". An order's own id may have colons as well.
        match: Document = {"_id": {"$gte": begin, "$lt": f"{begin[:-1]};"}, "kind": "parked", "p": partition}
        found = self._outcomes.find(match | {"aggregateId": None}, {"_id": 1})
        origins = [str(document["_id"]) async for document in found]
        return next((origin for origin in origins if origin.rpartition(":")[0] == begin[:-1]), None)

    async def kept(self, shop: str) -> AsyncIterator[Document]:
        """The documents of the shop's events that are parked or were dropped: both keep their text."""
        aggregate: Document = {"aggregateId": {"$gte": ""}, "shop": shop}
        for kind, hint in (("parked", "waiting"), ("dropped", "dropped")):
            async for document in self._outcomes.find({**aggregate, "kind": kind}, hint=hint):
                yield document

    async def find(self, origins: Sequence[str]) -> dict[str, Held]:
        """Those of the origins whose record is set aside."""
        found = self._outcomes.find({"_id": {"$in": list(origins)}, "kind": {"$in": list(SET_ASIDE)}})
        return {document["_id"]: Held.of(document) async for document in found}


def _of_aggregate(partition: int, shop: str, aggregate_id: str) -> Document:
    return {"kind": "parked", "aggregateId": aggregate_id, "shop": shop, "p": partition}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks for: about an aggregate, or about one record by its origin.

    Attributes:
        reason: why something is dropped.
    """

    partition: int
    kind: Verb
    shop: str | None = None
    aggregate_id: str | None = None
    origin: str | None = None
    reason: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A wish that was written down, and what has become of it.

    Attributes:
        by: who asked. stored, duplicate, dropped: how many records have left the parking so far.
        left: how many of the aggregate's stayed parked when it was done, and ``why``.
    """

    id: str
    wish: Wish
    by: str
    state: State
    stored: int = 0
    duplicate: int = 0
    dropped: int = 0
    left: int = 0
    why: str = ""

    @classmethod
    def of(cls, document: Document) -> Request:
        """From the stored document."""
        wish = Wish(
            partition=document["p"],
            kind=document["kind"],
            shop=document.get("shop"),
            aggregate_id=document.get("aggregateId"),
            origin=document.get("origin"),
            reason=document["reason"],
        )
        counts = {name: document.get(name, 0) for name in ("stored", "duplicate", "dropped", "left")}
        why = document.get("why", "")
        return cls(id=document["_id"], wish=wish, by=document["by"], state=document["state"], why=why, **counts)


class Requests:
    """Writes requests down, and follows them.

    Args:
        latest: as the primary has them, for the partition's owner.
    """

    def __init__(self, database: Database, *, latest: bool = False) -> None:
        self._requests = of_primary(database.requests) if latest else database.requests

    async def ask(self, wishes: Sequence[Wish], *, by: str) -> str:
        """Write wishes down for the owners; returns the name of this group of requests.

        Raises:
            PyMongoError: it is not known whether all of them were written.
        """
        group, at = uuid.uuid4().hex, now()
        documents = [
            {
                "_id": f"{group}:{number:08d}",
                "group": group,
                "p": wish.partition,
                "kind": wish.kind,
                **{k: v for k, v in _target(wish).items() if v is not None},
                "reason": wish.reason,
                "by": by,
                "at": at,
                "state": "open",
            }
            for number, wish in enumerate(wishes)
        ]
        if documents:
            await self._requests.insert_many(documents)
        return group

    async def of_group(self, group: str) -> list[Request]:
        """The requests of one group, in the order in which they were asked."""
        found = self._requests.find({"group": group}).sort("_id", 1)
        return [Request.of(document) async for document in found]

    async def count_open(self, group: str) -> int:
        """How many of a group are not done."""
        return await self._requests.count_documents({"group": group, "state": "open"})

    async def progress(self, group: str) -> int:
        """A number that rises whenever a commit has done some of a group's work."""
        total: Document = {"$add": [{"$ifNull": [f"${name}", 0]} for name in ("stored", "duplicate", "dropped")]}
        done: Document = {"$cond": [{"$eq": ["$state", "done"]}, 1, 0]}
        pipeline: list[Document] = [
            {"$match": {"group": group}},
            {"$group": {"_id": None, "n": {"$sum": {"$add": [total, done]}}}},
        ]
        rows = await self._requests.aggregate(pipeline)
        return sum([row["n"] async for row in rows])

    async def open(self, partition: int, *, limit: int) -> list[Request]:
        """The requests to a partition's owner that are not done, the oldest first."""
        found = (
            self._requests.find({"state": "open", "p": partition}, hint="open")
            .sort([("at", 1), ("_id", 1)])
            .limit(limit)
        )
        return [Request.of(document) async for document in found]

    async def partitions(self) -> set[int]:
        """The partitions whose owners have something to do."""
        pipeline: list[Document] = [{"$match": {"state": "open", "p": {"$gte": 0}}}, {"$group": {"_id": "$p"}}]
        rows = await self._requests.aggregate(pipeline, hint="open")
        return {row["_id"] async for row in rows}


def _target(wish: Wish) -> Document:
    return {"shop": wish.shop, "aggregateId": wish.aggregate_id, "origin": wish.origin}
