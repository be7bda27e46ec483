"""Two versions of the code side by side: what a newer one writes is kept by this one, or set aside in sight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rushlight.bus.appender import Appender
from rushlight.events.envelope import encode
from rushlight.events.ids import partition_of
from rushlight.ingest.intake import Intake
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.engine.audit import eventually, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop, appended

FUTURE = {"since": "9.0", "list": [1, {"deep": True}]}


async def test_fields_of_the_future_survive(settings: Settings, tmp_path: Path) -> None:
    """Position, lease, log, counter, order and meta documents keep what this code does not know through its writes."""
    database = await Database.connect(settings, role="test")
    appender = Appender(settings.redis_url or "")
    shop = Shop(database, appender, seed=31)
    try:
        await _work(settings, database, shop, tmp_path)
        names = ("positions", "leases", "logs", "ledger", "orders", "meta")
        for name in names:
            await database.client[database.name][name].update_many({}, {"$set": {"future": FUTURE}})
        before = {position["_id"]: position["n"] async for position in database.positions.find()}
        await _work(settings, database, shop, tmp_path)
        after = {position["_id"]: position["n"] async for position in database.positions.find()}
        assert sum(after.values()) > sum(before.values())
        for name in names:
            changed = database.client[database.name][name]
            assert await changed.count_documents({"future": FUTURE}) > 0, name
        assert await database.positions.count_documents({"future": {"$ne": FUTURE}}) == 0
        assert await database.leases.count_documents({"_id": {"$type": "number"}, "future": {"$ne": FUTURE}}) == 0
        assert await database.logs.count_documents({"future": {"$ne": FUTURE}}) == 0
    finally:
        await appender.close()
        await database.close()


async def _work(settings: Settings, database: Database, shop: Shop, tmp_path: Path) -> None:
    """A worker's whole life, with orders, their later life and a log that is opened, used and closed."""
    async with working(settings):
        intake = await Intake.open(database, settings.redis_url or "", tmp_path / "wal")
        visit = shop.seen()
        await intake.accept([visit])
        await shop.place(16)
        await shop.go_on(8)
        await settled(database, [*shop.acknowledged, visit])
        await intake.settled()
        await intake.close()


async def test_events_of_the_future_are_kept(settings: Settings) -> None:
    """Unknown fields beside an event do it no harm, an unknown event is the shop's own, and a newer schema is parked
    with the later ones of its aggregate: none of them is dropped.
    """
    database = await Database.connect(settings, role="test")
    appender = Appender(settings.redis_url or "")
    shop = Shop(database, appender, seed=32)
    plain, unknown = shop.seen("v-plain"), shop.seen("v-unknown", name="thing_of_the_future", schema=7)
    newer, later = shop.seen("v-newer", schema=99), shop.seen("v-newer")
    try:
        async with working(settings):
            for event in (plain, unknown, newer, later):
                raw: dict[str, Any] = msgspec.json.decode(encode(event))
                data = msgspec.json.encode({**raw, "future": FUTURE})
                await appended(appender, partition_of(event.shop, event.aggregate_id, settings.partitions), data)

            async def all_ended() -> bool:
                return await database.journal.count_documents({}) + await database.outcomes.count_documents({}) == 4

            await eventually(all_ended)
        stored = {document["_id"]: document async for document in database.journal.find()}
        parked = [document async for document in database.outcomes.find()]
    finally:
        await appender.close()
        await database.close()
    assert stored.keys() == {plain.id, unknown.id}
    assert stored[unknown.id]["eventName"] == "thing_of_the_future"
    assert {document["_id"] for document in parked} == {newer.origin, later.origin}
    assert {document["kind"] for document in parked} == {"parked"}
    # What is parked is kept byte for byte, the unknown fields too: the code that knows them will read them.
    assert all(msgspec.json.decode(document["event"])["future"] == FUTURE for document in parked)
