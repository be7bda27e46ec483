"""Loads the documents that a batch's events read, folds the events, and says what has to be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pymongo import ReplaceOne, UpdateOne

from rushlight.events.envelope import Envelope
from rushlight.projections.keys import document_id
from rushlight.projections.projection import Projection
from rushlight.projections.state import Counters, State
from rushlight.store.database import Collection, Database, Document

Write = ReplaceOne[Document] | UpdateOne
META_FIELDS = ("_id", "p", "seq")


class Poison(Exception):
    """A fold failed on one event; the state that it was folding into is spoilt."""

    def __init__(self, event: Envelope, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.event = event


class Folded(NamedTuple):
    """One projection's writes of one batch."""

    collection: Collection
    writes: list[Write]


class Folder:
    """Folds one partition's events into one generation of one projection."""

    def __init__(self, database: Database, projection: Projection, generation: int, partition: int) -> None:
        self._collection = database.projection(projection.name)
        self._projection = projection
        self._generation = generation
        self._partition = partition

    @property
    def name(self) -> str:
        """Name and generation, as the position document counts it."""
        return f"{self._projection.name}_{self._generation}"

    async def fold(self, events: Sequence[Envelope], first_seq: int) -> Folded:
        """Fold events that take the places from ``first_seq`` on.

        Raises:
            Poison: the fold failed on an event.
        """
        wanted = [(seq, event) for seq, event in enumerate(events, first_seq) if self._projection.wants(event)]
        state = State(await self._load([event for _, event in wanted]))
        for seq, event in wanted:
            state.seq = seq
            try:
                self._projection.fold(state, event)
            except Exception as error:
                raise Poison(event, error) from error
        return Folded(self._collection, self._writes(state))

    async def _load(self, events: Sequence[Envelope]) -> dict[str, Document]:
        keys = {key for event in events for key in self._projection.keys(event)}
        if not keys:
            return {}
        prefix = len(document_id(self._generation, self._partition, ""))
        ids = [document_id(self._generation, self._partition, key) for key in keys]
        found = self._collection.find({"_id": {"$in": ids}}, batch_size=len(ids))
        return {document["_id"][prefix:]: _content(document) async for document in found}

    def _writes(self, state: State) -> list[Write]:
        writes: list[Write] = []
        for key, seq in state.rewritten.items():
            document = {**state.documents[key], "p": self._partition, "seq": seq}
            writes.append(ReplaceOne({"_id": self._id(key)}, document, upsert=True))
        for key, counters in state.counted.items():
            writes.append(UpdateOne({"_id": self._id(key)}, self._update(counters), upsert=True))
        return writes

    def _update(self, counters: Counters) -> Document:
        update: Document = {"$set": {**counters.puts, "p": self._partition, "seq": counters.seq}}
        for operator, values in (("$inc", counters.adds), ("$min", counters.lows), ("$max", counters.highs)):
            if values:
                update[operator] = values
        return update

    def _id(self, key: str) -> str:
        return document_id(self._generation, self._partition, key)


def _content(document: Mapping[str, Any]) -> Document:
    return {name: value for name, value in document.items() if name not in META_FIELDS}
