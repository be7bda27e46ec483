"""A database that each test finds empty."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from rushlight.settings import Settings
from rushlight.store.database import Database


@pytest_asyncio.fixture
async def database(kept_settings: Settings) -> AsyncIterator[Database]:
    """Opened for this test, with all collections and indexes."""
    opened = await Database.connect(kept_settings, role="test")
    yield opened
    await opened.close()
