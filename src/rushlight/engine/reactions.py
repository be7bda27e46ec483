"""Runs reactions in one process: takes its fair share of their places, keeps them, saves positions, stops cleanly."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from functools import partial

from bson import Timestamp
from pymongo.errors import PyMongoError

from rushlight.bus.broadcast import CHANGES_CHANNEL, listen
from rushlight.engine.place import is_dead, process_name
from rushlight.engine.reacting import Reacting
from rushlight.engine.subscription import Subscription, subscriptions
from rushlight.errors import Fenced, SetupError
from rushlight.settings import Settings
from rushlight.steady import steadily
from rushlight.store.database import Database, partitions_of
from rushlight.store.held import due, place_id
from rushlight.store.subscriptions import Place, Places

log = logging.getLogger(__name__)

HEARTBEATS_PER_TTL = 4
SAVE_SECONDS = 0.25
DUE_SECONDS = 0.5
POLL_SECONDS = 1.0
# A commit tells of itself; this many looks a second are made for what comes one after another.
LOOK_GAP_SECONDS = 0.1
DRAIN_SECONDS = 4.0
BEGIN_RETRY_SECONDS = 1.0


class _Run:
    """A place that this process runs."""

    def __init__(self, reacting: Reacting, task: asyncio.Task[None]) -> None:
        self.reacting = reacting
        self.task = task
        self.retiring: asyncio.Task[None] | None = None


class Reactions:
    """Runs subscriptions until `stop`. Any number of processes share a reaction's partitions, each its fair share.

    Args:
        database: this process's connection.
        settings: ``redis_url`` (may be None: the journal is then looked at once a second), ``partitions`` and
            ``lease_ttl_seconds`` count.
        chosen: what to run; by default all that was declared in this process.
    """

    def __init__(self, database: Database, settings: Settings, chosen: Iterable[Subscription] | None = None) -> None:
        self.name = process_name()
        self._database = database
        self._settings = settings
        self._subscriptions = {one.name: one for one in (subscriptions() if chosen is None else chosen)}
        self._places = Places(database, self.name, settings.lease_ttl_seconds)
        self._running: dict[str, _Run] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._saving = asyncio.Lock()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._mine_until = 0.0

    def stop(self) -> None:
        """Ask `run` to let the calls that run end, save, give the places back and return."""
        self._stopping.set()
        self._changed.set()

    async def run(self) -> None:
        """Work until `stop` (or until cancelled); passing trouble with MongoDB or Redis is waited out."""
        if not self._subscriptions:
            await self._stopping.wait()
            return
        loops = [
            asyncio.create_task(self._every(SAVE_SECONDS, self._save)),
            asyncio.create_task(self._every(DUE_SECONDS, self._try_due)),
            asyncio.create_task(self._every(POLL_SECONDS, self._look, self._changed)),
        ]
        if self._settings.redis_url:
            loops.append(asyncio.create_task(steadily(partial(self._listen, self._settings.redis_url))))
        try:
            await self._begin()
            await self._every(self._settings.lease_ttl_seconds / HEARTBEATS_PER_TTL, self._round)
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._leave()

    async def _begin(self) -> None:
        while not self._stopping.is_set():
            try:
                for subscription in self._subscriptions.values():
                    await self._places.begin(subscription.name, subscription.start, self._settings.partitions)
            except PyMongoError as error:
                log.warning("reactions wait for MongoDB: %s", error)
                await asyncio.sleep(BEGIN_RETRY_SECONDS)
            else:
                return

    async def _every(
        self, seconds: float, work: Callable[[], Awaitable[None]], sooner: asyncio.Event | None = None
    ) -> None:
        while not self._stopping.is_set():
            try:
                await work()
            except PyMongoError as error:
                log.warning("reactions wait for MongoDB: %s", error)
            except Exception:
                log.exception("reactions: %s", work)
            if sooner is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), seconds)
            else:
                await asyncio.sleep(LOOK_GAP_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(sooner.wait(), seconds)
                sooner.clear()

    async def _listen(self, url: str) -> None:
        async with aclosing(listen(url, [CHANGES_CHANNEL])) as changes:
            async for _ in changes:
                self._changed.set()

    async def _look(self) -> None:
        """Tell everyone up to where the journal goes. The broadcast only wakes: it is nothing to rely on."""
        async with self._database.client.start_session(causal_consistency=True) as session:
            found = await self._database.positions.find({}, {"seq": 1}, session=session).to_list()
            seen = session.operation_time or Timestamp(0, 1)
        ends = {document["_id"]: document["seq"] for document in found}
        for run in self._running.values():
            run.reacting.reach(ends.get(run.reacting.place.partition, 0), seen)

    async def _save(self) -> None:
        async with self._saving:
            some = [(run.reacting, run.reacting.progress) for run in self._running.values()]
            changed = [(reacting, progress) for reacting, progress in some if progress is not None]
            if not await self._places.save([progress for _, progress in changed]):
                log.warning("a reaction's position has another owner; the next heartbeat finds out which")
            for reacting, progress in changed:
                reacting.saved(progress)

    async def _try_due(self) -> None:
        for document in await due(self._database, list(self._subscriptions)):
            run = self._running.get(place_id(document["name"], document["p"]))
            if run is not None and run.retiring is None:
                run.reacting.try_again((document["shop"], document["aggregateId"]), document["head"]["seq"])

    async def _round(self) -> None:
        """One heartbeat: what is no longer ours ends, what is free and in our share begins."""
        asked = time.monotonic()
        try:
            mine = await self._places.heartbeat(list(self._subscriptions))
        except PyMongoError:
            if not self._is_mine():
                self._lose(self._running)
            raise
        # Measured from before the question: the server counts from later.
        self._mine_until = asked + self._settings.lease_ttl_seconds
        self._lose([place for place, run in self._running.items() if not _goes_on(run, mine.get(place))])
        for place in mine.values():
            run = self._running.get(place.id)
            if run is None:
                await self._start(place)
            elif place.replay_to is not None:
                self._retire(run, release=False)
        await self._places.expire(is_dead)
        workers, held = await self._places.survey()
        for name in self._subscriptions:
            await self._share(name, workers.get(name, 1), held)

    async def _share(self, name: str, workers: int, held: set[str]) -> None:
        partitions = self._settings.partitions
        share = math.ceil(partitions / max(1, workers))
        own = [place for place, run in self._running.items() if run.reacting.place.name == name]
        for place in sorted(own)[share:]:
            self._retire(self._running[place], release=True)
        # Processes that start together look at different partitions first.
        start = hash((self.name, name)) % partitions
        for partition in sorted(range(partitions), key=lambda p: (p - start) % partitions):
            place_now = place_id(name, partition)
            if len(own) >= share:
                break
            if place_now not in held and place_now not in self._running:
                taken = await self._places.take(place_now)
                if taken is not None:
                    await self._start(taken)
                    own.append(place_now)

    async def _start(self, place: Place) -> None:
        subscription = self._subscriptions.get(place.name)
        if subscription is None or self._stopping.is_set():
            return
        try:
            place = await self._places.replay(place)
        except Fenced as fenced:
            log.warning("%s", fenced)
            return
        reacting = Reacting(self._database, subscription, place, self._is_mine)
        task = asyncio.create_task(reacting.run(), name=f"reaction {place.id}")
        self._running[place.id] = _Run(reacting, task)
        self._changed.set()
        log.info("%s runs reaction %s from %d on, at epoch %d", self.name, place.id, place.seq, place.epoch)

    def _is_mine(self) -> bool:
        # Not the loop's time, which stands still while callbacks run: we may have been frozen among them.
        return time.monotonic() < self._mine_until

    def _lose(self, places: Iterable[str]) -> None:
        for place in list(places):
            run = self._running.pop(place)
            # Its calls are tasks of their own, and some may be about to begin before the cancellation reaches them.
            run.reacting.lose()
            run.task.cancel()
            if run.retiring is not None:
                run.retiring.cancel()
                self._end(run.retiring)
            self._end(run.task)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("%s ended: %s", task.get_name(), error, exc_info=None if isinstance(error, Fenced) else error)

    def _retire(self, run: _Run, *, release: bool) -> None:
        """Stop a place in good order, beside the heartbeats."""
        if run.retiring is None:
            run.retiring = asyncio.create_task(self._retired(run, release=release))

    async def _retired(self, run: _Run, *, release: bool) -> None:
        await self._drain([run])
        place = run.reacting.place.id
        try:
            await self._save()
            if release:
                await self._places.release([place])
        except PyMongoError as error:
            log.warning("reaction %s could not be given back: %s", place, error)
        if self._running.get(place) is run:
            del self._running[place]
        self._end(run.task)

    async def _drain(self, runs: Sequence[_Run]) -> None:
        for run in runs:
            run.reacting.stop()
        tasks = [run.task for run in runs]
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _leave(self) -> None:
        retiring = [run.retiring for run in self._running.values() if run.retiring is not None]
        await self._drain(list(self._running.values()))
        await asyncio.gather(*retiring, *self._ending, return_exceptions=True)
        with suppress(PyMongoError):
            await self._save()
            await self._places.leave()
        for run in self._running.values():
            self._end(run.task)
        self._running.clear()


def _goes_on(run: _Run, mine: Place | None) -> bool:
    same = mine is not None and mine.epoch == run.reacting.place.epoch
    return same and (run.retiring is not None or not run.task.done())


async def run_reactions(
    *, mongo_url: str, redis_url: str | None = None, database: str = "rushlight", only: Sequence[str] = ()
) -> None:
    """Run the reactions that were declared in this process, until cancelled; beside workers that run them as well.

    Args:
        mongo_url, redis_url, database: those of a running instance; without ``redis_url`` an event is found within a
            second instead of at once.
        only: names of the reactions to run; by default all.

    Raises:
        SetupError: nothing was declared, or not under one of these names.
        Unavailable: MongoDB does not answer.
    """
    declared = {one.name: one for one in subscriptions()}
    unknown = sorted(set(only) - declared.keys())
    if unknown or not declared:
        raise SetupError(f"no subscription is declared {'under the name ' + ', '.join(unknown) if unknown else 'here'}")
    chosen = [declared[name] for name in only] if only else list(declared.values())
    partitions = await partitions_of(mongo_url, database) or Settings().partitions
    settings = Settings(mongo_url=mongo_url, redis_url=redis_url, database=database, partitions=partitions)
    opened = await Database.connect(settings, role="reactions")
    try:
        await Reactions(opened, settings, chosen).run()
    finally:
        await opened.close()
