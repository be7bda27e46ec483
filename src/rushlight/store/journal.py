"""The journal is the event store: each event once, in a dense sequence per partition, never changed.

A document is ``{_id: event id, p, seq, eventName, aggregateId, payload, timestamp, receivedAt, schema, shop, source,
origin, version?, visitorId?, customerId?, correlationId?, causationId?, trace?,
context?}``; what is `personal` in an event stays out of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from rushlight.errors import Rejected
from rushlight.events.envelope import Envelope
from rushlight.store.database import Database, Document, of_primary

OPTIONAL = (
    ("version", "version"),
    ("visitorId", "visitor_id"),
    ("customerId", "customer_id"),
    ("correlationId", "correlation_id"),
    ("causationId", "causation_id"),
    ("trace", "trace"),
    ("context", "context"),
)


def to_document(event: Envelope, partition: int, seq: int) -> Document:
    """The event as the journal keeps it."""
    document: Document = {
        "_id": event.id,
        "p": partition,
        "seq": seq,
        "eventName": event.name,
        "aggregateId": event.aggregate_id,
        "payload": event.payload,
        "timestamp": event.occurred_at,
        "receivedAt": event.received_at,
        "schema": event.schema,
        "shop": event.shop,
        "source": event.source,
        "origin": event.origin,
    }
    for name, attribute in OPTIONAL:
        value = getattr(event, attribute)
        if value is not None:
            document[name] = value
    return document


def to_raw(event: Envelope, partition: int, seq: int) -> RawBSONDocument:
    """The document as BSON, encoded one by one so that an event that BSON cannot hold stops nobody else.

    Raises:
        Rejected: a number beyond 64 bits, a NUL in a name, a lone surrogate …
    """
    try:
        return RawBSONDocument(bson.encode(to_document(event, partition, seq)))
    except (BSONError, OverflowError, UnicodeEncodeError, RecursionError, ValueError) as error:
        raise Rejected(f"cannot be stored: {error}", field="payload", code="encoding") from error


def to_envelope(document: Mapping[str, Any]) -> Envelope:
    """The event of a journal document."""
    return Envelope(
        id=document["_id"],
        name=document["eventName"],
        aggregate_id=document["aggregateId"],
        payload=document["payload"],
        occurred_at=document["timestamp"],
        received_at=document["receivedAt"],
        shop=document["shop"],
        source=document["source"],
        origin=document["origin"],
        schema=document["schema"],
        **{attribute: document.get(name) for name, attribute in OPTIONAL},
    )


Session = AsyncClientSession | None


class Journal:
    """Reads the journal and the outcomes; only the commit writes them.

    Args:
        latest: read what this primary has, for the partition's owner: right after an election the majority's view may
            still lack commits that were acknowledged. Everybody else reads what a majority has.
    """

    def __init__(self, database: Database, *, latest: bool = False) -> None:
        self._journal = of_primary(database.journal) if latest else database.journal
        self._outcomes = of_primary(database.outcomes) if latest else database.outcomes

    async def origins(self, event_ids: Sequence[str], session: Session = None) -> dict[str, str]:
        """The origin under which each of the events that are stored was stored, by event id."""
        wanted: Document = {"_id": {"$in": list(event_ids)}}
        found = self._journal.find(wanted, {"origin": 1}, batch_size=len(event_ids) + 1, session=session)
        return {document["_id"]: document["origin"] async for document in found}

    async def outcomes(self, origins: Sequence[str], session: Session = None) -> set[str]:
        """Those of the origins that ended as a duplicate, parked or dropped."""
        found = self._outcomes.find({"_id": {"$in": list(origins)}}, {"_id": 1}, session=session)
        return {document["_id"] async for document in found}

    async def settled(self, acknowledged: Iterable[tuple[str, str]], session: Session = None) -> set[str]:
        """Of (event id, origin) pairs, the origins that have their terminal record.

        Args:
            session: look at its snapshot instead of the present.
        """
        pairs = list(acknowledged)
        stored = await self.origins([event_id for event_id, _ in pairs], session)
        settled = {origin for event_id, origin in pairs if stored.get(event_id) == origin}
        open_origins = [origin for _, origin in pairs if origin not in settled]
        return settled | (await self.outcomes(open_origins, session) if open_origins else set())

    async def parked(self, partition: int) -> set[tuple[str, str]]:
        """The aggregates (shop, id) of a partition that have parked events."""
        match: Document = {"kind": "parked", "aggregateId": {"$exists": True}, "p": partition}
        found = self._outcomes.find(match, {"shop": 1, "aggregateId": 1})
        return {(document["shop"], document["aggregateId"]) async for document in found}

    async def versions(self, aggregate_ids: Sequence[str]) -> dict[tuple[str, str], int]:
        """The highest version with a terminal record, by (shop, aggregate id), of each aggregate that has one."""
        highest: dict[tuple[str, str], int] = {}
        match: Document = {"aggregateId": {"$in": list(aggregate_ids)}, "version": {"$gt": 0}}
        group: Document = {
            "$group": {"_id": {"shop": "$shop", "aggregate": "$aggregateId"}, "version": {"$max": "$version"}}
        }
        ended = [(self._outcomes, {"kind": kind}) for kind in ("parked", "dropped")]
        for collection, kind in ((self._journal, {}), *ended):
            pipeline: list[Document] = [{"$match": match | kind}, group]
            async for row in await collection.aggregate(pipeline):
                key = (row["_id"]["shop"], row["_id"]["aggregate"])
                highest[key] = max(highest.get(key, 0), row["version"])
        return highest

    async def read(self, partition: int, *, after: int, limit: int) -> list[Document]:
        """Documents of a partition with ``seq > after``, in order."""
        cursor = self._journal.find({"p": partition, "seq": {"$gt": after}}).sort("seq").limit(limit)
        return await cursor.to_list()

    async def replay(
        self, partition: int, *, after: int, to: int, names: Iterable[str] | None = None
    ) -> list[Document]:
        """Documents of a partition with ``after < seq <= to``, in order.

        Args:
            names: of the events that are wanted; None for all.
        """
        match: Document = {"p": partition, "seq": {"$gt": after, "$lte": to}}
        if names is not None:
            match["eventName"] = {"$in": sorted(names)}
        cursor = self._journal.find(match, batch_size=to - after + 1).sort("seq").hint("place")
        return await cursor.to_list()

    async def heard(
        self,
        partition: int,
        names: Sequence[str],
        *,
        after: int,
        until: int,
        limit: int,
        aggregate: tuple[str, str] | None = None,
        session: Session = None,
    ) -> list[Document]:
        """Documents of a partition with these event names and ``after < seq <= until``, in order.

        Args:
            aggregate: only events of this one (shop, id).
        """
        match: Document = {"p": partition, "seq": {"$gt": after, "$lte": until}, "eventName": {"$in": list(names)}}
        if aggregate is not None:
            match |= {"shop": aggregate[0], "aggregateId": aggregate[1]}
        hint = "place" if aggregate is None else "aggregate"
        return await self._journal.find(match, hint=hint, session=session).sort("seq").limit(limit).to_list()

    def of_aggregate(self, aggregate_id: str, shop: str) -> AsyncIterator[Document]:
        """The audit trail of one aggregate, in the order of its versions, then of its places."""
        return self._journal.find({"aggregateId": aggregate_id, "shop": shop}).sort([("version", 1), ("seq", 1)])
