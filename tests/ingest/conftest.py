"""A database that each test finds empty, and intakes that are closed in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rushlight.ingest.intake import Intake
from rushlight.settings import Settings
from rushlight.store.database import Database

OpenIntake = Callable[..., Awaitable[Intake]]


@pytest.fixture
def settings(kept_settings: Settings) -> Settings:
    """On one database for all of these tests, which each finds empty."""
    return kept_settings


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A connection to the database."""
    connected = await Database.connect(settings, role="tests")
    yield connected
    await connected.close()


@pytest.fixture
async def open_intake(database: Database, settings: Settings, tmp_path: Path) -> AsyncIterator[OpenIntake]:
    """Opens intakes under ``tmp_path/wal`` on the test's servers; takes another ``redis_url``, ``cap_bytes`` …"""
    opened: list[Intake] = []

    async def open_one(redis_url: str | None = None, **options: Any) -> Intake:
        url = redis_url or settings.redis_url or ""
        intake = await Intake.open(database, url, tmp_path / "wal", **options)
        opened.append(intake)
        return intake

    yield open_one
    for intake in opened:
        await intake.close(settle_seconds=0)
