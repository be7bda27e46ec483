"""One reaction in one partition: reads the journal, calls the handler, and knows up to where everything is handled.

Events of one aggregate are handled one after another, those of different aggregates beside each other. An aggregate
whose call failed is held: its failure is written down first, then the position goes past it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TypeVar

from bson import Timestamp
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from rushlight.engine.calling import CallFailed, call, pause_of
from rushlight.engine.subscription import Subscription
from rushlight.engine.tracking import Held, Lane, Track
from rushlight.errors import Fenced
from rushlight.events.envelope import Envelope
from rushlight.store.database import Database, Document
from rushlight.store.held import PARKED, RETRYING, Failed, HeldAggregates, Key
from rushlight.store.journal import Journal, to_envelope
from rushlight.store.subscriptions import Place, Progress

log = logging.getLogger(__name__)
T = TypeVar("T")

# So many places of the journal are looked through at once, and so many events may be read and not yet behind the
# position: what is handled again after a crash is bounded by it.
WINDOW_PLACES = 5000
WINDOW_EVENTS = 500
# With so many aggregates between their attempts something is wrong with all of them: no more are begun.
MAX_RETRYING = 50
PAGE_OF_ONE = 50
MONGO_RETRY_SECONDS = 0.5
REREAD_SECONDS = 0.1


class _Stopped(Exception):
    """There was no time left to begin a call."""


class Reacting:
    """Runs a subscription in the partition of a place, from its position on, until `stop`, or until it is fenced.

    Args:
        is_mine: whether this process may still begin a call; False once its lease may be another's.
    """

    def __init__(
        self, database: Database, subscription: Subscription, place: Place, is_mine: Callable[[], bool]
    ) -> None:
        self.place = place
        self._database = database
        self._subscription = subscription
        self._is_mine = is_mine
        self._lost = False
        self._journal = Journal(database)
        self._held_store = HeldAggregates(database, place.name, place.partition, place.epoch)
        self._held: dict[Key, Held] = {}
        self._track = Track(place.seq)
        self._lanes: dict[Key, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(subscription.concurrency)
        self._end = place.seq
        self._seen: Timestamp | None = None
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._stopping = False
        self._broken: BaseException | None = None
        self._handled = 0
        self._saved = Progress(place, place.seq, 0)

    def reach(self, end: int, seen: Timestamp) -> None:
        """The journal of the partition goes up to here, as was seen at this time of the server's log."""
        self._seen = seen if self._seen is None else max(self._seen, seen)
        if end > self._end:
            self._end = end
            self._wake.set()

    def lose(self) -> None:
        """The place is another's: begin no call any more."""
        self._lost = True

    def stop(self) -> None:
        """Begin no more calls; `run` returns when those that run have ended."""
        self._stopping = True
        self._wake.set()
        self._room.set()

    @property
    def progress(self) -> Progress | None:
        """What there is to save since it was saved last; None when there is nothing."""
        new = Progress(self.place, self._track.seq, self._handled - self._saved.handled)
        return new if new.seq != self._saved.seq or new.handled else None

    def saved(self, progress: Progress) -> None:
        """This much is saved."""
        self._saved = Progress(self.place, progress.seq, self._saved.handled + progress.handled)

    async def run(self) -> None:
        """Read and handle until `stop`; the calls that run then are waited for.

        Raises:
            Fenced: another owner has the place.
        """
        try:
            self._held = {key: Held(state) for key, state in (await self._patiently(self._held_store.all)).items()}
            while not self._stopping:
                if self._broken is not None:
                    raise self._broken
                if not await self._read():
                    await self._wake.wait()
                self._wake.clear()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._broken is not None:
                raise self._broken
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def try_again(self, key: Key, head_seq: int) -> None:
        """Call again for a held aggregate whose time has come, or which a person wants to be tried again.

        Args:
            head_seq: place of the event that failed.
        """
        held = self._held.get(key)
        # What is not read yet is not due yet: after a restart the position may stand before it.
        if held is None or held.busy or self._stopping or self._seen is None or head_seq > self._track.read:
            return
        held.busy = True
        self._start(self._catch_up(key, held))

    async def _read(self) -> bool:
        """Read and begin what fits; whether there may be more now."""
        after, until = self._track.read, min(self._end, self._track.read + WINDOW_PLACES)
        if after >= until:
            return False
        limit = WINDOW_EVENTS - len(self._track)
        if limit <= 0 or self._retrying() >= MAX_RETRYING:
            self._room.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), REREAD_SECONDS)
            return True
        documents = await self._patiently(partial(self._page, after, until, limit))
        for document in documents:
            self._begin(document["seq"], to_envelope(document))
        self._track.read = documents[-1]["seq"] if len(documents) == limit else until
        return True

    async def _page(self, after: int, until: int, limit: int) -> list[Document]:
        async with self._session() as session:
            return await self._journal.heard(
                self.place.partition,
                list(self._subscription.classes),
                after=after,
                until=until,
                limit=limit,
                session=session,
            )

    def _session(self) -> AsyncClientSession:
        # Right after an election the new primary may not know yet that a majority has what the old one has shown;
        # events would seem not to exist. A session waits until it does.
        session = self._database.client.start_session(causal_consistency=True)
        if self._seen is not None:
            session.advance_operation_time(self._seen)
        return session

    def _retrying(self) -> int:
        return sum(held.state == RETRYING for held in self._held.values())

    def _begin(self, seq: int, event: Envelope) -> None:
        key = (event.shop, event.aggregate_id)
        held = self._held.get(key)
        if held is not None and held.leaving is None:
            held.passed = seq
            return
        self._track.begin(seq)
        lane = held.leaving if held is not None else self._lanes.get(key)
        if lane is not None:
            lane.append((seq, event))
        else:
            self._open_lane(key, deque([(seq, event)]))

    def _open_lane(self, key: Key, lane: Lane) -> None:
        self._lanes[key] = lane
        self._start(self._go_along(key))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.set()
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, _Stopped):
            self._broken = error
            self._wake.set()

    async def _go_along(self, key: Key) -> None:
        """Handle the events of one aggregate as they come; at a failure all of it is held."""
        lane = self._lanes[key]
        while lane and not self._stopping:
            seq, event = lane[0]
            failed = await self._attempt(seq, event, attempts=1)
            if failed is not None:
                await self._patiently(partial(self._held_store.hold, failed))
                self._held[key] = Held(_state(failed), passed=lane[-1][0])
                for passed, _ in lane:
                    self._track.done(passed)
                break
            lane.popleft()
            self._track.done(seq)
            self._room.set()
        if not lane or not self._stopping:
            del self._lanes[key]

    async def _catch_up(self, key: Key, held: Held) -> None:
        """Handle a held aggregate from where it stands; set it free once it has come to where all have."""
        try:
            # Not as it was found among the due: meanwhile it may have been tried.
            document = await self._patiently(partial(self._held_store.due, key))
            if document is None:
                return
            held.state = RETRYING
            after, attempts = document["after"], document["attempts"]
            while not self._stopping:
                until = self._track.read
                events = await self._patiently(partial(self._waiting, key, after, until))
                for seq, event in events:
                    failed = await self._attempt(seq, event, attempts=attempts + 1)
                    if failed is not None:
                        await self._patiently(partial(self._held_store.hold, failed))
                        held.state = _state(failed)
                        return
                    after, attempts = seq, 0
                    await self._patiently(partial(self._held_store.advance, key, after))
                if not events and held.passed <= until:
                    await self._set_free(key, held)
                    return
        finally:
            held.busy = False

    async def _set_free(self, key: Key, held: Held) -> None:
        # While its document goes, the position may go past none of its events.
        lane: Lane = deque()
        held.leaving = lane
        await self._patiently(partial(self._held_store.free, key))
        del self._held[key]
        if lane:
            self._open_lane(key, lane)

    async def _waiting(self, key: Key, after: int, until: int) -> list[tuple[int, Envelope]]:
        async with self._session() as session:
            found = await self._journal.heard(
                self.place.partition,
                list(self._subscription.classes),
                after=after,
                until=until,
                limit=PAGE_OF_ONE,
                aggregate=key,
                session=session,
            )
        return [(document["seq"], to_envelope(document)) for document in found]

    async def _attempt(self, seq: int, event: Envelope, *, attempts: int) -> Failed | None:
        """Call the handler; what failed, or None."""
        async with self._turn:
            if self._stopping:
                raise _Stopped
            if self._lost or not self._is_mine():
                raise Fenced(f"reaction {self.place.id}: its lease may be another's by now")
            try:
                await call(self._subscription, event)
            except CallFailed as failure:
                final = failure.final or attempts >= self._subscription.attempts
                delay = None if final else max(pause_of(self._subscription, attempts), failure.after_seconds)
                log.warning(
                    "reaction %s failed on %s %s, attempt %d, %s: %s",
                    self.place.name,
                    event.name,
                    event.id,
                    attempts,
                    "which parks its aggregate" if delay is None else f"again in {delay:.1f} s",
                    failure,
                )
                return Failed(seq, event, str(failure), attempts, delay)
        self._handled += 1
        return None

    async def _patiently(self, work: Callable[[], Coroutine[None, None, T]]) -> T:
        """Repeat until MongoDB takes it."""
        while True:
            try:
                return await work()
            except PyMongoError as error:
                if not self._is_mine():
                    raise Fenced(
                        f"reaction {self.place.id}: MongoDB did not answer for as long as the lease"
                    ) from error
                log.warning("reaction %s waits for MongoDB: %s", self.place.id, error)
                await asyncio.sleep(MONGO_RETRY_SECONDS * random.uniform(0.5, 1.5))


def _state(failed: Failed) -> str:
    return PARKED if failed.delay_seconds is None else RETRYING
