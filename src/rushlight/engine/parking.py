"""Turns what operators ask about parked events into batches of the partition's owner, and says what these change.

A batch of this kind decides about records that exist: an event that is stored now loses its record, a dropped one keeps
it under another kind, and counters, records and the requests themselves move in the same one transaction. A request
that needs several commits says in its document how far it has come; whoever owns the partition next goes on from there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from rushlight.engine.batch import FOLLOWERS, FOLLOWS_PARKED, Aggregate, Batch, Candidate, Outcome, Task
from rushlight.engine.sorter import check
from rushlight.errors import Rejected, Unavailable
from rushlight.events.envelope import decode, now
from rushlight.failpoints import at
from rushlight.store.accounts import account_of
from rushlight.store.database import Database, Document
from rushlight.store.journal import Journal
from rushlight.store.parking import Held, Records, Request, Requests, parked_fields

MAX_REASON_CHARACTERS = 500
MAX_TASKS = 100
MAX_EVENTS = 500
MAX_BYTES = 256 * 1024
POLL_SECONDS = 1.0
FEWER = 4
NOW_READABLE = "it can be read now: retry its aggregate"
FIELDS_OF_PARKED = (
    "event",
    "bytes",
    "partial",
    "reason",
    "aggregateId",
    "eventName",
    "version",
    "place",
    "attempts",
    "triedAt",
)


class Errands:
    """Tells the owners of one worker who of them has a request: one small question a second for all of them."""

    def __init__(self, database: Database) -> None:
        self._requests = Requests(database)
        self._due = 0.0
        self._partitions: set[int] = set()

    async def wait_for(self, partition: int) -> bool:
        """Whether there was a request for this partition when it was last asked.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        present = asyncio.get_running_loop().time()
        if present >= self._due:
            self._due = present + POLL_SECONDS
            self._partitions = await self._requests.partitions()
        return partition in self._partitions


class Parking:
    """Makes batches of what is asked of one partition's owner."""

    def __init__(self, database: Database, partition: int) -> None:
        self._partition = partition
        self._requests = Requests(database, latest=True)
        self._records = Records(database, latest=True)
        self._journal = Journal(database, latest=True)
        self._limit = MAX_EVENTS
        self._poison = ""

    async def next(self) -> Batch:
        """As much of the open requests as one commit takes; without tasks when there are none.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        batch, room, seen = Batch(), _Room(self._limit), set[Any]()
        for request in await self._requests.open(self._partition, limit=MAX_TASKS):
            if room.is_full:
                break
            task = await self._task(request, room)
            # Each record has one fate in a commit; who asks again about the same is told in the next.
            targets = {task.aggregate, *(held.origin for held in task.held)} - {None}
            if targets & seen:
                break
            seen |= targets
            batch.tasks.append(task)
            room.take(task)
            at("parking.read")
        await self._decide(batch)
        if self._poison:
            batch.park_all(self._poison)
        return batch

    def committed(self) -> None:
        """The last batch went through; the next may be larger again."""
        self._limit, self._poison = min(MAX_EVENTS, FEWER * self._limit), ""

    def refused(self, reason: str, *, for_good: bool) -> None:
        """MongoDB does not take the last batch: make the next one smaller, or keep its one event parked.

        Args:
            for_good: whether the same batch would be refused again.

        Raises:
            Unavailable: it is one event already, and may be taken later.
        """
        if self._limit > 1:
            self._limit = max(1, self._limit // FEWER)
        elif for_good:
            self._poison = reason
        else:
            raise Unavailable(reason)

    async def _task(self, request: Request, room: _Room) -> Task:
        wish = request.wish
        if wish.origin is not None:
            found = (await self._records.find([wish.origin])).get(wish.origin)
            aggregate = _aggregate_of(found) if found is not None else None
            # An event with an aggregate is retried in its order or not at all.
            if found is None or found.partition != self._partition or (aggregate and wish.kind == "retry"):
                return Task(request, None, [], 0)
            rest = await self._count(aggregate) - 1 if aggregate is not None else 0
            return Task(request, aggregate, [found], rest)
        aggregate = (wish.shop or "", wish.aggregate_id or "")
        held, more = await self._records.queue(self._partition, *aggregate, limit=room.events, max_bytes=room.bytes)
        return Task(request, aggregate, held, await self._count(aggregate) - len(held) if more else 0)

    async def _count(self, aggregate: Aggregate) -> int:
        return await self._records.count(self._partition, *aggregate)

    async def _decide(self, batch: Batch) -> None:
        """Candidates for the journal, in their order, and outcomes of what does not become one."""
        retried = [held for task in batch.tasks if task.request.wish.kind == "retry" for held in task.held]
        stored = await self._journal.origins([held.event_id for held in retried if held.event_id]) if retried else {}
        for task in batch.tasks:
            if task.request.wish.kind == "drop":
                batch.outcomes += [Outcome("dropped", held.origin, "", b"", None) for held in task.held]
            else:
                _retry(task.held, batch, stored, await self._missing(task))

    async def _missing(self, task: Task) -> str:
        """Why an order's versions cannot be retried in their order; empty if they can."""
        if task.aggregate is None or all(held.version is None for held in task.held):
            return ""
        origin = await self._records.unreadable_of(self._partition, task.aggregate[1])
        return f"a version is missing, as {origin} cannot be read: retry or drop that first" if origin else ""


