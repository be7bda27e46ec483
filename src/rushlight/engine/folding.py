"""Loads the documents that a batch's events read, folds the events, and says what has to be written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from bson.errors import BSONError

from rushlight.events.envelope import Envelope
from rushlight.logs import redacted
from rushlight.projections.keys import document_id
from rushlight.projections.projection import Projection
from rushlight.projections.state import Counters, State
from rushlight.projections.tentative import Tentative
from rushlight.store import bulk
from rushlight.store.database import Collection, Database, Document, of_primary
from rushlight.store.generations import seq_name

META_FIELDS = ("_id", "p", "seq")
UNSTORABLE = (BSONError, OverflowError, TypeError, UnicodeEncodeError)


class Poison(Exception):
    """A fold failed on one event; the state that it was folding into is spoilt."""

    def __init__(self, event: Envelope, error: Exception) -> None:
        # Kept in MongoDB and shown: it takes no half of a character, and what a fold raises may hold customers' data.
        super().__init__(redacted(f"{type(error).__name__}: {error}".encode("utf-8", "replace").decode()))
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
        wanted = [(seq, event, keys) for seq, event in placed if (keys := self._keys(event)) is not None]
        loaded = await self._load({key for _, _, keys in wanted for key in keys})
        known = set(loaded)
        state = State(loaded)
        for seq, event, keys in wanted:
            state.seq, state.named = seq, keys
            try:
                self._projection.fold(state, event)
            except Exception as error:
                raise Poison(event, error) from error
        try:
            return self._written(state, known)
        except UNSTORABLE as error:
            raise Poison(await self._culprit([(seq, event) for seq, event, _ in wanted]), error) from error

    def fold_one(self, state: Tentative, event: Envelope, seq: int) -> None:
        """Fold one event and look whether what it touched can be stored.

        Raises:
            Poison: one of these failed.
        """
        keys = self._keys(event)
        if keys is None:
            return
        state.begin(seq, keys)
        try:
            self._projection.fold(state, event)
            self._written(state.changed(), set())
        except Exception as error:
            raise Poison(event, error) from error

    def _keys(self, event: Envelope) -> tuple[str, ...] | None:
        """What the projection reads to fold an event; None when it does not want it."""
        try:
            if not self._projection.wants(event):
                return None
            keys = tuple(self._projection.keys(event))
            for key in keys:
                if not isinstance(key, str):
                    raise TypeError(f"keys() must give strings, not {keys!r}")
        except Exception as error:
            raise Poison(event, error) from error
        return keys

    async def trial(self, events: Sequence[Envelope]) -> Trial:
        """A way to fold these events one at a time, from what is stored; nothing of it is written."""
        keys: set[str] = set()
        for event in events:
            with suppress(Poison):  # the trial meets it again
                keys.update(self._keys(event) or ())
        return Trial(self, await self._load(keys))

    async def _culprit(self, wanted: Sequence[tuple[int, Envelope]]) -> Envelope:
        """The event with which the documents become what cannot be stored."""
        trial = await self.trial([event for _, event in wanted])
        for seq, event in wanted:
            try:
                trial.fold(event, seq)
            except Poison:
                return event
        return wanted[-1][1]

    async def _load(self, keys: set[str]) -> dict[str, Document]:
        if not keys:
            return {}
        ids = [self._prefix + key for key in keys]
        found = self._collection.find({"_id": {"$in": ids}}, batch_size=len(ids) + 1)
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


class Trial:
    """Folds events one after another and knows of each whether it can be; one that cannot leaves no trace."""

    def __init__(self, folder: Folder, documents: Mapping[str, Document]) -> None:
        self._folder = folder
        self._state = Tentative(documents)

    def fold(self, event: Envelope, seq: int) -> None:
        """Fold the next event, at this place.

        Raises:
            Poison: that failed, or makes of its documents what cannot be stored; take it back.
        """
        self._state.begin(seq, ())  # should its keys fail, there is nothing to take back
        self._folder.fold_one(self._state, event, seq)

    def undo(self) -> None:
        """Take the last event back."""
        self._state.undo()


def _content(document: Mapping[str, Any]) -> Document:
    return {name: value for name, value in document.items() if name not in META_FIELDS}
