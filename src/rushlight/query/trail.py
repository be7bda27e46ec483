"""The audit trail: journal events page by page, each partition in its own order, without a gap or a repeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from heapq import merge
from typing import Any, NamedTuple

import msgspec

from rushlight.errors import Rejected
from rushlight.events.ids import partition_of
from rushlight.events.readable import readable
from rushlight.query.heads import heads
from rushlight.query.view import View
from rushlight.store.database import Document

# So many places of each partition are looked through for one page, however few of them are wanted.
WINDOW_EVENTS = 5000
MAX_CURSOR_CHARACTERS = 2200
PLACE_FIELDS = {"p": 1, "seq": 1, "receivedAt": 1}


class StoredEvent(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """An event as the journal keeps it; amounts in its payload are integer minor units.

    Attributes:
        p, seq: its place: the partition and the dense number there.
        timestamp: when it happened. received_at: when it was acknowledged.
        context: the circumstances: how it came, from where and on what (docs/context.md).
    """

    id: str
    event_name: str
    aggregate_id: str
    payload: dict[str, Any]
    timestamp: datetime
    received_at: datetime
    shop: str
    source: str
    origin: str
    schema: int
    p: int
    seq: int
    version: int | None = None
    visitor_id: str | None = None
    customer_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    trace: str | None = None
    context: dict[str, Any] | None = None


class Page(NamedTuple):
    """Events, the cursor after them, and whether there is more behind it now."""

    events: list[StoredEvent]
    cursor: str
    more: bool


class _Place(NamedTuple):
    received_at: datetime
    partition: int
    seq: int
    id: str


async def trail(view: View, *, aggregate: str | None, name: str | None, after: str | None, limit: int) -> Page:
    """Events of the shop after a cursor, from the beginning without one.

    Each partition's events come in the order of the journal, so an aggregate's do; between partitions it is about the
    order in which they were received. A page may be short, or empty, and yet have more behind it.

    Args:
        aggregate, name: only events about this, or of this name.
        after: the cursor of the page before.
    """
    partitions = view.scope.partitions
    seen = _parse_cursor(after, partitions)
    ends = (await heads(view)).journal
    wanted = range(partitions) if aggregate is None else [partition_of(view.scope.shop, aggregate, partitions)]
    match: Document = {"shop": view.scope.shop} | ({"eventName": name} if name is not None else {})
    found: dict[int, list[_Place]] = {}
    reached = dict(enumerate(seen))
    for partition in wanted:
        window = WINDOW_EVENTS if aggregate is None else ends[partition]
        reached[partition] = max(seen[partition], min(seen[partition] + window, ends[partition]))
        found[partition] = await _places(view, partition, seen[partition], reached[partition], match, aggregate, limit)
    chosen = [place for place, _ in zip(merge(*found.values()), range(limit), strict=False)]
    cursor = _advance(found, chosen, reached, limit)
    more = any(cursor[partition] < ends[partition] for partition in wanted)
    return Page(await _events(view, chosen), ".".join(map(str, cursor)), more)


def _advance(
    found: dict[int, list[_Place]], chosen: Sequence[_Place], reached: dict[int, int], limit: int
) -> list[int]:
    """How far each partition has been told: to its last event in the page, or as far as was looked."""
    cursor = [reached[partition] for partition in sorted(reached)]
    told = {place.partition: place.seq for place in chosen}
    for partition, places in found.items():
        last = told.get(partition)
        if places and last is None:
            cursor[partition] = places[0].seq - 1
        elif last is not None and (last < places[-1].seq or len(places) == limit):
            cursor[partition] = last
    return cursor


async def _places(
    view: View, partition: int, after: int, until: int, match: Document, aggregate: str | None, limit: int
) -> list[_Place]:
    if after >= until:
        return []
    condition = match | {"p": partition, "seq": {"$gt": after, "$lte": until}}
    hint = "place"
    if aggregate is not None:
        condition["aggregateId"], hint = aggregate, "aggregate"
    found = view.database.journal.find(condition, PLACE_FIELDS, hint=hint, session=view.session)
    return list(_ascending([row async for row in found.sort("seq").limit(limit)]))


def _ascending(rows: Sequence[Document]) -> Iterator[_Place]:
    """Places in the order of the partition, with received times that never go back, so that merging keeps it."""
    latest: datetime | None = None
    for row in rows:
        latest = max(latest or row["receivedAt"], row["receivedAt"])
        yield _Place(latest, row["p"], row["seq"], row["_id"])


async def _events(view: View, places: Sequence[_Place]) -> list[StoredEvent]:
    found = view.database.journal.find({"_id": {"$in": [place.id for place in places]}}, session=view.session)
    by_id = {document["_id"]: document async for document in found}
    return [_stored(by_id[place.id]) for place in places]


def _stored(document: Document) -> StoredEvent:
    payload = readable(document["eventName"], document["payload"])
    return msgspec.convert(document | {"id": document["_id"], "payload": payload}, StoredEvent)


def _parse_cursor(text: str | None, partitions: int) -> list[int]:
    if text is None:
        return [0] * partitions
    numbers = text.split(".") if len(text) <= MAX_CURSOR_CHARACTERS else []
    if len(numbers) != partitions or not all(n.isascii() and n.isdigit() and len(n) <= 18 for n in numbers):
        raise Rejected("is no cursor that a page of this trail gave", field="after")
    return [int(number) for number in numbers]
