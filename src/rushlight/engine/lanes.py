"""The generations that one partition's owner folds: in its commits, and before that from the journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec
from pymongo.errors import PyMongoError

from rushlight.engine.batch import Aggregate, aggregate_of
from rushlight.engine.commit import Committer, Refused, Work
from rushlight.engine.folding import Folded, Folder, Poison, Trial
from rushlight.errors import Rejected
from rushlight.events.envelope import Envelope
from rushlight.events.upcasting import upcast
from rushlight.failpoints import at
from rushlight.projections.keys import document_id, prefix_range
from rushlight.projections.projection import Projection
from rushlight.store.database import Database, Document
from rushlight.store.generations import Generation, Generations, Known, Stop, seq_name
from rushlight.store.journal import Journal, to_envelope
from rushlight.store.positions import Position

log = logging.getLogger(__name__)

# Below the least, a step costs what its transaction costs, however slow the machine.
LEAST_STEP_EVENTS, MAX_STEP_EVENTS = 250, 1000
# A page of the stream that comes meanwhile waits for about so long.
STEP_SECONDS = 0.1
CLEAN_STEP_DOCUMENTS = 1000


class Lane:
    """One generation of one projection in one partition.

    Attributes:
        seq: the last event of the journal that it has folded. stopped: it cannot fold the next one.
    """

    def __init__(self, folder: Folder, projection: Projection, number: int, seq: int) -> None:
        self.folder = folder
        self.projection = projection
        self.number = number
        self.seq = seq
        self.live = False
        self.stopped = False
        self.step_events = LEAST_STEP_EVENTS

    @property
    def key(self) -> str:
        """Its name in the position."""
        return self.folder.name


class Fold(NamedTuple):
    """What a batch makes of the generations that move with it."""

    folded: list[Folded]
    lanes: list[Lane]

    @property
    def beside(self) -> bool:
        """Whether there is one among them that nobody reads yet."""
        return any(not lane.live for lane in self.lanes)

    @property
    def names(self) -> list[str]:
        """Under which their seqs stand in the position."""
        return [lane.key for lane in self.lanes]


class Lanes:
    """All generations of one partition, for its owner.

    Attributes:
        changed: set when there may be something to do.
    """

    def __init__(
        self,
        database: Database,
        projections: Mapping[str, Projection],
        generations: Generations,
        turn: asyncio.Semaphore,
        position: Position,
    ) -> None:
        self._database = database
        self._projections = projections
        self._generations = generations
        self._turn = turn
        self._partition = position.partition
        self._journal = Journal(database, latest=True)
        # The keys that stand in the position; only the partition's owner adds and removes some.
        self._seqs = dict(position.projections)
        self._lanes: dict[str, Lane] = {}
        self._known = Known()
        self.changed = asyncio.Event()

    def learn(self, known: Known) -> None:
        """Take note of what exists now."""
        lanes: dict[str, Lane] = {}
        for name in known.generations:
            for number, generation in known.of(name).items():
                key = seq_name(name, number)
                ours = name in self._projections and self._projections[name].version == generation.version
                if ours and generation.state != "retired":
                    lanes[key] = self._learned(key, name, number, generation)
        self._lanes, self._known = lanes, known
        self.changed.set()

    def _learned(self, key: str, name: str, number: int, generation: Generation) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            projection = self._projections[name]
            folder = Folder(self._database, projection, number, self._partition)
            lane = Lane(folder, projection, number, self._seqs.get(key, 0))
        flipped = not lane.live and generation.state == "live"
        lane.live = generation.state == "live"
        # Somebody has taken the stop back, or it has become what readers wait for: try again.
        lane.stopped = lane.stopped and not flipped and str(self._partition) in generation.stopped
        return lane

    def has_work(self, seq: int) -> bool:
        """Whether something is behind the journal's end, or left over from a generation that was given up."""
        return any(lane.seq < seq and not lane.stopped for lane in self._lanes.values()) or bool(self._leftovers())

    async def fold(self, events: Sequence[Envelope], position: Position, *, only_live: bool = False) -> Fold:
        """Fold events that take the next places into every generation that has reached the journal's end.

        Args:
            only_live: leave out those that are being built; they fall behind.

        Raises:
            Poison: a live generation cannot fold an event. One that is being built falls behind instead, and stops
                before that event when it is caught up.
        """
        current = [upcast(event) for event in events]
        lanes = [lane for lane in self._lanes.values() if lane.seq == position.seq and (lane.live or not only_live)]
        results = await asyncio.gather(
            *(lane.folder.fold(current, position.seq + 1) for lane in lanes), return_exceptions=True
        )
        folded, moved = [], []
        for lane, result in zip(lanes, results, strict=True):
            if isinstance(result, Poison):
                if lane.live:
                    place = next(index for index, event in enumerate(current) if event is result.event)
                    raise Poison(events[place], result.error) from result
            elif isinstance(result, BaseException):
                raise result
            else:
                folded.append(result)
                moved.append(lane)
        return Fold(folded, moved)

    async def refused(self, events: Sequence[Envelope], position: Position) -> dict[int, str]:
        """All events of a batch that a live generation cannot fold, found in one pass over it.

        Each is tried on what those before it have made, without those that failed and what follows them in their
        aggregates.

        Returns:
            By its place in the batch, why.
        """
        lanes = [lane for lane in self._lanes.values() if lane.seq == position.seq and lane.live]
        current = [upcast(event) for event in events]
        trials = await asyncio.gather(*(lane.folder.trial(current) for lane in lanes))
        found: dict[int, str] = {}
        spoilt: set[Aggregate] = set()
        seq = position.seq + 1
        for index, event in enumerate(current):
            if aggregate_of(event) in spoilt:
                continue
            try:
                for trial in trials:
                    trial.fold(event, seq)
                seq += 1
            except Poison as poison:
                _take_back(trials, trial)
                found[index] = str(poison)
                spoilt.add(aggregate_of(event))
        return found

    def committed(self, moved: Sequence[Lane], seq: int) -> None:
        """Take note of a commit."""
        for lane in moved:
            lane.seq = self._seqs[lane.key] = seq

    async def advance(self, position: Position, committer: Committer) -> Position:
        """One bounded step: fold some of the journal into a generation that is behind, or clean some up.

        Returns:
            The position after it; the same where there was nothing to do, or no turn.

        Raises:
            Fenced, PyMongoError: as in a commit.
        """
        self.changed.clear()
        if self._turn.locked():
            return position
        async with self._turn:
            behind = [lane for lane in self._lanes.values() if lane.seq < position.seq and not lane.stopped]
            if behind:
                # What readers wait for comes first.
                return await self._catch_up(
                    min(behind, key=lambda lane: (not lane.live, lane.seq)), position, committer
                )
            if leftovers := self._leftovers():
                await self._clean(*leftovers[0], position)
        return position

    async def _catch_up(self, lane: Lane, position: Position, committer: Committer) -> Position:
        loop = asyncio.get_running_loop()
        began = loop.time()
        to = min(position.seq, lane.seq + lane.step_events)
        documents = await self._journal.replay(self._partition, after=lane.seq, to=to, names=lane.projection.events)
        try:
            at("replay.read")
            folded = await lane.folder.fold_places(_places(documents))
            after = msgspec.structs.replace(position, n=position.n + 1)
            await committer.commit(position, Work.replay(after, folded, {lane.key: to}))
        except (Poison, Refused) as error:
            await self._narrow(lane, to, error, documents)
            return position
        at("replay.committed")
        self.committed([lane], to)
        await self._take_back_stop(lane)
        lane.step_events = _next_step(lane.step_events, loop.time() - began)
        return after

    async def _narrow(self, lane: Lane, to: int, error: Poison | Refused, documents: Sequence[Document]) -> None:
        """A step failed: take half of it, until the one event is found before which the generation has to stop."""
        if to > lane.seq + 1:
            lane.step_events = max(1, (to - lane.seq) // 2)
        elif isinstance(error, Poison) or error.for_good:
            lane.stopped = True
            event = to_envelope(documents[-1])
            stop = Stop(
                seq=to, event_id=event.id, event_name=event.name, aggregate_id=event.aggregate_id, reason=str(error)
            )
            log.error(
                "partition %d: %s stops before event %s (%s of %s, place %d): %s",
                self._partition, lane.key, event.id, event.name, event.aggregate_id, to, error,
            )  # fmt: skip
            try:
                await self._generations.stop(lane.projection.name, lane.number, self._partition, stop)
            except BaseException:
                lane.stopped = False  # nobody was told: it comes to the same event again, and says so
                raise

    async def _take_back_stop(self, lane: Lane) -> None:
        """It has gone on after all."""
        known = self._known.of(lane.projection.name).get(lane.number)
        if known is not None and str(self._partition) in known.stopped:
            with suppress(PyMongoError):  # the step stands; the next one says so again
                await self._generations.stop(lane.projection.name, lane.number, self._partition, None)

    def _leftovers(self) -> list[tuple[str, int]]:
        places = [(name, int(number)) for name, _, number in (key.rpartition("_") for key in self._seqs)]
        return [(name, number) for name, number in places if self._known.is_given_up(name, number)]

    async def _clean(self, name: str, number: int, position: Position) -> None:
        """Delete some of a retired generation's documents here; when there are none left, its place in the position.

        A crash in between leaves that place, and so the rest for the next owner.
        """
        collection = self._database.projection(name)
        prefix = document_id(number, self._partition, "")
        found = collection.find({"_id": prefix_range(prefix)}, {"_id": 1}).limit(CLEAN_STEP_DOCUMENTS)
        ids = [document["_id"] async for document in found]
        if ids:
            await collection.delete_many({"_id": {"$in": ids}})
            at("replay.deleted")
            return
        at("replay.deleting")
        key = seq_name(name, number)
        fence = {"_id": self._partition, "epoch": position.epoch}
        await self._database.positions.update_one(fence, {"$unset": {f"projections.{key}": ""}})
        self._seqs.pop(key, None)


def _take_back(trials: Sequence[Trial], last: Trial) -> None:
    for trial in trials:
        trial.undo()
        if trial is last:
            return


def _places(documents: Sequence[Document]) -> list[tuple[int, Envelope]]:
    placed = []
    for document in documents:
        event = to_envelope(document)
        try:
            placed.append((document["seq"], upcast(event)))
        except Rejected as error:  # it was stored by code that knew more
            raise Poison(event, error) from error
    return placed


def _next_step(events: int, seconds: float) -> int:
    if events < LEAST_STEP_EVENTS or seconds < STEP_SECONDS:
        return min(MAX_STEP_EVENTS, 2 * events)
    return max(LEAST_STEP_EVENTS, events // 2) if seconds > 2 * STEP_SECONDS else events
