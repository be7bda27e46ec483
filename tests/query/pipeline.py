"""A real worker behind a real stream, for readers' tests in which figures move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rushlight.bus.appender import Appender
from rushlight.engine.worker import Worker
from rushlight.events.envelope import Envelope, encode
from rushlight.events.ids import partition_of
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.journal import Journal
from tests.engine.shop import appended
from tests.query.eventually import eventually


class Pipeline:
    """Sends events through a stream to a worker."""

    def __init__(self, database: Database, settings: Settings, appender: Appender) -> None:
        self._journal = Journal(database)
        self._partitions = settings.partitions
        self._appender = appender

    async def send(self, events: Sequence[Envelope]) -> None:
        """Append the events and wait until each has its terminal record."""
        sent = [
            appended(self._appender, partition_of(event.shop, event.aggregate_id, self._partitions), encode(event))
            for event in events
        ]
        await asyncio.gather(*sent)
        origins = [(event.id, event.origin) for event in events]
        wanted = {event.origin for event in events}

        async def settled() -> bool:
            return await self._journal.settled(origins) == wanted

        await eventually(settled)


@asynccontextmanager
async def running(database: Database, settings: Settings) -> AsyncIterator[Pipeline]:
    """A pipeline with a worker in this process."""
    worker = Worker(database, settings)
    working = asyncio.create_task(worker.run())
    appender = Appender(settings.redis_url or "")
    try:
        yield Pipeline(database, settings, appender)
    finally:
        worker.stop()
        await working
        await appender.close()
