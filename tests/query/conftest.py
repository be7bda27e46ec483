"""A database that each test finds empty."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from rushlight.settings import Settings
from rushlight.store.database import Database


@pytest.fixture
def settings(kept_settings: Settings) -> Settings:
    """On one database for all of these tests, which each finds empty."""
    return kept_settings


@pytest_asyncio.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Opened for this test, with all collections and indexes."""
    opened = await Database.connect(settings, role="test")
    yield opened
    await opened.close()
