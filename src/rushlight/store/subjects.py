"""What is known of people: their traits, which visitors and customers are the same person, and who was erased.

``subjects`` is no projection: it is not made from the journal, because the journal does not hold what names a person.
Its documents belong to one partition, as those of projections do, and readers merge them. ``_id`` is
``partition/shop/kind/…``, each id of a person escaped:

- ``…/c/CUSTOMER``, ``…/v/VISITOR``: ``{p, traits: [[name, JSON, at, event id], …], first, last, received}``.
- ``…/l/CUSTOMER/VISITOR``: a link, ``{p, customer, visitor, first, last}``; ``last`` is exact to the day.
- ``…/a/ID/OTHER``, and the same the other way round: two names of one person, ``{p, id, other, first, last}``.
- ``…/p/ORIGIN``: the personal part of a parked event, ``{p, origin, customer, visitor, personal: JSON,
  received}``.

``erased`` holds one document for each id that was erased, named by its hash: ``{shop, kind, at, by, …}``. What was
received up to ``at`` and comes later loses its personal part and its link; each position repeats the newest ``at``.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from rushlight.store.database import Database, Document

Kind = Literal["c", "v"]
# A person's traits are few; what is more is somebody's mistake, and the newest are kept.
MAX_TRAITS = 200
MAX_TRAITS_BYTES = 256 * 1024
MAX_NAMES = 1000
# A device that everybody uses, or an id that everybody is given, is told in part.
MAX_VISITORS = 1000
SUBJECTS_AT_ONCE = 200


class Trait(NamedTuple):
    """One trait as it was last told: its value as JSON, when, and by which event."""

    name: str
    value: str
    at: datetime
    event_id: str


class Link(NamedTuple):
    """A visitor that was seen to be a customer, and when."""

    customer: str
    visitor: str
    first: datetime
    last: datetime


class Person(NamedTuple):
    """Everything that ``subjects`` holds of one person.

    Attributes:
        customers: the customer's ids, the one that was asked for first. visitors: ids linked to one of them.
        traits: by name, as they were last told. links: by visitor.
        first_seen: when the first of all this happened.
    """

    customers: list[str]
    visitors: list[str]
    traits: dict[str, Trait]
    links: dict[str, Link]
    first_seen: datetime | None


def part(text: str) -> str:
    """An id as one part of a document's ``_id``."""
    return text.replace("%", "%25").replace("/", "%2F") if "/" in text or "%" in text else text


def subject_id(partition: int, shop: str, kind: str, *ids: str) -> str:
    """``_id`` of a document of ``subjects``."""
    return "/".join([f"{partition:02d}", shop, kind, *map(part, ids)])


def under(prefix: str) -> Document:
    """Condition on ``_id`` for everything that follows a prefix and a slash."""
    return {"$gte": f"{prefix}/", "$lt": f"{prefix}0"}  # "0" follows "/"


def traits_of(personal: dict[str, Any], at: datetime, event_id: str) -> list[Trait]:
    """The traits that an event tells."""
    return [Trait(name, msgspec.json.encode(value).decode(), at, event_id) for name, value in personal.items()]


def merged(told: Iterable[Trait]) -> list[Trait]:
    """Of each name what was told last, by time of the event, then by its id; the newest of them, as many as fit."""
    newest: dict[str, Trait] = {}
    for trait in told:
        known = newest.get(trait.name)
        if known is None or (known.at, known.event_id) < (trait.at, trait.event_id):
            newest[trait.name] = trait
    kept, size = list[Trait](), 0
    for trait in sorted(newest.values(), key=lambda t: (t.at, t.event_id, t.name), reverse=True)[:MAX_TRAITS]:
        size += len(trait.name) + len(trait.value)
        if kept and size > MAX_TRAITS_BYTES:
            break
        kept.append(trait)
    return sorted(kept)


def stored_traits(document: Document) -> list[Trait]:
    """The traits of a subject's document."""
    return [Trait(*row) for row in document.get("traits", ())]


def tombstone_id(shop: str, kind: Kind, name: str) -> str:
    """``_id`` of the record that an id was erased; it tells the id only to who knows it."""
    return hashlib.sha256(f"{shop} {kind} {name}".encode("utf-8", "surrogatepass")).hexdigest()


class Subjects:
    """Reads what is known of people, merged from all partitions."""

    def __init__(self, database: Database, partitions: int, session: Any = None) -> None:
        self._database = database
        self._partitions = range(partitions)
        self._session = session

    async def person(self, shop: str, customer: str) -> Person:
        """What is held of a customer, under each of the person's names that an alias has told."""
        names = await self.names(shop, customer)
        links = [link for name in names for link in await self._links(shop, name)]
        by_visitor: dict[str, Link] = {}
        for link in links:
            known = by_visitor.get(link.visitor, link)
            first, last = min(known.first, link.first), max(known.last, link.last)
            by_visitor[link.visitor] = link._replace(first=first, last=last)
        visitors = sorted(by_visitor)
        documents = await self._documents(shop, [*(("c", n) for n in names), *(("v", v) for v in [*names, *visitors])])
        traits = {trait.name: trait for trait in merged(t for d in documents for t in stored_traits(d))}
        firsts = [*(d["first"] for d in documents), *(link.first for link in by_visitor.values())]
        return Person(names, visitors, traits, dict(sorted(by_visitor.items())), min(firsts, default=None))

    async def names(self, shop: str, name: str) -> list[str]:
        """A name and all others of the same person, as far as aliases tell."""
        names, looked_at = [name], 0
        while looked_at < len(names):
            ranges = self._under(shop, "a", names[looked_at])
            looked_at += 1
            async for document in self._database.subjects.find({"$or": ranges}, session=self._session):
                if document["other"] not in names and len(names) < MAX_NAMES:
                    names.append(document["other"])
        return names

    async def seen_as(self, shop: str, customer: str) -> Person:
        """The same without what names the person, and of many visitors only some: what an answer can hold."""
        names = await self.names(shop, customer)
        links = [link for name in names for link in await self._links(shop, name, limit=MAX_VISITORS)]
        documents = await self._documents(shop, [("c", name) for name in names])
        firsts = [*(d["first"] for d in documents), *(link.first for link in links)]
        visitors = sorted({link.visitor for link in links})[:MAX_VISITORS]
        return Person(names, visitors, {}, {}, min(firsts, default=None))

    async def _links(self, shop: str, customer: str, *, limit: int = 0) -> list[Link]:
        found = self._database.subjects.find({"$or": self._under(shop, "l", customer)}, session=self._session)
        return [Link(d["customer"], d["visitor"], d["first"], d["last"]) async for d in found.limit(limit)]

    async def _documents(self, shop: str, subjects: Sequence[tuple[str, str]]) -> list[Document]:
        documents = list[Document]()
        for start in range(0, len(subjects), SUBJECTS_AT_ONCE):
            some = subjects[start : start + SUBJECTS_AT_ONCE]
            ids = [subject_id(p, shop, kind, name) for kind, name in some for p in self._partitions]
            found = self._database.subjects.find({"_id": {"$in": ids}}, session=self._session)
            documents += [document async for document in found]
        return documents

    async def parked(self, shop: str) -> AsyncIterator[Document]:
        """The personal parts of the shop's parked events."""
        conditions = [{"_id": under(subject_id(p, shop, "p"))} for p in self._partitions]
        async for document in self._database.subjects.find({"$or": conditions}, session=self._session):
            yield document

    def _under(self, shop: str, kind: str, name: str) -> list[Document]:
        return [{"_id": under(subject_id(p, shop, kind, name))} for p in self._partitions]
