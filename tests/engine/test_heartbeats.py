"""A worker keeps its leases while it is busy with one partition for longer than a lease lives."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.leases import Leases
from rushlight.store.positions import Position, Positions
from tests.engine.audit import eventually, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop


async def test_a_partition_that_is_long_in_the_taking(
    database: Database, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's other leases are prolonged meanwhile, and it counts as alive."""
    original, claims, go_on = Positions.claim, list[int](), asyncio.Event()

    async def slow(self: Positions, partition: int, epoch: int) -> Position:
        claims.append(partition)
        if len(set(claims)) == 8:
            await go_on.wait()
        return await original(self, partition, epoch)

    monkeypatch.setattr(Positions, "claim", slow)
    shop = Shop(database, None, seed=71)
    async with working(brisk) as workers:

        async def is_last() -> bool:
            return len(set(claims)) == 8

        await eventually(is_last)
        first = await database.leases.find_one({"_id": claims[0]})
        assert first is not None
        later = first["expiresAt"] + timedelta(seconds=4 * brisk.lease_ttl_seconds)

        async def all_prolonged() -> bool:
            mine = {"owner": workers[0].name, "expiresAt": {"$gt": later}}
            return await database.leases.count_documents(mine) == 8

        async def is_alive() -> bool:
            return await workers[0].alive() is None

        try:
            await eventually(all_prolonged)
            await eventually(is_alive)
        finally:
            go_on.set()
        await shop.place(8)
        await settled(database, shop.acknowledged)


async def test_those_that_nobody_works_on_may_expire(database: Database) -> None:
    """They are another's after their time, also while their owner goes on with others."""
    leases = Leases(database, "one", 60.0)
    session = database.client.start_session()
    identifier = session.session_id["id"].as_uuid()
    for partition in (0, 1):
        await leases.take(partition, identifier)
    before = {lease["_id"]: lease["expiresAt"] async for lease in database.leases.find({"owner": "one"})}
    await asyncio.sleep(0.01)  # times are whole milliseconds
    await leases.prolong(but=[1])
    after = {lease["_id"]: lease["expiresAt"] async for lease in database.leases.find({"owner": "one"})}
    assert after[0] > before[0]
    assert after[1] == before[1]
    await session.end_session()
