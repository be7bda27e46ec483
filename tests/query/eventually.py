"""Waiting in tests: for what must come to be, as long as the test itself may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

POLL_SECONDS = 0.02


async def eventually(holds: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as the condition holds; the test's own timeout ends it otherwise."""
    for _ in count():
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        await asyncio.sleep(POLL_SECONDS)
