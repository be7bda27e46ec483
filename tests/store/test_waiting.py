"""Waiting for a server that is cancelled leaves the client's lock to others."""

from __future__ import annotations

import asyncio

import pytest
from pymongo.lock import _async_cond_wait, _async_create_condition, _async_create_lock

from rushlight.store.database import connect_client

PATIENCE_SECONDS = 60.0


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_cancelled_when_the_time_is_over(times: int) -> None:
    """The waiter wants the lock back, which another has, and is cancelled: the lock stays that one's, then is free."""
    await connect_client("mongodb://127.0.0.1:1", "test").close()
    lock = _async_create_lock()
    condition = _async_create_condition(lock)

    async def wait() -> None:
        async with lock:
            while True:
                await _async_cond_wait(condition, 0.01)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    async with lock:
        await asyncio.sleep(0.1)
        for _ in range(times):
            waiting.cancel()
            await asyncio.sleep(0)
        assert lock.locked()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(waiting, return_exceptions=True)
        async with lock:
            assert waiting.cancelled()


async def test_it_wakes_and_it_gives_up() -> None:
    """A notification ends the wait with True, time alone with False."""
    condition = _async_create_condition(_async_create_lock())

    async def wait(seconds: float) -> bool:
        async with condition:
            return await _async_cond_wait(condition, seconds)

    assert not await wait(0.01)
    waiting = asyncio.create_task(wait(PATIENCE_SECONDS))
    await asyncio.sleep(0)
    async with condition:
        condition.notify_all()
    assert await waiting
