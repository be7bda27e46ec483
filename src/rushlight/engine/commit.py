"""One transaction a batch: position, journal, projections, outcomes, ledger. All or nothing, and only by the owner.

The position is written first: a second owner's transaction meets it and fails at once. Nothing is acknowledged to
Redis; the position is the acknowledgement.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from rushlight.engine.batch import Batch, Outcome
from rushlight.engine.folding import Folded
from rushlight.errors import Fenced, Retryable, Unavailable
from rushlight.events.envelope import now
from rushlight.store import bulk
from rushlight.store.database import Database, Document
from rushlight.store.positions import Position, Positions

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 60
FIRST_BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 1.0
MAX_COMMIT_MS = 10_000
DUPLICATE_KEY = 11000


class Work(NamedTuple):
    """What one transaction writes."""

    position: Position
    journal: list[RawBSONDocument]
    sources: Counter[str]
    folded: Sequence[Folded]
    projections: Sequence[str]
    outcomes: Sequence[Outcome]

    @classmethod
    def of(
        cls,
        position: Position,
        batch: Batch,
        folded: Sequence[Folded],
        journal: list[RawBSONDocument],
        projections: Sequence[str],
    ) -> Work:
        """A batch that has been folded."""
        sources = Counter(candidate.event.source for candidate in batch.accepted)
        return cls(position, journal, sources, folded, projections, batch.outcomes)


class Committer:
    """Commits for one owner of one partition, in one server session."""

    def __init__(self, database: Database, session: AsyncClientSession) -> None:
        self._database = database
        self._session = session
        self._positions = Positions(database)

    async def commit(self, before: Position, work: Work) -> None:
        """Move the partition from ``before`` to ``work.position``.

        Repeats passing failures; a result that is not known is looked up: only our own epoch with the next number
        means that it was committed.

        Raises:
            Fenced: a newer owner has the partition, or somebody else committed.
            Retryable: another partition has stored one of the events meanwhile; sort the batch again.
            Unavailable: MongoDB did not recover in time; the batch may or may not be committed.
        """
        backoff = FIRST_BACKOFF_SECONDS
        for _ in range(MAX_ATTEMPTS):
            try:
                await self._attempt(before, work)
                return
            except (BulkWriteError, DuplicateKeyError) as error:
                if not _is_duplicate_key(error):
                    raise
                raise Retryable(f"another partition stored one of these events meanwhile: {error}") from error
            except (Fenced, PyMongoError) as error:
                # Also when the fence did not match: an earlier attempt of ours may have been committed after all.
                if await self._is_committed(before):
                    return
                if isinstance(error, Fenced):
                    raise
                log.warning("commit of partition %d failed, trying again: %s", before.partition, error)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.5))
            backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)
        raise Unavailable(f"partition {before.partition}: MongoDB does not commit")

    async def _attempt(self, before: Position, work: Work) -> None:
        transaction = await self._session.start_transaction(
            read_concern=ReadConcern("local"),
            write_concern=WriteConcern("majority", j=True),
            max_commit_time_ms=MAX_COMMIT_MS,
        )
        async with transaction:
            await self._move(before, work)
            if work.journal:
                await self._database.journal.insert_many(work.journal, session=self._session)
            for collection, inserts, updates in work.folded:
                if inserts:
                    await collection.insert_many(inserts, ordered=False, session=self._session)
                await bulk.update(collection, updates, session=self._session)
            await self._account(before.partition, work)

    async def _move(self, before: Position, work: Work) -> None:
        after = work.position
        change: Document = {
            "n": after.n,
            "seq": after.seq,
            "generation": after.generation,
            "entry": after.entry,
            "committedAt": now(),
            **{f"projections.{name}": after.seq for name in work.projections},
        }
        fence = {"_id": before.partition, "epoch": before.epoch, "n": before.n}
        moved = await self._database.positions.update_one(fence, {"$set": change}, session=self._session)
        if not moved.matched_count:
            raise Fenced(f"partition {before.partition}: no longer at epoch {before.epoch}, commit {before.n}")

    async def _account(self, partition: int, work: Work) -> None:
        columns: dict[str, Counter[str]] = {source: Counter(stored=count) for source, count in work.sources.items()}
        documents = [_outcome_document(partition, outcome) for outcome in work.outcomes]
        for outcome in work.outcomes:
            if outcome.event is not None:
                columns.setdefault(outcome.event.source, Counter())[outcome.kind] += 1
        records = [{"q": {"_id": d.pop("_id")}, "u": {"$setOnInsert": d}, "upsert": True} for d in documents]
        await bulk.update(self._database.outcomes, bulk.encode(records), session=self._session)
        counts = [
            {
                "q": {"_id": f"{partition:02d}/{source}"},
                "u": {"$inc": dict(column), "$set": {"p": partition, "source": source}},
                "upsert": True,
            }
            for source, column in columns.items()
        ]
        await bulk.update(self._database.ledger, bulk.encode(counts), session=self._session)

    async def _is_committed(self, before: Position) -> bool:
        """Whether the attempt went through, by a majority read.

        Raises:
            Fenced: another epoch, or another commit than ours.
        """
        try:
            found = await self._positions.read(before.partition)
        except PyMongoError:
            return False
        if found is None or found.epoch != before.epoch:
            raise Fenced(f"partition {before.partition} has a newer owner")
        return found.n == before.n + 1


def _outcome_document(partition: int, outcome: Outcome) -> Document:
    document: Document = {"_id": outcome.origin, "p": partition, "kind": outcome.kind, "at": now()}
    event = outcome.event
    if event is not None:
        document |= {"eventId": event.id, "source": event.source, "shop": event.shop}
    if outcome.kind != "duplicate":
        document |= {"reason": outcome.reason[:500], "event": outcome.data.decode("utf-8", "replace")}
    if outcome.kind == "parked" and event is not None:
        document |= {"aggregateId": event.aggregate_id, "eventName": event.name}
        if event.version is not None:
            document["version"] = event.version
    return document


def _is_duplicate_key(error: BulkWriteError | DuplicateKeyError) -> bool:
    if isinstance(error, DuplicateKeyError):
        return True
    return any(row.get("code") == DUPLICATE_KEY for row in (error.details or {}).get("writeErrors", ()))


def next_position(before: Position, *, events: int, generation: str, entry: str) -> Position:
    """The position after one more commit."""
    return msgspec.structs.replace(before, n=before.n + 1, seq=before.seq + events, generation=generation, entry=entry)
