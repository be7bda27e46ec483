"""Order services for the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rushlight.settings import Settings
from tests.orders.client import Shop, serving, with_deadline

PATIENT_SECONDS = 30.0


@pytest.fixture
def settings(kept_settings: Settings) -> Settings:
    """On one database for all of these tests, which each finds empty."""
    return kept_settings


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no deadline is tested none is met either: a machine that stands still for seconds makes no 503."""
    with_deadline(monkeypatch, PATIENT_SECONDS)


@pytest.fixture
async def shop(settings: Settings, patient: None) -> AsyncIterator[Shop]:
    """An order service on an empty database, with the stream's fast path."""
    async with serving(settings) as running:
        yield running
