"""What is parked: the aggregates whose events wait for somebody to decide, and records that nobody could read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from rushlight.store.database import Database, Document
from rushlight.store.parking import Held, Records

MAX_NAMES = 5
FIELDS = ("aggregateId", "place", "at", "reason", "eventName", "source", "attempts")


class ParkedAggregate(msgspec.Struct, rename="camel", kw_only=True):
    """An aggregate with parked events.

    Attributes:
        since: when the first was parked. reason, attempts, origin: of the first in order, for which the others wait.
        event_names, sources: of up to five kinds.
    """

    aggregate_id: str
    events: int
    since: datetime
    reason: str
    attempts: int
    origin: str
    event_names: list[str]
    sources: list[str]


class UnreadableRecord(msgspec.Struct, rename="camel", kw_only=True):
    """Bytes that could not be read as an event; ``retryable`` when somebody was promised that they are kept."""

    origin: str
    since: datetime
    reason: str
    attempts: int
    bytes: int
    retryable: bool


class ParkedEvent(msgspec.Struct, rename="camel", kw_only=True):
    """One parked event.

    Attributes:
        event: its JSON as it came, of ``bytes`` bytes; cut if not ``whole``, and then it cannot be retried.
    """

    origin: str
    event_id: str
    event_name: str | None
    version: int | None
    source: str
    since: datetime
    reason: str
    attempts: int
    bytes: int
    whole: bool
    event: str


class Parked(msgspec.Struct, rename="camel", kw_only=True):
    """What is parked of one shop, the oldest first, and the records without a shop that could not be read.

    Attributes:
        events, total: how many parked events and aggregates there are, and ``aggregates`` the first of these.
        unreadable: the first of ``unreadable_total``.
        queue: the events of the one aggregate that was asked for, in the order in which they are retried.
    """

    events: int
    total: int
    aggregates: list[ParkedAggregate]
    unreadable_total: int
    unreadable: list[UnreadableRecord]
    queue: list[ParkedEvent]


async def parked(
    database: Database,
    shop: str,
    *,
    aggregate: str | None = None,
    limit: int,
    at_most: int | None = None,
    session: Any = None,
) -> Parked:
    """Look at what is parked.

    Args:
        aggregate: only this one, with its events. limit: of aggregates, of events and of unreadable records.
        at_most: look at no more parked events than this; if there are as many as that there may be more.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    events, total, aggregates = await _aggregates(database, shop, aggregate, limit, at_most, session)
    count, unreadable = (0, []) if aggregate is not None else await _unreadable(database, limit, session)
    queue = []
    if aggregate is not None:
        queue = [_event(held) for held in await Records(database).of_aggregate(shop, aggregate, limit, session)]
    return Parked(
        events=events,
        total=total,
        aggregates=aggregates,
        unreadable_total=count,
        unreadable=unreadable,
        queue=queue,
    )


async def _aggregates(
    database: Database, shop: str, aggregate: str | None, limit: int, at_most: int | None, session: Any
) -> tuple[int, int, list[ParkedAggregate]]:
    match: Document = {"kind": "parked", "shop": shop, "aggregateId": aggregate or {"$exists": True}}
    first = {name: {"$first": f"${name}"} for name in ("reason", "attempts")}
    group: Document = {
        "_id": "$aggregateId",
        "events": {"$sum": 1},
        "since": {"$min": "$at"},
        "origin": {"$first": "$_id"},
        **first,
        "names": {"$addToSet": "$eventName"},
        "sources": {"$addToSet": "$source"},
    }
    sums: Document = {"_id": None, "events": {"$sum": "$events"}, "total": {"$sum": 1}}
    pipeline: list[Document] = [
        {"$match": match},
        {"$sort": {"aggregateId": 1, "place": 1}},
        *([{"$limit": at_most}] if at_most is not None else []),
        {"$project": dict.fromkeys(FIELDS, 1)},
        {"$group": group},
        {"$set": {name: {"$slice": [f"${name}", MAX_NAMES]} for name in ("names", "sources")}},
        {"$facet": {"sums": [{"$group": sums}], "first": [{"$sort": {"since": 1, "_id": 1}}, {"$limit": limit}]}},
    ]
    rows = await (await database.outcomes.aggregate(pipeline, hint="waiting", session=session)).to_list()
    found = rows[0] if rows else {"sums": [], "first": []}
    counted = found["sums"][0] if found["sums"] else {"events": 0, "total": 0}
    return counted["events"], counted["total"], [_aggregate(row) for row in found["first"]]


def _aggregate(row: Document) -> ParkedAggregate:
    return ParkedAggregate(
        aggregate_id=row["_id"],
        events=row["events"],
        since=row["since"],
        reason=row["reason"],
        attempts=row.get("attempts") or 0,
        origin=row["origin"],
        event_names=sorted(row["names"]),
        sources=sorted(row["sources"]),
    )


async def _unreadable(database: Database, limit: int, session: Any) -> tuple[int, list[UnreadableRecord]]:
    count, records = 0, list[UnreadableRecord]()
    kinds: list[tuple[Document, str]] = [
        ({"kind": "parked", "shop": None, "aggregateId": None}, "waiting"),
        ({"kind": "unreadable"}, "unreadable"),
    ]
    for kind, hint in kinds:
        match = {**kind, "place": {"$gte": 0}}
        count += await database.outcomes.count_documents(match, hint=hint, session=session)
        if room := limit - len(records):
            found = database.outcomes.find(match, {"event": 0}, hint=hint, session=session).sort("place", 1).limit(room)
            records += [_record(Held.of(document)) async for document in found]
    return count, records


def _record(held: Held) -> UnreadableRecord:
    return UnreadableRecord(
        origin=held.origin,
        since=held.at,
        reason=held.reason,
        attempts=held.attempts,
        bytes=held.size,
        retryable=held.kind == "parked",
    )


def _event(held: Held) -> ParkedEvent:
    return ParkedEvent(
        origin=held.origin,
        event_id=held.event_id,
        event_name=held.event_name,
        version=held.version,
        source=held.source,
        since=held.at,
        reason=held.reason,
        attempts=held.attempts,
        bytes=held.size,
        whole=held.whole,
        event=held.text,
    )
