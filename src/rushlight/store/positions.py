"""How far each partition has come: the fence and the only acknowledgement of the stream.

A position document is ``{_id: p, epoch, n, commit, seq, generation, entry, projections: {"money_1": seq, …}}``: the
owner's fencing token, the number of commits and the last one's own token, the last place in the journal, and the last
stream entry of that generation. ``erased`` is when somebody was erased last (see ``store/subjects.py``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from pymongo import ReturnDocument

from rushlight.errors import Fenced
from rushlight.store.database import Database, Document
from rushlight.store.restoring import restored

FIRST_ENTRY = "0-0"


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """One partition's position.

    Attributes:
        epoch: fencing token of the owner that commits. n: commits so far. commit: a random word that tells the last
            of them from any other. seq: last place in the journal.
        generation: life of the stream that ``entry`` belongs to. entry: the last stream entry that was committed.
        projections: the last place that each generation of each projection had folded when this was read.
        erased: when somebody was erased last, as far as this partition's owner has to know.
    """

    partition: int
    epoch: int
    n: int = 0
    commit: str = ""
    seq: int = 0
    generation: str = ""
    entry: str = FIRST_ENTRY
    projections: dict[str, int] = {}
    erased: datetime | None = None

    @classmethod
    def of(cls, document: Document) -> Position:
        """From the stored document."""
        return cls(
            partition=document["_id"],
            epoch=document["epoch"],
            n=document["n"],
            commit=document.get("commit", ""),
            seq=document["seq"],
            generation=document["generation"],
            entry=document["entry"],
            projections=document.get("projections", {}),
            erased=document.get("erased"),
        )


class Positions:
    """Reads positions and raises their epochs; the commit moves them (see ``engine/commit.py``)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._positions = database.positions

    async def claim(self, partition: int, epoch: int) -> Position:
        """Raise the position's epoch to a new owner's and start from the document that this write returns.

        Raises:
            Fenced: a newer owner was here already.
        """
        if not await self._positions.find_one({"_id": partition}, {"_id": 1}):
            await self._begin(partition)
        document = await self._positions.find_one_and_update(
            {"_id": partition, "epoch": {"$lt": epoch}},
            {"$set": {"epoch": epoch}},
            return_document=ReturnDocument.AFTER,
        )
        if document is None:
            raise Fenced(f"partition {partition} has an owner newer than epoch {epoch}")
        if document.get("lost"):
            document = await restored(self._database, partition, epoch)
        return Position.of(document)

    async def _begin(self, partition: int) -> None:
        """The first position; after the journal's end where there is a journal whose position was lost."""
        last = await self._database.journal.find_one({"p": partition}, {"seq": 1}, sort=[("seq", -1)], hint="place")
        start: Document = {"epoch": 0, "n": 0, "seq": 0, "generation": "", "entry": FIRST_ENTRY}
        if last is not None:
            start |= {"seq": last["seq"], "lost": True}
        if (newest := await self._database.erased.find_one({}, {"at": 1}, sort=[("at", -1)])) is not None:
            start["erased"] = newest["at"]
        await self._positions.update_one({"_id": partition}, {"$setOnInsert": start}, upsert=True)

    async def read(self, partition: int) -> Position | None:
        """The position as a majority has it, or None before the first owner."""
        document = await self._positions.find_one({"_id": partition})
        return Position.of(document) if document else None

    async def all(self, session: Any = None) -> dict[int, Position]:
        """Every partition's position."""
        found = self._positions.find({}, session=session)
        return {document["_id"]: Position.of(document) async for document in found}
