"""Positions that are lost while the journal stays, as a partial restore leaves them: all goes on, all is right."""

from __future__ import annotations

import pytest

from rushlight.bus.appender import Appender
from rushlight.errors import Fenced
from rushlight.query.freshness import Freshness
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.positions import Positions
from rushlight.store.recount import verify
from rushlight.store.restoring import restored
from tests.engine.audit import audit, eventually, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop


async def caught_up(database: Database) -> bool:
    """Whether every generation has folded all of the journal."""
    return not [
        seq
        async for position in database.positions.find()
        for seq in position.get("projections", {}).values()
        if seq != position["seq"]
    ]


@pytest.mark.parametrize("with_them", [(), ("leases",), ("projection.money",)])
async def test_positions_are_lost(
    database: Database, appender: Appender, brisk: Settings, with_them: tuple[str, ...]
) -> None:
    """Without them, and without leases or figures too: no clash, no event twice, every figure right."""
    shop = Shop(database, appender, seed=41)
    async with working(brisk):
        await shop.place(40)
        await shop.visit(60)
        await settled(database, shop.acknowledged)
    for name in ("positions", *with_them):
        await database.client[database.name][name].delete_many({})
    async with working(brisk):
        await shop.place(20)
        await shop.go_on(20)
        await shop.visit(20)
        await settled(database, shop.acknowledged)
        await eventually(lambda: caught_up(database))
    assert await audit(database, shop.acknowledged) == []
    assert (await verify(database)).differences == []


async def test_a_restoration_that_was_interrupted(database: Database, appender: Appender, brisk: Settings) -> None:
    """A claimer that died leaves the rest to the next one, and one that was fenced deletes nothing more."""
    shop = Shop(database, appender, seed=42)
    async with working(brisk):
        await shop.place(40)
        await settled(database, shop.acknowledged)
    await database.positions.delete_many({})
    positions = Positions(database)
    first = await positions.claim(0, 100)
    assert first.seq == await database.journal.count_documents({"p": 0})
    await database.positions.update_one({"_id": 0}, {"$set": {"lost": True}})
    before = await Freshness(database).read()
    second = await positions.claim(0, 101)
    with pytest.raises(Fenced):
        await restored(database, 0, 100)
    assert (second.seq, second.epoch) == (first.seq, 101)
    await database.positions.update_one({"_id": 0}, {"$set": {"epoch": 0}})
    async with working(brisk):
        await eventually(lambda: caught_up(database))
        await shop.place(5)
        await settled(database, shop.acknowledged)
        await eventually(lambda: caught_up(database))
        assert (await Freshness(database).read()).money > before.money
    assert await audit(database, shop.acknowledged) == []


async def test_leases_are_lost_and_positions_are_not(database: Database, appender: Appender, brisk: Settings) -> None:
    """However often the partitions had changed hands: the first new owner is above all that were before."""
    shop = Shop(database, appender, seed=43)
    async with working(brisk):
        await shop.place(10)
        await settled(database, shop.acknowledged)
    await database.positions.update_many({}, {"$set": {"epoch": 5000}})
    await database.leases.delete_many({})
    async with working(brisk):
        await shop.place(10)
        await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []
