"""One worker process: takes its fair share of the partitions, keeps their leases alive, and stops cleanly."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from uuid import UUID

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from rushlight.bus.broadcast import Broadcaster
from rushlight.engine.generations import Catalogue
from rushlight.engine.parking import Errands
from rushlight.engine.partition import PartitionOwner, Shared, Start
from rushlight.engine.place import is_dead, process_name
from rushlight.errors import Fenced
from rushlight.failpoints import at
from rushlight.projections.registry import projections_of
from rushlight.settings import Settings
from rushlight.steady import steadily
from rushlight.store.clearing import Clearing
from rushlight.store.database import Database
from rushlight.store.journal import Journal
from rushlight.store.leases import Leases
from rushlight.store.positions import Positions

log = logging.getLogger(__name__)

HEARTBEATS_PER_TTL = 4
DRAIN_SECONDS = 5.0
# More would wait for the same processor and the same disk, with their changes uncommitted meanwhile.
MAX_COMMITS_AT_ONCE = 3


class _Held:
    """A partition that this worker runs."""

    def __init__(self, owner: PartitionOwner, session: AsyncClientSession, task: asyncio.Task[None]) -> None:
        self.owner = owner
        self.session = session
        self.task = task


class Worker:
    """Runs partitions until `stop`. Any number of workers share them: each takes at most its fair share.

    Args:
        database: this worker's connection.
        settings: ``redis_url``, ``partitions`` and ``lease_ttl_seconds`` count.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self.name = process_name()
        self._leases = Leases(database, self.name, settings.lease_ttl_seconds)
        self._positions = Positions(database)
        self._broadcaster = Broadcaster(settings.redis_url or "")
        self._clearing = Clearing(database)
        self._shared = Shared(
            self._broadcaster, self._clearing, asyncio.Semaphore(MAX_COMMITS_AT_ONCE), Errands(database)
        )
        self._catalogue = Catalogue(database, projections_of(settings.modules))
        self._held: dict[int, _Held] = {}
        self._stopping = asyncio.Event()
        self._confirmed = -math.inf

    async def alive(self) -> str | None:
        """Why this worker cannot keep leases; None when it can."""
        silent = asyncio.get_running_loop().time() - self._confirmed
        if silent > self._settings.lease_ttl_seconds:
            return f"MongoDB has not confirmed its leases for {silent:.0f} s"
        return None

    async def fed(self) -> str | None:
        """Why its partitions go by the outbox instead of the stream; None when none does."""
        cut_off = sorted(partition for partition, held in self._held.items() if held.owner.outage)
        return f"the streams of partitions {cut_off} cannot be read" if cut_off else None

    def stop(self) -> None:
        """Ask `run` to finish the batches in hand, give the leases back and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop` (or until cancelled); passing trouble with MongoDB is waited out."""
        looking = asyncio.create_task(steadily(self._catalogue.run))
        try:
            await self._keep_leases()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await self._leave()

    async def _keep_leases(self) -> None:
        interval = self._settings.lease_ttl_seconds / HEARTBEATS_PER_TTL
        self._confirmed = asyncio.get_running_loop().time()
        while not self._stopping.is_set():
            try:
                await self._round()
                self._confirmed = asyncio.get_running_loop().time()
            except PyMongoError as error:
                log.warning("worker %s cannot keep its leases: %s", self.name, error)
                if asyncio.get_running_loop().time() - self._confirmed > self._settings.lease_ttl_seconds:
                    await self._let_go(set(self._held))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), interval)

    async def _round(self) -> None:
        mine = await self._leases.heartbeat()
        at("lease.beaten")
        # What follows may take longer than a lease: batches are finished, a partition is made fit after a restore.
        beating = asyncio.create_task(self._beat())
        try:
            await self._share(mine)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _beat(self) -> None:
        """Prolong the leases, but for those of partitions that nobody works on any more."""
        while True:
            await asyncio.sleep(self._settings.lease_ttl_seconds / HEARTBEATS_PER_TTL)
            try:
                await self._leases.prolong(but=[p for p, held in self._held.items() if held.task.done()])
                self._confirmed = asyncio.get_running_loop().time()
            except PyMongoError as error:
                log.warning("worker %s cannot keep its leases: %s", self.name, error)

    async def _share(self, mine: set[int]) -> None:
        await self._let_go({p for p, held in self._held.items() if p not in mine or held.task.done()})
        # Taken by an earlier round that failed before anybody worked on them: nobody else could take them.
        for partition in mine - self._held.keys():
            await self._leases.release(partition)
        await self._leases.expire(is_dead)
        workers, taken = await self._leases.survey()
        share = math.ceil(self._settings.partitions / max(1, workers))
        # The share is rounded up, so that what does not divide evenly stays where it is.
        await self._give_back(sorted(self._held)[share:])
        for partition in self._preferred(set(range(self._settings.partitions)) - taken - set(self._held)):
            if len(self._held) >= share:
                break
            await self._take(partition)

    def _preferred(self, free: set[int]) -> list[int]:
        # Workers that start together look at different partitions first.
        start = hash(self.name) % self._settings.partitions
        return sorted(free, key=lambda partition: (partition - start) % self._settings.partitions)

    async def _take(self, partition: int) -> None:
        session = self._database.client.start_session()
        owner = None
        try:
            owner = await self._owner(partition, session)
        finally:
            if owner is None:
                await session.end_session()
        if owner is not None:
            task = asyncio.create_task(owner.run(), name=f"partition {partition}")
            self._held[partition] = _Held(owner, session, task)

    async def _owner(self, partition: int, session: AsyncClientSession) -> PartitionOwner | None:
        epoch = await self._leases.take(partition, _session_id(session))
        if epoch is None:
            return None
        at("lease.ready")
        try:
            position = await self._positions.claim(partition, epoch)
        except Fenced as fenced:
            log.warning("worker %s cannot own partition %d: %s", self.name, partition, fenced)
            return None
        at("lease.claimed")
        parked = await Journal(self._database, latest=True).parked(partition)
        lanes = await self._catalogue.lanes(position)
        log.info("worker %s owns partition %d at epoch %d", self.name, partition, epoch)
        return PartitionOwner(
            self._database,
            self._settings.redis_url or "",
            self._shared,
            Start(position, parked, lanes),
            session,
        )

    async def _give_back(self, partitions: list[int]) -> None:
        await self._drain([self._held[partition] for partition in partitions])
        await self._let_go(set(partitions))

    async def _drain(self, some: list[_Held]) -> None:
        # All of them at once: the others' leases are not prolonged meanwhile.
        for held in some:
            held.owner.stop()
        if some:
            await asyncio.wait([held.task for held in some], timeout=DRAIN_SECONDS)

    async def _let_go(self, partitions: set[int]) -> None:
        for partition in partitions:
            held = self._held.pop(partition)
            clean = await _ended(held.task)
            with suppress(PyMongoError):
                if not clean:
                    await self._leases.end(_session_id(held.session))
                await held.session.end_session()
            if not self._stopping.is_set():
                at("lease.drained")
                with suppress(PyMongoError):
                    await self._leases.release(partition)
                at("lease.released")

    async def _leave(self) -> None:
        await self._drain(list(self._held.values()))
        await self._let_go(set(self._held))
        await self._clearing.close()
        with suppress(PyMongoError):
            await self._leases.leave()
        await self._broadcaster.close()


async def _ended(task: asyncio.Task[None]) -> bool:
    """End a partition's task; whether it had come to its end by itself, with nothing left open."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return False
    except Fenced as fenced:
        log.warning("%s: %s", task.get_name(), fenced)
        return False
    except Exception:
        log.exception("%s stopped", task.get_name())
        return False
    return True


def _session_id(session: AsyncClientSession) -> UUID:
    identifier: UUID = session.session_id["id"].as_uuid()
    return identifier
