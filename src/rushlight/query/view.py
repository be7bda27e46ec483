"""One snapshot of one shop's figures: documents of all partitions, as they stood at one moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from pymongo.asynchronous.client_session import AsyncClientSession

from rushlight.projections.keys import document_id
from rushlight.query.freshness import CompleteTo
from rushlight.store.database import Collection, Database, Document

# Few enough that decoding them does not hold up the loop for long.
FETCH_DOCUMENTS = 64
# Up to so many days or hours are asked for by name; more of them as a range of names.
MAX_NAMED = 8


class Wanted:
    """Which documents of a shop are wanted, by key (the part of ``_id`` after the shop).

    Args:
        keys: exact keys. ranges: first and last key, both inclusive.
    """

    def __init__(self, keys: Sequence[str] = (), ranges: Sequence[tuple[str, str]] = ()) -> None:
        self.keys = list(keys)
        self.ranges = list(ranges)

    @classmethod
    def under(cls, prefix: str) -> Wanted:
        """Everything under a prefix that ends with ``/``."""
        return cls(ranges=[(prefix, f"{prefix[:-1]}0")])  # "0" follows "/", and no key is just that

    @classmethod
    def units(cls, prefixes: Iterable[str], units: Sequence[str]) -> Wanted:
        """Days or hours (ascending) under each of the prefixes."""
        if len(units) <= MAX_NAMED:
            return cls(keys=[f"{prefix}{unit}" for prefix in prefixes for unit in units])
        return cls(ranges=[(f"{prefix}{units[0]}", f"{prefix}{units[-1]}") for prefix in prefixes])

    def conditions(self, prefixes: Sequence[str]) -> list[Document]:
        """Conditions on ``_id``, of which one must hold, for documents under one of the prefixes."""
        conditions: list[Document] = []
        if self.keys:
            conditions.append({"_id": {"$in": [f"{prefix}{key}" for prefix in prefixes for key in self.keys]}})
        for first, last in self.ranges:
            conditions += [{"_id": {"$gte": f"{prefix}{first}", "$lte": f"{prefix}{last}"}} for prefix in prefixes]
        return conditions


class Scope(NamedTuple):
    """Whose figures are read, and which of their documents are the live ones.

    Attributes:
        source: the shop's source of record. generations: the live generation of each projection.
    """

    shop: str
    source: str
    partitions: int
    generations: Mapping[str, int]


class Moment(NamedTuple):
    """When a view was opened.

    Attributes:
        session: the snapshot session. complete_to: read before the snapshot. present: the server's time then.
    """

    session: AsyncClientSession
    complete_to: CompleteTo
    present: datetime


class View:
    """A snapshot that is open for reading.

    Args:
        known_currencies: (shop, source, currency) that are known from earlier views; found ones are added.
    """

    def __init__(
        self, database: Database, scope: Scope, moment: Moment, known_currencies: set[tuple[str, str, str]]
    ) -> None:
        self.database = database
        self.scope = scope
        self.session, self.complete_to, self.present = moment
        self._known_currencies = known_currencies

    @property
    def source(self) -> str:
        """The shop's source of record."""
        return self.scope.source

    def collection(self, projection: str) -> Collection:
        """The documents of a projection."""
        return self.database.projection(projection)

    def prefixes(self, projection: str) -> list[str]:
        """What ``_id`` begins with for this shop, partition by partition."""
        shop, _, partitions, generations = self.scope
        return [document_id(generations[projection], partition, f"{shop}/") for partition in range(partitions)]

    async def documents(self, projection: str, wanted: Wanted) -> AsyncIterator[tuple[str, Document]]:
        """Key and content of each wanted document of each partition, in no order."""
        prefixes = self.prefixes(projection)
        conditions = wanted.conditions(prefixes)
        if not conditions:
            return
        found = self.collection(projection).find({"$or": conditions}, batch_size=FETCH_DOCUMENTS, session=self.session)
        cut = len(prefixes[0])
        async for document in found:
            yield document["_id"][cut:], document

    async def currencies(self, source: str) -> list[str]:
        """The currencies in which a source has ever reported money.

        Those known from before are taken for granted; only the gaps between them are searched for others.
        """
        shop = self.scope.shop
        known = sorted(name for of, by, name in self._known_currencies if (of, by) == (shop, source))
        while (name := await self._unknown_currency(source, known)) is not None:
            self._known_currencies.add((shop, source, name))
            known = sorted([*known, name])
        return known

    async def _unknown_currency(self, source: str, known: list[str]) -> str | None:
        prefix = f"d/{source}/"
        edges = ["", *known, "~"]
        # Every key of a known currency begins with its name and a slash; "0" follows the slash.
        gaps = [(f"{prefix}{left}0" if left else prefix, f"{prefix}{right}") for left, right in pairwise(edges)]
        conditions = Wanted(ranges=gaps).conditions(self.prefixes("money"))
        found = await self.collection("money").find_one({"$or": conditions}, {"_id": 1}, session=self.session)
        return str(found["_id"]).rsplit("/", 2)[1] if found else None

    async def count(self, projection: str, hint: str, condition: Mapping[str, Any]) -> int:
        """How many documents of the shop meet a condition, of the live generation."""
        generation = self.scope.generations[projection]
        match = {"shop": self.scope.shop, **condition, "_id": {"$gte": f"{generation}/", "$lt": f"{generation}0"}}
        pipeline: list[Document] = [{"$match": match}, {"$count": "n"}]
        rows = await self.collection(projection).aggregate(pipeline, session=self.session, hint=hint)
        return sum([row["n"] async for row in rows])
