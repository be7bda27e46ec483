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

from rushlight.engine.subscription import Subscription
from rushlight.errors import Fenced, Rejected, Retryable
from rushlight.events.envelope import Envelope
from rushlight.events.event import Event
from rushlight.events.upcasting import upcast
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
LONGEST_PAUSE_SECONDS = 300.0
MONGO_RETRY_SECONDS = 0.5
REREAD_SECONDS = 0.1


class _Track:
    """What was read, in the order of the journal, with what is done: the position is before the first that is not."""

    def __init__(self, seq: int) -> None:
        self._open: deque[int] = deque()
        self._done: set[int] = set()
        self.read = seq

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, seq: int) -> None:
        self._open.append(seq)

    def done(self, seq: int) -> None:
        self._done.add(seq)
        while self._open and self._open[0] in self._done:
            self._done.discard(self._open.popleft())

    @property
    def seq(self) -> int:
        """All up to here is done."""
        return self._open[0] - 1 if self._open else self.read


class _Held:
    """A held aggregate: its state, the last of its events that was passed by, and who is at it."""

    def __init__(self, state: str, passed: int = 0) -> None:
        self.state = state
        self.passed = passed
        self.busy = False


class _Stopped(Exception):
    """There was no time left to begin a call."""


class _Failure(Exception):
    """A call failed. ``final``: trying again would not help. ``after_seconds``: the least pause before it does."""

    def __init__(self, reason: str, *, final: bool = False, after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.final = final
        self.after_seconds = after_seconds


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
        self._classes = {cls.event_name: cls for cls in subscription.events}
        self._is_mine = is_mine
        self._journal = Journal(database)
        self._held_store = HeldAggregates(database, place.name, place.partition, place.epoch)
        self._held: dict[Key, _Held] = {}
        self._track = _Track(place.seq)
        self._lanes: dict[Key, deque[tuple[int, Envelope]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(subscription.concurrency)
        self._end = place.seq
        self._seen = Timestamp(0, 1)
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._stopping = False
        self._broken: BaseException | None = None
        self._handled = 0
        self._saved = Progress(place, place.seq, 0)

    def reach(self, end: int, seen: Timestamp) -> None:
        """The journal of the partition goes up to here, as was seen at this time of the server's log."""
        if end > self._end:
            self._end = end
            self._seen = max(self._seen, seen)
            self._wake.set()

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
            self._held = {key: _Held(state) for key, state in (await self._patiently(self._held_store.all)).items()}
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

    def try_again(self, document: Document) -> None:
        """Call again for a held aggregate, whose time has come; or which a person wants to be tried again."""
        key = (document["shop"], document["aggregateId"])
        # What is not read yet is not due yet: after a restart the position may stand before it.
        if self._stopping or key in self._lanes or document["head"]["seq"] > self._track.read:
            return
        held = self._held.setdefault(key, _Held(RETRYING))
        if not held.busy:
            held.state, held.busy = RETRYING, True
            self._start(self._catch_up(key, held, document))

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
                self.place.partition, list(self._classes), after=after, until=until, limit=limit, session=session
            )

    def _session(self) -> AsyncClientSession:
        # Right after an election the new primary may not know yet that a majority has what the old one has shown;
        # events would seem not to exist. A session waits until it does.
        session = self._database.client.start_session(causal_consistency=True)
        session.advance_operation_time(self._seen)
        return session

    def _retrying(self) -> int:
        return sum(held.state == RETRYING for held in self._held.values())

    def _begin(self, seq: int, event: Envelope) -> None:
        key = (event.shop, event.aggregate_id)
        held = self._held.get(key)
        if held is not None:
            held.passed = seq
            return
        self._track.begin(seq)
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append((seq, event))
            return
        self._lanes[key] = deque([(seq, event)])
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
                self._held[key] = _Held(_state(failed), passed=lane[-1][0])
                for passed, _ in lane:
                    self._track.done(passed)
                break
            lane.popleft()
            self._track.done(seq)
            self._room.set()
        if not lane or not self._stopping:
            del self._lanes[key]

    async def _catch_up(self, key: Key, held: _Held, document: Document) -> None:
        """Handle a held aggregate from where it stands; set it free once it has come to where all have.

        It is set free before its document goes: a crash in between only repeats.
        """
        after, attempts = document["after"], document["attempts"]
        try:
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
                    del self._held[key]
                    await self._patiently(partial(self._held_store.free, key, document["head"]["seq"]))
                    return
        finally:
            held.busy = False

    async def _waiting(self, key: Key, after: int, until: int) -> list[tuple[int, Envelope]]:
        async with self._session() as session:
            found = await self._journal.heard(
                self.place.partition,
                list(self._classes),
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
            if not self._is_mine():
                raise Fenced(f"reaction {self.place.id}: its lease may be another's by now")
            try:
                await self._call(event)
            except _Failure as failure:
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

    async def _call(self, event: Envelope) -> None:
        subscription = self._subscription
        try:
            event = upcast(event)
            typed: Event = self._classes[event.name].open(event)
        except Rejected as error:
            raise _Failure(f"cannot be read as {event.name}: {error}", final=True) from error
        deadline = asyncio.timeout(subscription.deadline_seconds)
        try:
            async with deadline:
                await subscription.handler(*((typed, event) if subscription.wants_envelope else (typed,)))
        except Rejected as error:
            raise _Failure(f"Rejected: {error}", final=True) from error
        except Retryable as error:
            raise _Failure(_words(error), after_seconds=error.retry_after_seconds) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise _Failure("it cancelled itself") from error
        except Exception as error:
            if deadline.expired():
                raise _Failure(f"took longer than {subscription.deadline_seconds:g} s") from error
            raise _Failure(_words(error)) from error

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


def pause_of(subscription: Subscription, attempts: int) -> float:
    """Seconds before an event is tried again that has failed so many times; random, so that not all come at once."""
    doubled = subscription.backoff_seconds * 2.0 ** min(attempts - 1, 30)
    return min(LONGEST_PAUSE_SECONDS, doubled) * random.uniform(0.5, 1.0)


def _state(failed: Failed) -> str:
    return PARKED if failed.delay_seconds is None else RETRYING


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
