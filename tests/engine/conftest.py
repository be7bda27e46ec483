"""A database that each test finds empty, a sender to the streams, and workers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import pytest_asyncio

from rushlight.bus.appender import Appender
from rushlight.engine.worker import Worker
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.engine.failing import failing_mongod


@pytest.fixture
def brisk(kept_settings: Settings, eager: None) -> Settings:
    """Settings with short leases, so that takeovers are soon; outboxes are looked into often."""
    return msgspec.structs.replace(kept_settings, lease_ttl_seconds=1.0)


@pytest.fixture
def calm(brisk: Settings) -> Settings:
    """The same with long leases, for tests in which no lease may be lost because a machine stands still a moment."""
    return msgspec.structs.replace(brisk, lease_ttl_seconds=30.0)


@pytest_asyncio.fixture
async def database(brisk: Settings) -> AsyncIterator[Database]:
    """Opened for this test, with all collections and indexes."""
    opened = await Database.connect(brisk, role="test")
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def appender(settings: Settings) -> AsyncIterator[Appender]:
    """The sending side of the streams."""
    opened = Appender(settings.redis_url or "")
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def failing_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One MongoDB with failpoints for all of these tests."""
    with failing_mongod(tmp_path_factory.mktemp("failing") / "data") as url:
        yield url


@asynccontextmanager
async def working(settings: Settings, *, count: int = 1) -> AsyncIterator[list[Worker]]:
    """Workers in this process, each with a connection of its own, for as long as the block runs."""
    databases = [await Database.connect(settings, role="worker of a test") for _ in range(count)]
    workers = [Worker(database, settings) for database in databases]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()
        await asyncio.gather(*tasks)
        for database in databases:
            await database.close()
