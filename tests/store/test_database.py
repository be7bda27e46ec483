"""A database is complete before anybody works with it, whoever came first and whatever was there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from rushlight.errors import SetupError, Unavailable
from rushlight.local.check import check_mongo
from rushlight.settings import Settings
from rushlight.store import database as module
from rushlight.store.database import COLLECTIONS, INDEXES, Database


async def missing(database: Database) -> set[str]:
    """Collections and indexes that should be there and are not."""
    db = database.client[database.name]
    absent = {*COLLECTIONS, "orders"} - set(await db.list_collection_names())
    for name, indexes in INDEXES.items():
        found = await db[name].index_information()
        absent |= {f"{name}.{index.document['name']}" for index in indexes if index.document["name"] not in found}
    return absent


async def test_many_at_once(settings: Settings) -> None:
    """Twelve processes that start together all find everything there."""
    opened = await asyncio.gather(*[Database.connect(settings, role=f"test {n}") for n in range(12)])
    assert await missing(opened[-1]) == set()
    for database in opened:
        await database.close()


async def test_what_a_killed_maker_left(settings: Settings) -> None:
    """A collection without its indexes gets them, whether its maker was killed or a shop had one of that name."""
    first = await Database.connect(settings, role="test")
    await first.orders.drop_indexes()
    await first.journal.drop_indexes()
    await first.orders.insert_one({"_id": "theirs", "total": 7})
    second = await Database.connect(settings, role="test")
    assert await missing(second) == set()
    await first.close()
    await second.close()


async def test_partitions_are_for_life(settings: Settings) -> None:
    """Another count is refused with what to do; the database stays as it was."""
    await (await Database.connect(settings, role="test")).close()
    other = msgspec.structs.replace(settings, partitions=settings.partitions + 1)
    with pytest.raises(SetupError, match="set partitions = 8"):
        await Database.connect(other, role="test")
    with pytest.raises(SetupError, match="set partitions = 8"):
        await Database.connect_orders(other, role="test")


async def test_nobody_there(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nothing answers is said within the time for choosing a server."""
    monkeypatch.setattr(module, "SERVER_SELECTION_TIMEOUT_MS", 300)
    nowhere = f"mongodb://{quote(str(tmp_path / 'none.sock'), safe='')}"
    with pytest.raises(Unavailable, match="primary") as said:
        await Database.connect(msgspec.structs.replace(settings, mongo_url=nowhere), role="test")
    assert "Topology" not in str(said.value)


@pytest.mark.parametrize("url", ["http://somewhere", "mongodb://a:b:c", "mongodb://user:p@ss@host"])
async def test_no_url(settings: Settings, url: str) -> None:
    """What is no URL of a MongoDB is said in one sentence that names the option."""
    other = msgspec.structs.replace(settings, orders_mongo_url=url)
    with pytest.raises(SetupError, match="--orders-mongo-url is not a MongoDB URL"):
        await Database.connect_orders(other, role="test")
    with pytest.raises(SetupError, match="--mongo-url is not a MongoDB URL"):
        await Database.connect(msgspec.structs.replace(settings, mongo_url=url), role="test")
    with pytest.raises(SetupError, match="--mongo-url is not a MongoDB URL"):
        check_mongo(url)
