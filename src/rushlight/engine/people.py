"""What a batch tells about people: a commit writes it into ``subjects`` in the same transaction, and nowhere else.

What was received before its person was erased loses what names the person, and its link, before anything else sees
it. The position says when somebody was erased last: a commit that has not taken that into account is made anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from rushlight.engine.batch import Batch, Candidate
from rushlight.events.envelope import Envelope, encode
from rushlight.store import bulk
from rushlight.store.database import Database, Document, of_primary
from rushlight.store.subjects import Kind, merged, stored_traits, subject_id, tombstone_id, traits_of
from rushlight.store.unlinking import unlinked

MAX_KNOWN_LINKS = 20_000
PUBLIC_SOURCE = "web"
EXACT_TO = timedelta(days=1)

Pair = tuple[str, str, str, str]
Span = tuple[datetime, datetime]


class People(NamedTuple):
    """What one commit writes about people.

    Attributes:
        erased: the newest erasure that it has taken into account.
        updates: statements for ``subjects``. gone: its documents that end. tombstones: statements for ``erased``.
        links: the links that are stored once it is committed.
    """

    erased: datetime | None
    updates: list[bulk.Raw]
    gone: list[str]
    tombstones: list[bulk.Raw]
    links: dict[Pair, Span]


class Register:
    """Knows, for the partition's one owner, which links are stored already and when somebody was erased last."""

    def __init__(self, database: Database, partition: int, erased: datetime | None) -> None:
        self._subjects = of_primary(database.subjects)
        self._erased_records = of_primary(database.erased)
        self._positions = of_primary(database.positions)
        self._partition = partition
        self._erased = erased
        self._known: OrderedDict[Pair, Span] = OrderedDict()
        self._apart: dict[str, str] = {}
        self._late: list[tuple[str, str, datetime]] = []

    async def refresh(self) -> None:
        """Look when somebody was erased last.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        document = await self._positions.find_one({"_id": self._partition}, {"erased": 1})
        erased = document.get("erased") if document else None
        if erased != self._erased:
            self._erased = erased
            self._known.clear()

    async def prepare(self, batch: Batch) -> None:
        """Fetch what parked events have apart, and take from late events what their person's erasure has ended.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        self._apart, self._late = {}, []
        if batch.tasks:
            await self._fetch(batch)
        late = [event for event in _events(batch) if self._erased is not None and event.received_at <= self._erased]
        if not late:
            return
        names = {tombstone_id(*_owner_of(event)) for event in late}
        found = self._erased_records.find({"_id": {"$in": list(names)}}, {"at": 1})
        ends = {document["_id"]: document["at"] async for document in found}
        for event in late:
            at = ends.get(tombstone_id(*_owner_of(event)))
            if at is not None and event.received_at <= at:
                self._end(event, at, batch)

    async def _fetch(self, batch: Batch) -> None:
        """The personal parts of the parked events that the batch decides about."""
        origins = {
            subject_id(self._partition, held.shop, "p", held.origin): held.origin
            for task in batch.tasks
            for held in task.held
            if held.shop is not None
        }
        async for document in self._subjects.find({"_id": {"$in": list(origins)}}):
            origin = origins[document["_id"]]
            self._apart[origin] = document["_id"]
            batch.personal[origin] = msgspec.json.decode(document["personal"])

    def _end(self, event: Envelope, at: datetime, batch: Batch) -> None:
        batch.personal.pop(event.origin, None)
        if event.customer_id is None:
            return
        if event.visitor_id is not None:
            self._late.append((event.shop, event.visitor_id, at))
        unlinked(event)
        batch.replace(event, encode(event))

    async def tell(self, batch: Batch) -> People | None:
        """What to write about people when this batch is committed; None when it settles nothing.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        if not (batch.accepted or batch.outcomes or batch.tasks):
            return None
        updates: list[Document] = []
        stored = [candidate.event for candidate in batch.accepted]
        if batch.personal:
            updates += await self._traits([(e, batch.personal[e.origin]) for e in stored if e.origin in batch.personal])
            updates += [self._parked(event, batch.personal[event.origin]) for event in _parked_with_personal(batch)]
        links: dict[Pair, Span] = {}
        for event in stored:
            if event.customer_id is not None:
                self._link(event, event.customer_id, links)
        updates += [self._linked(pair, span) for pair, span in links.items()]
        staying = {outcome.origin for outcome in batch.outcomes if outcome.kind == "parked"}
        gone = [_id for origin, _id in self._apart.items() if origin not in staying]
        gone += [subject_id(self._partition, shop, "v", visitor) for shop, visitor, _ in self._late]
        tombstones = [_tombstone(*late) for late in self._late]
        return People(self._erased, bulk.encode(updates), gone, bulk.encode(tombstones), links)

    def committed(self, people: People | None) -> None:
        """Remember the links that a commit has stored."""
        if people is None:
            return
        for pair, (first, last) in people.links.items():
            known = self._known.pop(pair, (first, last))
            self._known[pair] = min(known[0], first), max(known[1], last)
        while len(self._known) > MAX_KNOWN_LINKS:
            self._known.popitem(last=False)

    async def _traits(self, told: list[tuple[Envelope, dict[str, Any]]]) -> list[Document]:
        by_subject: dict[str, list[tuple[Envelope, dict[str, Any]]]] = {}
        for event, personal in told:
            if (name := _owner(event)) is not None:
                by_subject.setdefault(subject_id(self._partition, event.shop, *name), []).append((event, personal))
        found = self._subjects.find({"_id": {"$in": list(by_subject)}})
        known = {document["_id"]: document async for document in found}
        return [self._subject(_id, known.get(_id, {}), rows) for _id, rows in by_subject.items()]

    def _subject(self, _id: str, known: Document, told: list[tuple[Envelope, dict[str, Any]]]) -> Document:
        new = [trait for event, personal in told for trait in traits_of(personal, event.occurred_at, event.id)]
        times = [event.occurred_at for event, _ in told]
        received = [event.received_at for event, _ in told]
        document = {
            "p": self._partition,
            "traits": [list(trait) for trait in merged([*stored_traits(known), *new])],
            "first": min([*times, *([known["first"]] if known else [])]),
            "last": max([*times, *([known["last"]] if known else [])]),
            "received": max([*received, *([known["received"]] if known else [])]),
        }
        return {"q": {"_id": _id}, "u": {"_id": _id, **document}, "upsert": True}

    def _parked(self, event: Envelope, personal: dict[str, Any]) -> Document:
        _id = subject_id(self._partition, event.shop, "p", event.origin)
        document = {
            "p": self._partition,
            "origin": event.origin,
            "customer": event.customer_id,
            "visitor": event.visitor_id,
            "personal": msgspec.json.encode(personal).decode(),
            "received": event.received_at,
        }
        return {"q": {"_id": _id}, "u": {"_id": _id, **document}, "upsert": True}

    def _link(self, event: Envelope, customer: str, links: dict[Pair, Span]) -> None:
        pairs: list[Pair] = []
        if event.visitor_id is not None and event.visitor_id != customer:
            pairs.append((event.shop, "l", customer, event.visitor_id))
        if event.name == "alias":
            previous = event.payload.get("previousId")
            if isinstance(previous, str) and previous and previous != customer:
                # Anybody can read a public key: with one, nobody becomes one person with another customer.
                if event.source == PUBLIC_SOURCE:
                    pairs.append((event.shop, "l", customer, previous))
                else:
                    pairs += [(event.shop, "a", customer, previous), (event.shop, "a", previous, customer)]
        for pair in pairs:
            at = event.occurred_at
            known = self._known.get(pair)
            if known is not None and known[0] <= at <= known[1] + EXACT_TO:
                continue
            first, last = links.get(pair, (at, at))
            links[pair] = min(first, at), max(last, at)

    def _linked(self, pair: Pair, span: Span) -> Document:
        shop, kind, one, other = pair
        names = ("customer", "visitor") if kind == "l" else ("id", "other")
        return {
            "q": {"_id": subject_id(self._partition, shop, kind, one, other)},
            "u": {
                "$setOnInsert": {"p": self._partition, names[0]: one, names[1]: other},
                "$min": {"first": span[0]},
                "$max": {"last": span[1]},
            },
            "upsert": True,
        }


def without_personal(candidate: Candidate, personal: dict[str, dict[str, Any]]) -> Candidate:
    """The candidate without what names a person, which goes under its origin: nobody else sees it from here on."""
    event = candidate.event
    if event.personal is None:
        return candidate
    if event.personal:
        personal.setdefault(event.origin, event.personal)
    event.personal = None
    return Candidate(event, encode(event))


def _events(batch: Batch) -> Iterator[Envelope]:
    yield from (candidate.event for candidate in batch.accepted)
    yield from (outcome.event for outcome in batch.outcomes if outcome.kind == "parked" and outcome.event is not None)


def _parked_with_personal(batch: Batch) -> Iterator[Envelope]:
    for outcome in batch.outcomes:
        if outcome.kind == "parked" and outcome.event is not None and outcome.origin in batch.personal:
            yield outcome.event


def _owner(event: Envelope) -> tuple[Kind, str] | None:
    """Whose traits an event tells: the customer's, or the visitor's while nobody knows the customer."""
    if event.customer_id is not None:
        return "c", event.customer_id
    return ("v", event.visitor_id) if event.visitor_id is not None else None


def _owner_of(event: Envelope) -> tuple[str, Kind, str]:
    kind, name = _owner(event) or ("v", event.aggregate_id)
    return event.shop, kind, name


def _tombstone(shop: str, visitor: str, at: datetime) -> Document:
    first = {"shop": shop, "kind": "v", "by": "a late event"}
    return {
        "q": {"_id": tombstone_id(shop, "v", visitor)},
        "u": {"$setOnInsert": first, "$max": {"at": at}},
        "upsert": True,
    }
