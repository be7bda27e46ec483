"""One worker process: takes its fair share of the partitions, keeps their leases alive, and stops cleanly."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
import socket
from contextlib import suppress
from uuid import UUID

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from rushlight.bus.broadcast import Broadcaster
from rushlight.engine.batch import Aggregate
from rushlight.engine.partition import PartitionOwner
from rushlight.errors import Fenced
from rushlight.settings import Settings
from rushlight.store.clearing import Clearing
from rushlight.store.database import Database
from rushlight.store.leases import Leases
from rushlight.store.positions import Positions

log = logging.getLogger(__name__)

HEARTBEATS_PER_TTL = 4
DRAIN_SECONDS = 5.0


class _Held:
    """A partition that this worker runs."""

    def __init__(
        self, epoch: int, owner: PartitionOwner, session: AsyncClientSession, task: asyncio.Task[None]
    ) -> None:
        self.epoch = epoch
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
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._leases = Leases(database, self.name, settings.lease_ttl_seconds)
        self._positions = Positions(database)
        self._broadcaster = Broadcaster(settings.redis_url or "")
        self._clearing = Clearing(database)
        self._held: dict[int, _Held] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ask `run` to finish the batches in hand, give the leases back and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`; passing trouble with MongoDB is waited out."""
        interval = self._settings.lease_ttl_seconds / HEARTBEATS_PER_TTL
        confirmed = asyncio.get_running_loop().time()
        while not self._stopping.is_set():
            try:
                await self._round()
                confirmed = asyncio.get_running_loop().time()
            except PyMongoError as error:
                log.warning("worker %s cannot keep its leases: %s", self.name, error)
                if asyncio.get_running_loop().time() - confirmed > self._settings.lease_ttl_seconds:
                    await self._let_go(set(self._held))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), interval)
        await self._leave()

    async def _round(self) -> None:
        mine = await self._leases.heartbeat()
        await self._let_go({p for p, held in self._held.items() if p not in mine or held.task.done()})
        workers, taken = await self._leases.survey()
        share = math.ceil(self._settings.partitions / max(1, workers))
        # One above the share is let be unless others starve: no flapping while workers come and go.
        surplus = sorted(self._held)[share:]
        for partition in surplus:
            await self._give_back(partition)
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
        epoch = await self._leases.take(partition, _session_id(session))
        if epoch is None:
            await session.end_session()
            return
        try:
            position = await self._positions.claim(partition, epoch)
        except Fenced:
            await session.end_session()
            return
        owner = PartitionOwner(
            self._database,
            self._settings.redis_url or "",
            self._broadcaster,
            self._clearing,
            position,
            session,
            await self._parked_aggregates(partition),
        )
        task = asyncio.create_task(owner.run(), name=f"partition {partition}")
        self._held[partition] = _Held(epoch, owner, session, task)
        log.info("worker %s owns partition %d at epoch %d", self.name, partition, epoch)

    async def _parked_aggregates(self, partition: int) -> set[Aggregate]:
        parked = self._database.outcomes.find(
            {"kind": "parked", "aggregateId": {"$exists": True}, "p": partition}, {"shop": 1, "aggregateId": 1}
        )
        return {(document["shop"], document["aggregateId"]) async for document in parked}

    async def _give_back(self, partition: int) -> None:
        held = self._held[partition]
        held.owner.stop()
        await asyncio.wait([held.task], timeout=DRAIN_SECONDS)
        await self._let_go({partition})
        await self._leases.release(partition, held.epoch)

    async def _let_go(self, partitions: set[int]) -> None:
        for partition in partitions:
            held = self._held.pop(partition)
            held.task.cancel()
            try:
                await held.task
            except asyncio.CancelledError:
                pass
            except Fenced as fenced:
                log.warning("partition %d: %s", partition, fenced)
            except Exception:
                log.exception("partition %d stopped", partition)
            with suppress(PyMongoError):
                await held.session.end_session()
            if not self._stopping.is_set():
                with suppress(PyMongoError):
                    await self._leases.release(partition, held.epoch)

    async def _leave(self) -> None:
        for held in self._held.values():
            held.owner.stop()
        if self._held:
            await asyncio.wait([held.task for held in self._held.values()], timeout=DRAIN_SECONDS)
        await self._let_go(set(self._held))
        await self._clearing.close()
        with suppress(PyMongoError):
            await self._leases.leave()
        await self._broadcaster.close()


def _session_id(session: AsyncClientSession) -> UUID:
    identifier: UUID = session.session_id["id"].as_uuid()
    return identifier
