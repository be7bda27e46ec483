"""Sorts what came for a partition into what is new, what is a repeat and what is poison, and restores the order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from rushlight.engine.batch import FOLLOWS_PARKED, Aggregate, Batch, Candidate, Outcome, aggregate_of
from rushlight.engine.people import without_personal
from rushlight.errors import Rejected
from rushlight.events.envelope import Envelope, decode
from rushlight.events.event import event_type, validate
from rushlight.events.upcasting import upcast
from rushlight.failpoints import at
from rushlight.store.apart import OrdersUnreachable
from rushlight.store.journal import Journal
from rushlight.store.outbox import ORIGIN, OutboxReader

MAX_REMEMBERED_VERSIONS = 20_000

# Bytes that came, under a name for the case that they cannot be read: their place in the stream, or the origin.
Arrival = tuple[str, bytes]


class _Seen:
    """What one batch has met so far, so that nothing gets two terminal records, wherever it came from twice."""

    def __init__(self) -> None:
        self.origins: set[str] = set()
        self.holders: dict[str, str] = {}


class Sorter:
    """Makes batches for the partition's one owner, and remembers the versions and parked aggregates it has seen."""

    def __init__(self, partition: int, journal: Journal, outbox: OutboxReader, parked: set[Aggregate]) -> None:
        self._partition = partition
        self._journal = journal
        self._outbox = outbox
        self._parked = parked
        self._versions: OrderedDict[Aggregate, int] = OrderedDict()

    async def sort(self, arrived: Sequence[Arrival]) -> Batch:
        """Decide about each arrival."""
        batch, seen = Batch(), _Seen()
        fresh = await self._fresh(arrived, batch, seen)
        newly_parked: set[Aggregate] = set()
        for candidate in await self._in_order(fresh, batch, seen):
            self._admit(candidate, batch, newly_parked)
        batch.park_repeats()
        return batch

    def committed(self, batch: Batch) -> None:
        """Remember what a committed batch established."""
        self._parked -= batch.freed()
        for event, _ in batch.accepted:
            self._remember(event)
        for outcome in batch.outcomes:
            if outcome.event is not None:
                self._remember(outcome.event)
                if outcome.kind == "parked":
                    self._parked.add(aggregate_of(outcome.event))

    async def _fresh(self, arrived: Sequence[Arrival], batch: Batch, seen: _Seen) -> list[Candidate]:
        """Those that can be read and have no terminal record yet; the others get theirs."""
        candidates, unreadable = _decoded(arrived)
        candidates = [without_personal(candidate, batch.personal) for candidate in candidates]
        await self._end_unreadable(unreadable, batch, seen)
        return await self._without_repeats(candidates, batch, seen)

    async def _end_unreadable(self, unreadable: list[Outcome], batch: Batch, seen: _Seen) -> None:
        if not unreadable:
            return
        ended = await self._journal.outcomes([outcome.origin for outcome in unreadable])
        for outcome in unreadable:
            if outcome.origin in ended:
                batch.settled.append(outcome.origin)
            elif outcome.origin not in seen.origins:
                batch.outcomes.append(outcome)
            seen.origins.add(outcome.origin)

    async def _without_repeats(self, candidates: list[Candidate], batch: Batch, seen: _Seen) -> list[Candidate]:
        if not candidates:
            return []
        stored = await self._journal.origins([event.id for event, _ in candidates])
        ended = await self._journal.outcomes([event.origin for event, _ in candidates])
        fresh = []
        for candidate in candidates:
            event = candidate.event
            if event.origin in seen.origins:  # one acknowledgement that came twice
                continue
            seen.origins.add(event.origin)
            holder = stored.get(event.id) or seen.holders.get(event.id)
            if event.origin in ended or holder == event.origin:
                batch.settled.append(event.origin)
            elif holder:
                batch.outcomes.append(Outcome("duplicate", event.origin, "", candidate.data, event))
            else:
                seen.holders[event.id] = event.origin
                fresh.append(candidate)
        return fresh

    async def _in_order(self, fresh: list[Candidate], batch: Batch, seen: _Seen) -> list[Candidate]:
        """Each aggregate's versions ascending, and those that the stream has not brought yet from the outbox."""
        queues: dict[Aggregate, list[Candidate]] = {}
        for candidate in fresh:
            if candidate.event.version is not None:
                queues.setdefault(aggregate_of(candidate.event), []).append(candidate)
        if not queues:
            return fresh
        await self._fill_gaps(queues, batch, seen)
        for queue in queues.values():
            queue.sort(key=_version, reverse=True)
        ordered = []
        for candidate in fresh:
            if candidate.event.version is None:
                ordered.append(candidate)
                continue
            queue = queues[aggregate_of(candidate.event)]
            while queue and _version(queue[-1]) <= candidate.event.version:
                ordered.append(queue.pop())
        return ordered

    async def _fill_gaps(self, queues: dict[Aggregate, list[Candidate]], batch: Batch, seen: _Seen) -> None:
        known = await self._known_versions(queues)
        gaps = [
            aggregate
            for aggregate, queue in queues.items()
            if sorted(map(_version, queue)) != list(range(known[aggregate] + 1, known[aggregate] + 1 + len(queue)))
        ]
        if not gaps:
            return
        try:
            leftovers = await self._outbox.of_orders([aggregate_id for _, aggregate_id in gaps], self._partition)
        except OrdersUnreachable:
            # What is between them cannot be had now. Each of them lies in an outbox too, and a sweep brings all of
            # them in order; the others need not wait.
            for aggregate in gaps:
                queues[aggregate][:] = [c for c in queues[aggregate] if not c.event.origin.startswith(ORIGIN)]
            return
        at("gap.read")
        arrived = [(f"{ORIGIN}{row.order_id}:{row.number}", row.data) for row in leftovers]
        for candidate in await self._fresh(arrived, batch, seen):
            aggregate = aggregate_of(candidate.event)
            if candidate.event.version is not None and aggregate in queues:
                queues[aggregate].append(candidate)

    async def _known_versions(self, queues: dict[Aggregate, list[Candidate]]) -> dict[Aggregate, int]:
        known = {aggregate: self._versions.get(aggregate, 0) for aggregate in queues}
        # A queue that begins at version 1 has nothing before it; the others may follow what was stored long ago.
        unknown = [a for a, queue in queues.items() if not known[a] and min(map(_version, queue)) > 1]
        if unknown:
            stored = await self._journal.versions([aggregate_id for _, aggregate_id in unknown])
            known.update({aggregate: stored.get(aggregate, 0) for aggregate in unknown})
        return known

    def _admit(self, candidate: Candidate, batch: Batch, newly_parked: set[Aggregate]) -> None:
        event = candidate.event
        aggregate = aggregate_of(event)
        if aggregate in self._parked or aggregate in newly_parked:
            batch.park(candidate, FOLLOWS_PARKED)
            return
        try:
            check(event)
        except Rejected as error:
            newly_parked.add(aggregate)
            batch.park(candidate, str(error))
        else:
            batch.accepted.append(candidate)

    def _remember(self, event: Envelope) -> None:
        if event.version is None:
            return
        aggregate = aggregate_of(event)
        self._versions[aggregate] = max(event.version, self._versions.pop(aggregate, 0))
        if len(self._versions) > MAX_REMEMBERED_VERSIONS:
            self._versions.popitem(last=False)


def _decoded(arrived: Sequence[Arrival]) -> tuple[list[Candidate], list[Outcome]]:
    candidates, unreadable = [], []
    for name, data in arrived:
        try:
            candidates.append(Candidate(decode(data), data))
        except Rejected as error:
            # What an outbox acknowledged is parked in sight; nobody knows who acknowledged what a stream garbled.
            kind = "parked" if name.startswith(ORIGIN) else "unreadable"
            unreadable.append(Outcome(kind, name, str(error), data, None))
    return candidates, unreadable


def check(event: Envelope) -> None:
    """Whether this code can make something of an event.

    Raises:
        Rejected: its payload is not what its name declares, or newer than this code.
    """
    declared = event_type(event.name)
    if declared is None:
        return
    validate(declared, upcast(event).payload)


def _version(candidate: Candidate) -> int:
    return candidate.event.version or 0
