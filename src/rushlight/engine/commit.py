"""One transaction a batch: position, journal, projections, outcomes, ledger. All or nothing, and only by the owner.

The position is written first: a second owner's transaction meets it and fails at once. Nothing is acknowledged to
Redis; the position is the acknowledgement.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from rushlight.engine.batch import Batch, Outcome
from rushlight.engine.folding import Folded
from rushlight.engine.parking import Moved, moved
from rushlight.engine.people import People
from rushlight.errors import Fenced, Retryable, in_short
from rushlight.events.envelope import now
from rushlight.failpoints import at
from rushlight.logs import redacted
from rushlight.store import bulk
from rushlight.store.accounts import account_of
from rushlight.store.database import Database, Document
from rushlight.store.parking import parked_fields
from rushlight.store.positions import Position, Positions

log = logging.getLogger(__name__)

# What is parked is kept whole, as far as one document holds it.
MAX_KEPT_BYTES = 15 << 20
# The places of one commit's parked events lie between those of the commit before and of the next.
PLACES_PER_COMMIT = 1 << 20
MAX_ATTEMPTS = 60
FIRST_BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 1.0
MAX_COMMIT_MS = 10_000
DUPLICATE_KEY = 11000
# A number that outgrew 64 bits, a document that outgrew 16 MiB: the same batch fails the same way for ever.
REFUSALS = frozenset({2, 15, 10334, 17280, 17419, 17420})
# A write failed for what has nothing to do with what was written: rights, time, locks, room.
CIRCUMSTANCES = frozenset({13, 24, 50, 202, 262, 365, 388, 14031})
# The server ended the transaction: it lived too long, or took too much of the cache.
GIVEN_UP = frozenset({112, 251, 290, 365, 388})
MAX_GIVEN_UP = 3


class Refused(Exception):
    """MongoDB does not take this batch as it is.

    Attributes:
        for_good: whether the same batch will fail the same way again; otherwise it was too much at once.
    """

    def __init__(self, reason: str, *, for_good: bool) -> None:
        # Kept and shown: what MongoDB says of a document quotes it.
        super().__init__(redacted(reason))
        self.for_good = for_good


class Work(NamedTuple):
    """What one transaction writes."""

    position: Position
    journal: list[RawBSONDocument]
    stored: Counter[str]
    folded: Sequence[Folded]
    projections: Mapping[str, int]
    outcomes: Sequence[Outcome]
    token: str
    moved: Moved | None = None
    people: People | None = None

    @classmethod
    def of(
        cls,
        position: Position,
        batch: Batch,
        folded: Sequence[Folded],
        journal: list[RawBSONDocument],
        projections: Sequence[str],
        people: People | None = None,
    ) -> Work:
        """A batch that has been folded, and what it tells about people."""
        sources = [account_of(event.origin, event.source) for event, _ in batch.accepted]
        stored = Counter(source for source in sources if source is not None)
        places = dict.fromkeys(projections, position.seq)
        changes = moved(batch)
        outcomes = [] if changes else batch.outcomes
        return cls(position, journal, stored, folded, places, outcomes, secrets.token_hex(8), changes, people)

    @classmethod
    def replay(cls, position: Position, folded: Folded, moved: Mapping[str, int]) -> Work:
        """What some of the journal, which is there already, makes of one generation that was behind.

        Args:
            moved: how far it has come then, by its name in the position.
        """
        return cls(position, [], Counter(), [folded], moved, (), secrets.token_hex(8))


class Committer:
    """Commits for one owner of one partition, in one server session."""

    def __init__(self, database: Database, session: AsyncClientSession) -> None:
        self._database = database
        self._session = session
        self._positions = Positions(database)

    async def commit(self, before: Position, work: Work) -> None:
        """Move the partition from ``before`` to ``work.position``.

        Repeats passing failures; a result that is not known is looked up: only our own epoch with the next number and
        this commit's own token means that it was committed.

        Raises:
            Fenced: a newer owner has the partition, or whether this was committed did not become known in time; in
                either case what stands in the position counts, not what we remember.
            Retryable: another partition has stored one of the events meanwhile, or somebody was erased; sort the
                batch again. Nothing was committed.
            Refused: the batch cannot be committed as it is. Nothing was committed.
        """
        backoff, given_up = FIRST_BACKOFF_SECONDS, 0
        for _ in range(MAX_ATTEMPTS):
            try:
                await self._attempt(before, work)
                return
            except (BSONError, OverflowError) as error:
                raise Refused(str(error), for_good=True) from error
            except (Fenced, PyMongoError) as error:
                _raise_if_final(error)
                # Also when the fence did not match: an earlier attempt of ours may have been committed after all, or
                # have moved the position where the majority does not see it yet.
                if await self._is_committed(before, work.token):
                    return
                log.warning("commit of partition %d failed, trying again: %s", before.partition, in_short(error))
                given_up += bool(_codes(error) & GIVEN_UP)
            if given_up == MAX_GIVEN_UP:
                raise Refused("the transaction takes too long or too much room", for_good=False)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.5))
            backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)
        raise Fenced(f"partition {before.partition}: MongoDB does not commit; going on from what it has")

    async def _attempt(self, before: Position, work: Work) -> None:
        transaction = await self._session.start_transaction(
            read_concern=ReadConcern("local"),
            write_concern=WriteConcern("majority", j=True),
            max_commit_time_ms=MAX_COMMIT_MS,
        )
        async with transaction:
            at("commit.begun")
            await self._move(before, work)
            at("commit.position")
            if work.journal:
                await self._database.journal.insert_many(work.journal, session=self._session)
            at("commit.journal")
            for collection, inserts, updates in work.folded:
                if inserts:
                    await collection.insert_many(inserts, ordered=False, session=self._session)
                await bulk.update(collection, updates, session=self._session)
            at("commit.projections")
            if work.people is not None:
                await self._tell(work.people)
            at("commit.people")
            await self._account(before.partition, work)
            at("commit.ledger")

    async def _move(self, before: Position, work: Work) -> None:
        after = work.position
        change: Document = {
            "n": after.n,
            "seq": after.seq,
            "generation": after.generation,
            "entry": after.entry,
            "commit": work.token,
            "committedAt": now(),
            **{f"projections.{name}": seq for name, seq in work.projections.items()},
        }
        fence = {"_id": before.partition, "epoch": before.epoch, "n": before.n}
        moved = await self._database.positions.find_one_and_update(
            fence, {"$set": change}, projection={"erased": 1}, session=self._session
        )
        if moved is None:
            raise Fenced(f"partition {before.partition}: no longer at epoch {before.epoch}, commit {before.n}")
        # Who erases somebody writes the position after the tombstone: from then on each commit either knows of it, or
        # fails here; what was committed before is there to be deleted.
        if work.people is not None and moved.get("erased") != work.people.erased:
            raise Retryable("somebody was erased meanwhile")

    async def _tell(self, people: People) -> None:
        subjects = self._database.subjects
        await bulk.update(subjects, people.updates, session=self._session)
        if people.gone:
            await subjects.delete_many({"_id": {"$in": people.gone}}, session=self._session)
        await bulk.update(self._database.erased, people.tombstones, session=self._session)

    async def _account(self, partition: int, work: Work) -> None:
        columns: dict[str, Counter[str]] = {source: Counter(stored=count) for source, count in work.stored.items()}
        first = work.position.n * PLACES_PER_COMMIT
        documents = [_outcome_document(partition, place, o) for place, o in enumerate(work.outcomes, first)]
        for outcome in work.outcomes:
            source = account_of(outcome.origin, outcome.event.source if outcome.event else "")
            if source is not None:
                columns.setdefault(source, Counter())[outcome.kind] += 1
        if work.moved is not None:
            await self._change(work.moved)
            at("commit.parking")
            for source, column in work.moved.columns.items():
                columns.setdefault(source, Counter()).update(column)
        records = [{"q": {"_id": d.pop("_id")}, "u": {"$setOnInsert": d}, "upsert": True} for d in documents]
        await bulk.update(self._database.outcomes, bulk.encode(records), session=self._session)
        at("commit.outcomes")
        counts = [
            {
                "q": {"_id": f"{partition:02d}/{source}"},
                "u": {"$inc": dict(column), "$set": {"p": partition, "source": source}},
                "upsert": True,
            }
            for source, column in columns.items()
        ]
        await bulk.update(self._database.ledger, bulk.encode(counts), session=self._session)

    async def _change(self, moves: Moved) -> None:
        """Take out and change records of earlier commits; the requests that asked for it say so."""
        outcomes = self._database.outcomes
        gone = await outcomes.delete_many({"_id": {"$in": moves.settled}}, session=self._session)
        changed = await bulk.update(outcomes, bulk.encode(moves.records), session=self._session)
        answered = await bulk.update(self._database.requests, bulk.encode(moves.requests), session=self._session)
        expected = [len(moves.settled), len(moves.records), len(moves.requests)]
        if [gone.deleted_count, changed, answered] != expected:
            raise Retryable("parked events were changed by somebody else meanwhile")

    async def _is_committed(self, before: Position, token: str) -> bool:
        """Whether an attempt went through, by a majority read; False when it did not, or not yet, or is not known.

        Raises:
            Fenced: another epoch, or another commit than ours.
        """
        try:
            found = await self._positions.read(before.partition)
        except PyMongoError:
            return False
        if found is None or found.epoch != before.epoch:
            raise Fenced(f"partition {before.partition} has a newer owner")
        if found.n == before.n:
            return False
        if found.n == before.n + 1 and found.commit == token:
            return True
        raise Fenced(f"partition {before.partition} was moved on from commit {before.n} without us")


def _outcome_document(partition: int, place: int, outcome: Outcome) -> Document:
    document: Document = {"_id": outcome.origin, "p": partition, "kind": outcome.kind, "at": now()}
    event = outcome.event
    if event is not None:
        document |= {"eventId": event.id, "source": event.source, "shop": event.shop}
    if outcome.kind != "duplicate":
        text = outcome.data[:MAX_KEPT_BYTES].decode("utf-8", "replace")
        document |= {"place": place, "reason": outcome.reason[:500], "event": text, "bytes": len(outcome.data)}
        if text.encode() != outcome.data:
            document["partial"] = True
    if outcome.kind == "parked" and event is not None:
        document |= parked_fields(event)
    return document


def _codes(error: Exception) -> set[int]:
    if isinstance(error, BulkWriteError):
        return {row["code"] for row in (error.details or {}).get("writeErrors", ()) if "code" in row}
    return {error.code} if isinstance(error, OperationFailure) and error.code is not None else set()


def _raise_if_final(error: Exception) -> None:
    """Raise what repeating the same transaction would not change.

    A writing that the server refused was refused inside a transaction whose fence had matched: no earlier attempt was
    committed either.
    """
    codes = _codes(error)
    if isinstance(error, DuplicateKeyError) or DUPLICATE_KEY in codes:
        raise Retryable(f"another partition stored one of these events meanwhile: {in_short(error)}") from error
    if codes & REFUSALS or (isinstance(error, BulkWriteError) and not codes & CIRCUMSTANCES):
        raise Refused(in_short(error), for_good=True) from error


def next_position(before: Position, *, events: int, generation: str, entry: str) -> Position:
    """The position after one more commit."""
    return msgspec.structs.replace(before, n=before.n + 1, seq=before.seq + events, generation=generation, entry=entry)
