"""A MongoDB whose disk is full refuses every write: that is waited out or told, and never mistaken for a bad event."""

from __future__ import annotations

from pathlib import Path

import msgspec

from rushlight.errors import Unavailable
from rushlight.ingest.keys import create
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.engine.audit import audit, settled
from tests.engine.conftest import working
from tests.engine.failing import failing, failing_mongod
from tests.engine.shop import Shop
from tests.orders.client import serving

OUT_OF_DISK_SPACE = 14031
WRITES = ["insert", "update", "findAndModify", "commitTransaction", "bulkWrite"]


async def test_a_full_disk(settings: Settings, tmp_path: Path) -> None:
    """Orders and keys are refused with 503 and with a reason; commits wait and park nothing; with room all goes on."""
    with failing_mongod(tmp_path / "mongod") as url:
        full = msgspec.structs.replace(settings, mongo_url=url, lease_ttl_seconds=2.0)
        database = await Database.connect(full, role="test")
        shop = Shop(database, None, seed=41)
        try:
            async with serving(msgspec.structs.replace(full, redis_url=None)) as service:
                order_id = (await service.place()).json["orderId"]
                async with failing(
                    database, "alwaysOn", failCommands=WRITES, errorCode=OUT_OF_DISK_SPACE, appName="rushlight orders"
                ):
                    for reply in (await service.place(), await service.post(f"/orders/{order_id}/pay")):
                        assert reply.status == 503
                        assert int(reply.headers["retry-after"]) > 0
                assert (await service.post(f"/orders/{order_id}/pay")).status == 200
            await database.orders.delete_many({})
            async with working(full):
                for _ in range(2):
                    async with failing(
                        database,
                        {"times": 6},
                        failCommands=WRITES,
                        errorCode=OUT_OF_DISK_SPACE,
                        appName="rushlight worker of a test",
                    ):
                        await shop.place(10)
                        await settled(database, shop.acknowledged)
            assert await database.outcomes.count_documents({}) == 0
            async with failing(
                database, "alwaysOn", failCommands=WRITES, errorCode=OUT_OF_DISK_SPACE, appName="rushlight test"
            ):
                refused = False
                try:
                    await create(database, "public")
                except Unavailable:
                    refused = True
                assert refused
            assert await audit(database, shop.acknowledged) == []
        finally:
            await database.close()
