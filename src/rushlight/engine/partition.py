"""The one owner of a partition: takes what the stream brings and what the outbox has left, and commits it in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from rushlight.bus.broadcast import Broadcaster, Change
from rushlight.bus.stream import FIRST_ENTRY, Page, StreamReader
from rushlight.engine.batch import Aggregate, Batch, aggregate_of
from rushlight.engine.commit import Committer, Refused, Work, next_position
from rushlight.engine.figures import WORK
from rushlight.engine.folding import Poison
from rushlight.engine.lanes import Fold, Lanes
from rushlight.engine.parking import POLL_SECONDS, Errands, Parking
from rushlight.engine.people import Register
from rushlight.engine.sorter import Arrival, Sorter
from rushlight.engine.sweep import Sweep
from rushlight.errors import Rejected, Retryable, Unavailable
from rushlight.events.envelope import now
from rushlight.failpoints import at
from rushlight.logs import bind
from rushlight.store.clearing import Clearing
from rushlight.store.database import Database
from rushlight.store.journal import Journal, to_raw
from rushlight.store.outbox import ORIGIN, OutboxReader
from rushlight.store.positions import Position

log = logging.getLogger(__name__)

MAX_BATCH_EVENTS = 1000
# A page that does not come in time is asked for in smaller pieces: large events over a slow link.
MIN_PAGE_EVENTS = 10
# A transaction has to fit, several times over, what MongoDB keeps of uncommitted changes in its cache, or they push
# each other out. A large event is an order of many products, each with a document to be changed: it weighs more.
MAX_BATCH_BYTES = 1 << 20
LARGE_EVENT_BYTES = 2048
LARGE_EVENT_WEIGHT = 4
# Commits of one partition keep at least this distance, and more when much came at once: a busy stream then makes larger
# batches, in which more events meet in the same documents, not more of them. Where the machine is so busy that a page
# takes long, they keep more: much of what a commit costs is the same however much is in it.
COMMIT_INTERVAL_SECONDS = 0.08
BUSY_COMMIT_INTERVAL_SECONDS = 0.25
LONGEST_COMMIT_INTERVAL_SECONDS = 0.6
PAGE_SHARE = 1 / 4
BUSY_PAGE_EVENTS = 16
IDLE_BLOCK_SECONDS = 5.0
BUSY_SWEEP_SECONDS = 1.0
OUTAGE_SWEEP_SECONDS = 0.5
# The stream is about to bring younger entries; taking them from the outbox as well would only be work done twice.
LEFTOVER_AGE = timedelta(seconds=1)
TRIM_INTERVAL_SECONDS = 2.0
RETRY_SECONDS = 0.2
# Between two steps of catching up, for whoever else has work.
BREATH_SECONDS = 0.01


class Start(NamedTuple):
    """What an owner starts from: how far its partition has come, what is parked there, and what it folds."""

    position: Position
    parked: set[Aggregate]
    lanes: Lanes


class Shared(NamedTuple):
    """What the partitions of one worker have in common; ``turn`` is how many may commit at once."""

    broadcaster: Broadcaster
    clearing: Clearing
    turn: asyncio.Semaphore
    errands: Errands


class PartitionOwner:
    """Runs one partition under one lease, until it is cancelled, drained or fenced."""

    def __init__(
        self,
        database: Database,
        redis_url: str,
        shared: Shared,
        start: Start,
        session: AsyncClientSession,
    ) -> None:
        partition = start.position.partition
        self._position = start.position
        outbox = OutboxReader(database)
        self._sweep = Sweep(outbox, database.orders_gate, partition)
        self._reader = StreamReader(redis_url, partition)
        self._broadcaster, self._clearing, self._turn, self._errands = shared
        self._sorter = Sorter(partition, Journal(database, latest=True), outbox, start.parked)
        self._committer = Committer(database, session)
        self._lanes = start.lanes
        self._parking = Parking(database, partition)
        self._people = Register(database, partition, start.position.erased)
        self._stopping = asyncio.Event()
        self._page_events = MAX_BATCH_EVENTS
        self._last_commit = 0.0
        self._last_sweep = 0.0
        self._last_trim = 0.0
        self._outage = False
        self._idle = False
        self._backlog = False
        self._busy = False
        self._page_seconds = 0.0
        self._asked = False

    @property
    def outage(self) -> bool:
        """Whether the stream could not be read the last time."""
        return self._outage

    def stop(self) -> None:
        """Finish the batch in hand and return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Own the partition until `stop`.

        Raises:
            Fenced: a newer owner has it, or what was committed last is not known; whoever owns it next starts from
                the position.
        """
        bind(partition=self._position.partition)
        read: asyncio.Task[Page] | None = None
        news: asyncio.Task[Literal[True]] | None = None
        stop = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                read = read or asyncio.create_task(self._read())
                news = news or asyncio.create_task(self._lanes.changed.wait())
                timeout = min(self._due(), 0.0 if self._asked else POLL_SECONDS)
                await asyncio.wait({read, stop, news}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                done, read = (read, None) if read.done() else (None, read)
                news = None if news.done() else news
                try:
                    if done is not None:
                        await self._take_page(done)
                    if done is not None or self._sweep_due() <= 0:
                        await self._sweep_if_due()
                    await self._serve_requests()
                    self._position = await self._lanes.advance(self._position, self._committer)
                except (PyMongoError, Retryable) as error:
                    log.warning("partition %d waits for MongoDB: %s", self._position.partition, error)
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            await _finish(read, stop, news)
            await self._sweep.close()
            await self._reader.close()

    async def _read(self) -> Page:
        loop = asyncio.get_running_loop()
        interval = _busy_interval(self._page_seconds) if self._busy else COMMIT_INTERVAL_SECONDS
        delay = self._last_commit + interval - loop.time()
        if delay > 0:
            await asyncio.sleep(delay)
        block = IDLE_BLOCK_SECONDS if self._idle else BUSY_SWEEP_SECONDS
        return await self._reader.read(self._position.entry, count=self._page_events, block_seconds=block)

    async def _take_page(self, read: asyncio.Task[Page]) -> None:
        try:
            page = read.result()
        except Unavailable as error:
            if not self._outage:
                log.warning("partition %d works from the outbox: %s", self._position.partition, error)
            self._outage, self._idle = True, False
            self._page_events = max(MIN_PAGE_EVENTS, self._page_events // 2)
            await asyncio.sleep(RETRY_SECONDS)
            return
        self._outage = False
        self._idle = not page.entries
        self._backlog = len(page.entries) == self._page_events
        # A full page is behind already, and waits for nothing.
        self._busy = len(page.entries) >= BUSY_PAGE_EVENTS and not self._backlog
        self._page_events = min(MAX_BATCH_EVENTS, 2 * self._page_events)
        if page.generation != self._position.generation:
            await self._begin_generation(page.generation)
            return
        if page.entries:
            at("batch.read")
            begun = asyncio.get_running_loop().time()
            partition = self._position.partition
            arrived = [(f"s:{partition}:{entry.id}", entry.data) for entry in page.entries]
            for chunk in _chunks(arrived):
                await self._process(arrived[chunk], page.generation, page.entries[chunk.stop - 1].id)
            self._page_seconds = asyncio.get_running_loop().time() - begun
            await self._trim_if_due()

    async def _begin_generation(self, generation: str) -> None:
        """The stream was lost and begun anew: start from what is there; repeats are found out by their ids."""
        if self._position.generation:
            log.warning("partition %d: the stream was lost, reading it from its start", self._position.partition)
        at("generation.lost")
        await self._commit(Batch(), Fold([], []), [], generation, FIRST_ENTRY)
        at("generation.begun")

    def _due(self) -> float:
        """Seconds until there is something to do, if nothing comes."""
        return BREATH_SECONDS if self._lanes.has_work(self._position.seq) else self._sweep_due()

    def _sweep_due(self) -> float:
        interval = OUTAGE_SWEEP_SECONDS if self._outage else IDLE_BLOCK_SECONDS
        return max(0.0, self._last_sweep + interval - asyncio.get_running_loop().time())

    async def _sweep_if_due(self) -> None:
        """Take leftovers from the outbox: when the stream is drained, every 5 s at the latest, in an outage at once."""
        loop = asyncio.get_running_loop()
        drained = self._idle and loop.time() - self._last_sweep >= BUSY_SWEEP_SECONDS
        if not drained and self._sweep_due() > 0:
            return
        before = None if self._outage else self._stream_time() - LEFTOVER_AGE
        leftovers = await self._sweep.leftovers(before=before)
        at("sweep.read")
        arrived = [(f"{ORIGIN}{row.order_id}:{row.number}", row.data) for row in leftovers]
        for chunk in _chunks(arrived):
            await self._process(arrived[chunk], self._position.generation, self._position.entry)
        # Only now: if it failed, the next round tries again at once.
        self._last_sweep = loop.time()

    def _stream_time(self) -> datetime:
        """What was written before this moment has been read from the stream, if it ever came to stand there."""
        if not self._backlog:
            return now()
        return datetime.fromtimestamp(int(self._position.entry.partition("-")[0]) / 1000, UTC)

    async def _serve_requests(self) -> None:
        """Do a part of what is asked about parked events; the rest in the next rounds, between pages of the stream."""
        if not self._asked and not await self._errands.wait_for(self._position.partition):
            return
        try:
            batch = await self._settle_as(self._parking.next, self._position.generation, self._position.entry)
        except Refused as refused:
            log.warning("partition %d: a request about parked events: %s", self._position.partition, refused)
            self._parking.refused(str(refused), for_good=refused.for_good)
            return
        self._asked = bool(batch.tasks)
        self._parking.committed()

    async def _process(self, arrived: Sequence[Arrival], generation: str, entry: str) -> None:
        """Settle what arrived in one commit, or in ever smaller ones while MongoDB refuses it as a whole."""
        try:
            await self._settle(arrived, generation, entry)
        except Refused as refused:
            log.warning("partition %d: %d arrivals at once: %s", self._position.partition, len(arrived), refused)
            if len(arrived) > 1:
                middle = len(arrived) // 2
                await self._process(arrived[:middle], self._position.generation, self._position.entry)
                await self._process(arrived[middle:], generation, entry)
            elif refused.for_good:
                await self._settle(arrived, generation, entry, poison=str(refused))
            else:
                raise Unavailable(str(refused)) from refused

    async def _settle(self, arrived: Sequence[Arrival], generation: str, entry: str, *, poison: str = "") -> None:
        """Sort, fold and commit.

        Args:
            poison: why what is new among the arrivals is parked instead of accepted.
        """

        async def sort() -> Batch:
            batch = await self._sorter.sort(arrived)
            if poison:
                batch.park_all(poison)
            return batch

        await self._settle_as(sort, generation, entry)

    async def _settle_as(self, make: Callable[[], Awaitable[Batch]], generation: str, entry: str) -> Batch:
        only_live = False
        while True:
            batch = await make()
            await self._people.prepare(batch)
            at("batch.sorted")
            folded = Fold([], [])
            try:
                async with self._turn:
                    folded, journal = await self._fold(batch, only_live=only_live)
                    at("batch.folded")
                    await self._commit(batch, folded, journal, generation, entry)
            except Refused:
                # Nobody's event is parked for what only a generation that is being built makes of it: that one falls
                # behind, and stops there when it is caught up.
                if not folded.beside:
                    raise
                only_live = True
                continue
            except Retryable as error:
                log.warning("partition %d sorts a batch again: %s", self._position.partition, error)
                await asyncio.sleep(RETRY_SECONDS)
                await self._people.refresh()
                continue
            break
        await self._after_commit(batch)
        return batch

    async def _fold(self, batch: Batch, *, only_live: bool) -> tuple[Fold, list[RawBSONDocument]]:
        """Encode and fold the accepted events; those that cannot be are parked, with the later ones of theirs."""
        while True:
            journal = self._encode(batch)
            events = [candidate.event for candidate in batch.accepted]
            try:
                return await self._lanes.fold(events, self._position, only_live=only_live), journal
            except Poison as poison:
                first = next(index for index, event in enumerate(events) if event is poison.event)
                # All of them at once: a fold that refuses everything costs two passes, not one for each event.
                batch.park_refused(await self._lanes.refused(events, self._position) or {first: str(poison)})

    def _encode(self, batch: Batch) -> list[RawBSONDocument]:
        journal: list[RawBSONDocument] = []
        refused: dict[int, str] = {}
        spoilt: set[Aggregate] = set()
        for index, (event, _) in enumerate(batch.accepted):
            if aggregate_of(event) in spoilt:
                continue
            try:
                journal.append(to_raw(event, self._position.partition, self._position.seq + 1 + len(journal)))
            except Rejected as error:
                refused[index] = str(error)
                spoilt.add(aggregate_of(event))
        batch.park_refused(refused)
        return journal

    async def _commit(
        self, batch: Batch, fold: Fold, journal: list[RawBSONDocument], generation: str, entry: str
    ) -> None:
        before = self._position
        changed = batch.accepted or batch.outcomes or batch.tasks
        if not changed and (generation, entry) == (before.generation, before.entry):
            return
        after = next_position(before, events=len(batch.accepted), generation=generation, entry=entry)
        people = await self._people.tell(batch)
        with WORK.commit(len(batch.accepted) + len(batch.outcomes)):
            await self._committer.commit(before, Work.of(after, batch, fold.folded, journal, fold.names, people))
        at("batch.committed")
        self._position = after
        self._lanes.committed(fold.lanes, after.seq)
        self._last_commit = asyncio.get_running_loop().time()
        self._sorter.committed(batch)
        self._people.committed(people)

    async def _after_commit(self, batch: Batch) -> None:
        # A crash before the clearing is harmless: what is still in an outbox is found settled and cleared then.
        at("batch.remembered")
        self._clearing.add(batch.origins())
        at("batch.noted")
        if batch.accepted:
            shops = sorted({candidate.event.shop for candidate in batch.accepted})
            change = Change(self._position.partition, self._position.seq, shops)
            await self._broadcaster.committed(change, [(c.event.name, c.data) for c in batch.accepted])
            at("batch.told")

    async def _trim_if_due(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._last_trim < TRIM_INTERVAL_SECONDS:
            return
        self._last_trim = loop.time()
        at("trim.before")
        with suppress(Unavailable):
            await self._reader.trim(self._position.entry)
        at("trim.after")


def _busy_interval(page_seconds: float) -> float:
    """How long after a commit the next page is read, by how long the last page took."""
    return min(LONGEST_COMMIT_INTERVAL_SECONDS, max(BUSY_COMMIT_INTERVAL_SECONDS, page_seconds / PAGE_SHARE))


def _chunks(arrived: Sequence[Arrival]) -> Iterator[slice]:
    """Where to cut, so that no batch grows too large; every chunk has at least one arrival."""
    start, size = 0, 0
    for index, (_, data) in enumerate(arrived):
        weight = len(data) if len(data) <= LARGE_EVENT_BYTES else LARGE_EVENT_WEIGHT * len(data)
        if index > start and (index - start == MAX_BATCH_EVENTS or size + weight > MAX_BATCH_BYTES):
            yield slice(start, index)
            start, size = index, 0
        size += weight
    if arrived:
        yield slice(start, len(arrived))


async def _finish(*tasks: asyncio.Task[Any] | None) -> None:
    for task in tasks:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, Unavailable):
                await task