class _Room:
    """How much one batch may still take."""

    def __init__(self, events: int) -> None:
        self.events = events
        self.bytes = MAX_BYTES

    @property
    def is_full(self) -> bool:
        return self.events <= 0 or self.bytes <= 0

    def take(self, task: Task) -> None:
        self.events -= len(task.held)
        self.bytes -= sum(held.size for held in task.held)


def _retry(queue: Sequence[Held], batch: Batch, stored: dict[str, str], missing: str) -> None:
    """Accept an aggregate's parked events one after another; behind the first that fails all stay.

    Args:
        stored: the origins of stored events, by id; those accepted here are added.
        missing: why none of them can be accepted yet, if so.
    """
    failed = False
    for held in queue:
        data = held.text.encode()
        if failed:
            batch.outcomes.append(Outcome(held.kind, held.origin, FOLLOWS_PARKED, data, None))
            continue
        try:
            if missing:
                raise Rejected(missing)
            candidate = _candidate(held, data)
        except Rejected as error:
            failed = True
            batch.outcomes.append(Outcome(held.kind, held.origin, str(error), data, None))
            continue
        event = candidate.event
        if held.aggregate_id is None:
            batch.outcomes.append(Outcome("parked", held.origin, NOW_READABLE, data, event))
        elif stored.setdefault(event.id, event.origin) != event.origin:
            batch.outcomes.append(Outcome("duplicate", event.origin, "", data, event))
        else:
            batch.accepted.append(candidate)


def _candidate(held: Held, data: bytes) -> Candidate:
    if not held.whole:
        raise Rejected(
            f"cannot be retried: of {held.size:,} bytes only a part was kept as text, so it can only be dropped"
        )
    event = decode(data)
    if event.origin != held.origin:
        raise Rejected(f"cannot be retried: it says that it is {event.origin[:100]!r}")
    check(event)
    return Candidate(event, data)


def _aggregate_of(held: Held) -> Aggregate | None:
    return (held.shop or "", held.aggregate_id) if held.aggregate_id is not None else None


class Moved(NamedTuple):
    """What a commit changes about records that exist already.

    Attributes:
        settled: origins whose events are in the journal now. records, requests: update statements.
        columns: what the ledger's counters change by, by source.
    """

    settled: list[str]
    records: list[Document]
    requests: list[Document]
    columns: dict[str, Counter[str]]


def moved(batch: Batch) -> Moved | None:
    """What a batch changes about records that exist; None when it serves no request."""
    if not batch.tasks:
        return None
    became = {candidate.event.origin: "stored" for candidate in batch.accepted}
    outcomes = {outcome.origin: outcome for outcome in batch.outcomes}
    became |= {origin: outcome.kind for origin, outcome in outcomes.items()}
    moves = Moved([], [], [], {})
    for task in batch.tasks:
        for held in task.held:
            kind = became[held.origin]
            if kind == "stored":
                moves.settled.append(held.origin)
            else:
                moves.records.append(_record(held, outcomes[held.origin], task.request))
            account = account_of(held.origin, held.source)
            if account is not None and kind != held.kind:
                column = moves.columns.setdefault(account, Counter())
                column[held.kind] -= 1
                column[kind] += kind != "stored"  # the journal's events are counted where they are written
        moves.requests.append(_answer(task, outcomes, Counter(became[held.origin] for held in task.held)))
    return moves


def _record(held: Held, outcome: Outcome, request: Request) -> Document:
    condition = {"_id": held.origin, "kind": held.kind}
    if outcome.kind == "dropped":
        by = {"dropReason": request.wish.reason[:MAX_REASON_CHARACTERS], "droppedBy": request.by, "droppedAt": now()}
        return {"q": condition, "u": {"$set": {"kind": "dropped", **by}}}
    if outcome.kind == "duplicate":
        return {"q": condition, "u": {"$set": {"kind": "duplicate"}, "$unset": dict.fromkeys(FIELDS_OF_PARKED, "")}}
    change: Document = {"reason": outcome.reason[:MAX_REASON_CHARACTERS]}
    if outcome.reason in FOLLOWERS:
        return {"q": condition, "u": {"$set": change}}
    if held.aggregate_id is None and outcome.event is not None:
        # From now on it stands in the queue of its aggregate, at the place where it came.
        change |= {"kind": "parked", **parked_fields(outcome.event)}
    return {"q": condition, "u": {"$set": {**change, "triedAt": now()}, "$inc": {"attempts": 1}}}


def _answer(task: Task, outcomes: dict[str, Outcome], counts: Counter[str]) -> Document:
    """How far the request has come: done when nothing is left to look at, or when what comes first stays parked."""
    staying = [
        outcomes[h.origin].reason for h in task.held if h.origin in outcomes and outcomes[h.origin].kind == h.kind
    ]
    whole = task.request.wish.origin is not None or not task.rest
    change: Document = {"$inc": {name: counts[name] for name in ("stored", "duplicate", "dropped")}}
    if whole or staying:
        why = next((reason for reason in staying if reason not in FOLLOWERS), staying[0] if staying else "")
        left = {"left": len(staying) + task.rest, "why": why[:MAX_REASON_CHARACTERS]}
        change["$set"] = {"state": "done", "doneAt": now(), **left}
    return {"q": {"_id": task.request.id, "state": "open"}, "u": change}
