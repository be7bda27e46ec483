"""What one commit is about: events for the journal, terminal records of others, and requests that it serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rushlight.events.envelope import Envelope
from rushlight.store.parking import Held, Request

FOLLOWS_PARKED = "an earlier event of the same aggregate is parked"
REPEATS_PARKED = "the same event is parked under another acknowledgement"
FOLLOWERS = (FOLLOWS_PARKED, REPEATS_PARKED)

Aggregate = tuple[str, str]


class Candidate(NamedTuple):
    """An event that may be new, with the bytes it came in."""

    event: Envelope
    data: bytes


class Outcome(NamedTuple):
    """Why an acknowledged event does not enter the journal: ``duplicate``, ``parked``, ``dropped``, ``unreadable``."""

    kind: str
    origin: str
    reason: str
    data: bytes
    event: Envelope | None


class Task(NamedTuple):
    """A request about parked events, as far as one commit serves it.

    Attributes:
        held: the records that this commit decides about, in their order.
        rest: how many more the aggregate has, which it does not touch.
    """

    request: Request
    aggregate: Aggregate | None
    held: list[Held]
    rest: int


@dataclass(slots=True)
class Batch:
    """One commit's work.

    Attributes:
        accepted: new events, in the order in which they enter the journal.
        outcomes: terminal records of the others.
        settled: origins that had their terminal record before; they only have to be cleared.
        tasks: requests that it serves: what it decides about their records changes these, and makes none.
        personal: what names a person, by the event's origin; it stands in no event and in no event's bytes.
    """

    accepted: list[Candidate] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    personal: dict[str, dict[str, Any]] = field(default_factory=dict)

    def park(self, candidate: Candidate, reason: str) -> None:
        """Set an event aside, in sight."""
        self.outcomes.append(_parked(candidate, reason))

    def park_refused(self, reasons: Mapping[int, str]) -> None:
        """Park accepted events and the later ones of their aggregates; the others stay.

        Args:
            reasons: why, by an event's place among the accepted.
        """
        if not reasons:
            return
        kept: list[Candidate] = []
        parked: list[Outcome] = []
        spoilt: set[Aggregate] = set()
        for index, candidate in enumerate(self.accepted):
            aggregate = aggregate_of(candidate.event)
            if aggregate in spoilt:
                parked.append(_parked(candidate, FOLLOWS_PARKED))
            elif index in reasons:
                parked.append(_parked(candidate, reasons[index]))
                spoilt.add(aggregate)
            else:
                kept.append(candidate)
        self.accepted[:] = kept
        # What was accepted so far came before all of its aggregate that is parked already.
        self.outcomes[:0] = parked
        self.park_repeats()

    def park_all(self, reason: str) -> None:
        """Park every accepted event."""
        self.outcomes[:0] = [_parked(candidate, reason) for candidate in self.accepted]
        self.accepted.clear()
        self.park_repeats()

    def park_repeats(self) -> None:
        """Park what would be a duplicate of something that is not stored, behind it."""
        parked = {o.event.id for o in self.outcomes if o.kind == "parked" and o.event is not None}
        repeats, others = list[Outcome](), list[Outcome]()
        for outcome in self.outcomes:
            repeated = outcome.kind == "duplicate" and outcome.event is not None and outcome.event.id in parked
            (repeats if repeated else others).append(outcome)
        self.outcomes[:] = [*others, *(repeat._replace(kind="parked", reason=REPEATS_PARKED) for repeat in repeats)]

    def replace(self, event: Envelope, data: bytes) -> None:
        """An event of the batch was changed: from now on these are its bytes."""
        self.accepted[:] = [Candidate(event, data) if c.event is event else c for c in self.accepted]
        self.outcomes[:] = [o._replace(data=data) if o.event is event else o for o in self.outcomes]

    def freed(self) -> set[Aggregate]:
        """The aggregates of which nothing is parked any more once this is committed."""
        staying = {outcome.origin for outcome in self.outcomes if outcome.kind == "parked"}
        return {
            task.aggregate
            for task in self.tasks
            if task.aggregate is not None and not task.rest and not any(held.origin in staying for held in task.held)
        }

    def origins(self) -> list[str]:
        """Every origin that this batch settles or found settled."""
        settled = [candidate.event.origin for candidate in self.accepted]
        return [*settled, *(outcome.origin for outcome in self.outcomes), *self.settled]


def _parked(candidate: Candidate, reason: str) -> Outcome:
    return Outcome("parked", candidate.event.origin, reason, candidate.data, candidate.event)


def aggregate_of(event: Envelope) -> Aggregate:
    """Whose order among events this one has to keep."""
    return event.shop, event.aggregate_id
