"""Loads the documents that a batch's events read, folds the events, and says what has to be written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bson.errors import BSONError

from rushlight.events.envelope import Envelope
from rushlight.projections.keys import document_id
from rushlight.projections.projection import Projection
from rushlight.projections.state import Counters, State
from rushlight.store import bulk
from rushlight.store.database import Collection, Database, Document, of_primary
from rushlight.store.generations import seq_name

META_FIELDS = ("_id", "p", "seq")


class Poison(Exception):
    """A fold failed on one event; the state that it was folding into is spoilt."""

    def __init__(self, event: Envelope, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.event = event
        self.error = error


class Folded(NamedTuple):
    """One projection's writes of one batch: documents that are new, and statements for the others."""

    collection: Collection
    inserts: list[bulk.Raw]
    updates: list[bulk.Raw]


class Folder:
    """Folds one partition's events into one generation of one projection."""

    def __init__(self, database: Database, projection: Projection, generation: int, partition: int) -> None:
        # A partition's owner builds on what the primary has: right after an election the majority's view may lack its
        # last commits.
        self._collection = of_primary(database.projection(projection.name))
        self._projection = projection
        self._partition = partition
        self._prefix = document_id(generation, partition, "")
        self.name = seq_name(projection.name, generation)

    async def fold(self, events: Sequence[Envelope], first_seq: int) -> Folded:
        """Fold events that take the places from ``first_seq`` on.

        Raises:
            Poison: the fold failed on an event, or made of it what cannot be stored.
        """
        return await self.fold_places(enumerate(events, first_seq))

    async def fold_places(self, placed: Iterable[tuple[int, Envelope]]) -> Folded:
        """Fold events at their places, ascending; what is not wanted may be missing.

        Raises:
            Poison: the fold failed on an event, or made of it what cannot be stored.
        """
        wanted = [(seq, event) for seq, event in placed if self._projection.wants(event)]
        loaded = await self._load([event for _, event in wanted])
        known = set(loaded)
        state = State(loaded)
        for seq, event in wanted:
            state.seq = seq
            try:
                self._projection.fold(state, event)
            except Exception as error:
                raise Poison(event, error) from error
        try:
            return self._written(state, known)
        except (BSONError, OverflowError, UnicodeEncodeError) as error:
            raise Poison(await self._culprit([event for _, event in wanted], error), error) from error

    async def _culprit(self, events: Sequence[Envelope], error: Exception) -> Envelope:
        """The first event whose own documents cannot be stored either; else the last, which made the sum overflow."""
        for event in events[:-1]:
            alone = State(await self._load([event]))
            self._projection.fold(alone, event)
            try:
                self._written(alone, set())
            except type(error):
                return event
        return events[-1]

    async def _load(self, events: Sequence[Envelope]) -> dict[str, Document]:
        keys = {key for event in events for key in self._projection.keys(event)}
        if not keys:
            return {}
        ids = [self._prefix + key for key in keys]
        found = self._collection.find({"_id": {"$in": ids}}, batch_size=len(ids))
        skip = len(self._prefix)
        return {document["_id"][skip:]: _content(document) async for document in found}

    def _written(self, state: State, known: set[str]) -> Folded:
        inserts: list[Document] = []
        updates: list[Document] = []
        for key, seq in state.rewritten.items():
            document = {"_id": self._prefix + key, "p": self._partition, "seq": seq, **state.documents[key]}
            if key in known:
                updates.append({"q": {"_id": document["_id"]}, "u": document})
            else:
                inserts.append(document)
        for key, counters in state.counted.items():
            updates.append({"q": {"_id": self._prefix + key}, "u": self._update(counters), "upsert": True})
        return Folded(self._collection, bulk.encode(inserts), bulk.encode(updates))

    def _update(self, counters: Counters) -> Document:
        update: Document = {"$set": {"p": self._partition, "seq": counters.seq, **counters.puts}}
        for operator, values in (("$inc", counters.adds), ("$min", counters.lows), ("$max", counters.highs)):
            if values:
                update[operator] = values
        return update


def _content(document: Mapping[str, Any]) -> Document:
    return {name: value for name, value in document.items() if name not in META_FIELDS}
