"""Order services for the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rushlight.settings import Settings
from tests.orders.client import Shop, serving


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[Shop]:
    """An order service on a database of its own, with the stream's fast path."""
    async with serving(settings) as running:
        yield running
