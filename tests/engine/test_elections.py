"""On a replica set of three: primaries come and go, and no acknowledged order is lost, counted twice or miscounted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from rushlight.bus.appender import Appender
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.engine.audit import audit, settled
from tests.engine.conftest import working
from tests.engine.replicas import Replicas, replicas
from tests.engine.shop import Shop

LEASE_SECONDS = 2.0


async def busy(shop: Shop, rounds: int = 10) -> None:
    """Place orders and visit, whatever happens meanwhile."""
    for _ in range(rounds):
        await shop.place(10)
        await shop.visit(5)
        await asyncio.sleep(0.02)


async def without_majority(some: Replicas, shop: Shop) -> None:
    """Two of three are dead for longer than a lease lasts, and visitors go on all the same."""
    primary = await asyncio.to_thread(some.primary)
    for other in some.others(primary):
        some.kill(other)
    await shop.visit(20)
    await asyncio.sleep(2 * LEASE_SECONDS)
    await shop.visit(20)
    for other in some.others(primary):
        some.start(other)
    await asyncio.to_thread(some.primary)


@pytest.mark.timeout(400)
async def test_elections(settings: Settings, appender: Appender, tmp_path: Path) -> None:
    """Deposed, killed, frozen until another was elected, and alone for long: every figure is right in the end."""
    with replicas(tmp_path / "set") as some, some.clearing():
        here = msgspec.structs.replace(settings, mongo_url=some.url, lease_ttl_seconds=LEASE_SECONDS)
        database = await Database.connect(here, role="test")
        shop = Shop(database, appender, seed=31, loss=0.2)
        async with working(here, count=2):
            await busy(shop)
            await asyncio.to_thread(some.depose)
            await busy(shop)
            primary = await asyncio.to_thread(some.primary)
            some.kill(primary)
            await busy(shop)
            some.start(primary)
            await busy(shop)
            frozen = await asyncio.to_thread(some.primary)
            some.freeze(frozen)
            others = [port for port in some.ports if port != frozen]
            assert await asyncio.to_thread(some.primary) in others
            some.thaw(frozen)
            await busy(shop)
            await without_majority(some, shop)
            await busy(shop)
            await settled(database, shop.acknowledged)
        assert await audit(database, shop.acknowledged) == []
        await database.close()
