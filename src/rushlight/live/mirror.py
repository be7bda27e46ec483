"""The documents behind a watched shop's board, kept in memory: of each partition only what changed is read again.

A partition's documents carry the seq of their last change, and its position says how far it has come. What was read at
an older position is brought up to date by the documents with a greater seq, within the same snapshot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from rushlight.query.heads import Heads, heads
from rushlight.query.view import Moment, Scope, View, Wanted

Document = dict[str, Any]
UNREAD = -1


class _Shelf:
    """What one question has brought: documents by ``_id``, and the seq up to which each partition was read."""

    def __init__(self, partitions: int) -> None:
        self.read_to = [UNREAD] * partitions
        self.documents: dict[str, Document] = {}
        self.used = True


class Mirror:
    """Everything that is remembered of one shop from view to view.

    Attributes:
        heads: the last seq of each partition in the latest view.
        currencies: by source, as of what was folded then, and of which generation.
    """

    def __init__(self) -> None:
        self.heads: list[int] = []
        self.currencies: dict[str, tuple[tuple[int, list[int]], list[str]]] = {}
        self._shelves: dict[Any, _Shelf] = {}

    def shelf(self, question: Any, partitions: int) -> _Shelf:
        """The shelf of a question, empty when it was not asked before."""
        shelf = self._shelves.setdefault(question, _Shelf(partitions))
        shelf.used = True
        return shelf

    def sweep(self) -> None:
        """Forget what was not asked for since the last sweep: yesterday's documents, the hour before last."""
        self._shelves = {question: shelf for question, shelf in self._shelves.items() if shelf.used}
        for shelf in self._shelves.values():
            shelf.used = False


class MirrorView(View):
    """A view that reads through a mirror."""

    def __init__(self, mirror: Mirror, database: Any, scope: Scope, moment: Moment, known: set[Any]) -> None:
        super().__init__(database, scope, moment, known)
        self._mirror = mirror
        self._heads: Heads | None = None

    async def heads(self, projection: str) -> list[int]:
        """How far the live generation of a projection has come in each partition, in this snapshot."""
        if self._heads is None:
            self._heads = await heads(self)
            self._mirror.heads = self._heads.journal
        return self._heads.folded[projection]

    async def documents(self, projection: str, wanted: Wanted) -> AsyncIterator[tuple[str, Document]]:
        """As a view does, from memory as far as nothing changed."""
        question = (projection, self.scope.generations[projection], *wanted.keys, *wanted.ranges)
        shelf = self._mirror.shelf(question, self.scope.partitions)
        await self._refresh(shelf, projection, wanted)
        cut = len(self.prefixes(projection)[0])
        for name, document in list(shelf.documents.items()):
            yield name[cut:], document

    async def currencies(self, source: str) -> list[str]:
        """As a view does; without looking while no partition has moved."""
        present = (self.scope.generations["money"], await self.heads("money"))
        seen, names = self._mirror.currencies.get(source, (None, []))
        if seen != present:
            names = await super().currencies(source)
            self._mirror.currencies[source] = (present, names)
        return names

    async def _refresh(self, shelf: _Shelf, projection: str, wanted: Wanted) -> None:
        present = await self.heads(projection)
        if any(head < read for head, read in zip(present, shelf.read_to, strict=True)):
            # Another database has come in the place of the one that was mirrored.
            shelf.documents.clear()
            shelf.read_to = [UNREAD] * len(present)
        prefixes = self.prefixes(projection)
        moved = [p for p, head in enumerate(present) if head != shelf.read_to[p]]
        conditions = [
            condition | {"seq": {"$gt": shelf.read_to[p]}}
            for p in moved
            for condition in wanted.conditions([prefixes[p]])
        ]
        if not conditions:
            return
        found = self.collection(projection).find({"$or": conditions}, session=self.session)
        changed = {document["_id"]: document async for document in found}
        shelf.documents.update(changed)
        for p in moved:
            shelf.read_to[p] = present[p]
