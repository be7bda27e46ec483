"""Who owns what, watched: partitions move when somebody comes, goes or dies, as few as can be, else never."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from rushlight.bus.appender import Appender
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.engine.audit import audit, eventually, settled
from tests.engine.processes import Workers, workers
from tests.engine.shop import Shop

PARTITIONS = 8
TTL_SECONDS = 3.0
WATCH_SECONDS = 1.2
FLAPS = 8

Owned = dict[int, tuple[int, int]]
"""Pid and epoch by partition."""


async def owned(database: Database) -> Owned:
    """Who owns which partition now."""
    leases = database.leases.find({"epoch": {"$gt": 0}, "owner": {"$ne": None}})
    return {lease["_id"]: (int(lease["owner"].split(":")[1]), lease["epoch"]) async for lease in leases}


def shares(found: Owned) -> dict[int, int]:
    """How many partitions each process has."""
    pids = [pid for pid, _ in found.values()]
    return {pid: pids.count(pid) for pid in set(pids)}


def shared(database: Database, *pids: int, counts: list[int]) -> Callable[[], Awaitable[bool]]:
    """Whether these processes, and no others, have so many each."""

    async def ask() -> bool:
        found = shares(await owned(database))
        return set(found) == set(pids) and sorted(found.values()) == counts

    return ask


def moved(before: Owned, after: Owned) -> set[int]:
    """Partitions with another owner than before."""
    return {partition for partition, (pid, _) in after.items() if before[partition][0] != pid}


async def still(database: Database) -> Owned:
    """Watch for several heartbeats: nothing moves, no epoch rises.

    Returns:
        who owns what.
    """
    before = await owned(database)
    async with asyncio.timeout(60):
        for _ in range(int(WATCH_SECONDS / 0.1)):
            assert await owned(database) == before
            await asyncio.sleep(0.1)
    return before


@pytest.mark.timeout(240)
async def test_shares(settings: Settings, tmp_path: Path) -> None:
    """Workers join, one leaves, one crashes, one pauses, one is slow: what moves is what must, and shares stay fair."""
    brisk = msgspec.structs.replace(settings, lease_ttl_seconds=TTL_SECONDS)
    database = await Database.connect(brisk, role="test")
    appender = Appender(brisk.redis_url or "")
    shop = Shop(database, appender, seed=51)
    selling = asyncio.create_task(_sell(shop))
    with workers(brisk, tmp_path / "log") as some:
        first = some.running[0].pid
        await eventually(shared(database, first, counts=[8]))
        alone = await owned(database)
        second = some.start().pid
        await eventually(shared(database, first, second, counts=[4, 4]))
        two = await still(database)
        assert len(moved(alone, two)) == 4, "joined: half moves, and no more"
        third = some.start().pid
        await eventually(shared(database, first, second, third, counts=[2, 3, 3]))
        three = await still(database)
        assert {three[partition][0] for partition in moved(two, three)} == {third}, "only the newcomer gains"

        some.running[2].signal(signal.SIGTERM)
        assert await some.running.pop(2).wait() == 0
        await eventually(shared(database, first, second, counts=[4, 4]))
        left = await still(database)
        assert moved(three, left) == {p for p, (pid, _) in three.items() if pid == third}, "left: only its own move"

        await _crash(some, database, left)
        await _slow(some, database)
    selling.cancel()
    await asyncio.gather(selling, return_exceptions=True)
    async with asyncio.timeout(60):
        with workers(brisk, tmp_path / "log"):
            await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []
    await appender.close()
    await database.close()


async def _sell(shop: Shop) -> None:
    while True:
        await shop.place(3)
        await shop.visit(3)
        await asyncio.sleep(0.05)


async def _crash(some: Workers, database: Database, before: Owned) -> None:
    """One dies without a word: the other has all after the lease has run out, and keeps its own without a new epoch."""
    dead = some.running.pop(1)
    dead.kill()
    (survivor,) = (child.pid for child in some.running)
    await eventually(shared(database, survivor, counts=[8]))
    after = await still(database)
    assert moved(before, after) == {p for p, (pid, _) in before.items() if pid == dead.pid}
    assert all(after[p][1] == epoch for p, (pid, epoch) in before.items() if pid == survivor)


async def _slow(some: Workers, database: Database) -> None:
    """One that gets processor time in snatches, never without any for as long as its lease, keeps what it has."""
    slow = some.running[0]
    other = some.start()
    await eventually(shared(database, slow.pid, other.pid, counts=[4, 4]))
    before = await still(database)
    try:
        for _ in range(FLAPS):
            slow.signal(signal.SIGSTOP)
            await asyncio.sleep(0.2)
            slow.signal(signal.SIGCONT)
            await asyncio.sleep(0.2)
    finally:
        slow.signal(signal.SIGCONT)
    assert await owned(database) == before
    slow.signal(signal.SIGSTOP)
    await eventually(shared(database, other.pid, counts=[8]))
    slow.signal(signal.SIGCONT)
    await eventually(shared(database, slow.pid, other.pid, counts=[4, 4]))
    await still(database)
