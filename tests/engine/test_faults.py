"""Killed, frozen, wiped, deposed: in the end everything acknowledged is settled once and every figure is right."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
import redis
from pymongo.errors import AutoReconnect, PyMongoError

from rushlight.app import STOP_SECONDS
from rushlight.bus.appender import Appender
from rushlight.local.instance import Instance
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.conftest import elsewhere
from tests.engine.audit import audit, eventually, settled
from tests.engine.conftest import working
from tests.engine.failing import failing
from tests.engine.processes import workers
from tests.engine.shop import Shop

KILLS = 10


@pytest.fixture
def brisk(settings: Settings) -> Settings:
    """Settings with short leases on a new database: what is killed here may write for some moments yet."""
    return msgspec.structs.replace(settings, lease_ttl_seconds=1.0)


async def owners(database: Database) -> list[int]:
    """The process that owns each partition that has an owner."""
    held = database.leases.find({"owner": {"$ne": None}, "epoch": {"$gt": 0}})
    return [int(lease["owner"].split(":")[1]) async for lease in held]


async def until_owned(database: Database, *pids: int, by_all: bool = False) -> None:
    """Wait until these processes own something, or all of it."""

    async def owned() -> bool:
        found = await owners(database)
        return set(pids) <= set(found) and (not by_all or (len(found) == 8 and set(found) <= set(pids)))

    await eventually(owned)


async def test_killed_in_mid_stream(database: Database, appender: Appender, brisk: Settings, tmp_path: Path) -> None:
    """Workers killed with -9 in mid-work, one after another, the streams wiped in between: not a cent is off."""
    chance = random.Random(11)
    shop = Shop(database, appender, seed=11, loss=0.1)
    with redis.Redis.from_url(brisk.redis_url or "") as client, workers(brisk, tmp_path / "log", count=2) as some:
        for number in range(KILLS):
            await until_owned(database, some.running[0].pid)
            for _ in range(6):
                await shop.place(15)
                await shop.go_on(5)
                await asyncio.sleep(chance.random() * 0.05)
            if number % 4 == 3:
                client.flushall()
            some.kill()
        await settled(database, shop.acknowledged)
    epochs = [lease["epoch"] async for lease in database.leases.find({"epoch": {"$gt": 0}})]
    assert sum(epochs) > 2 * KILLS
    assert await audit(database, shop.acknowledged) == []


async def test_frozen_past_its_lease(database: Database, appender: Appender, brisk: Settings, tmp_path: Path) -> None:
    """A worker that was frozen in mid-work wakes after others took over: its commits are fenced, and it goes on."""
    shop = Shop(database, appender, seed=12)
    with workers(brisk, tmp_path / "log") as some:
        for _ in range(2):
            frozen = some.running[0]
            await until_owned(database, frozen.pid, by_all=True)
            placing = asyncio.create_task(_busy(shop))
            await asyncio.sleep(0.15)
            frozen.signal(signal.SIGSTOP)
            await until_owned(database, some.start().pid, by_all=True)
            frozen.signal(signal.SIGCONT)
            await placing
            await settled(database, shop.acknowledged)
            assert frozen.code is None
            some.running.pop(0).kill()
    assert await audit(database, shop.acknowledged) == []


async def _busy(shop: Shop) -> None:
    for _ in range(12):
        await shop.place(20)
        await asyncio.sleep(0.02)


async def test_sigterm(database: Database, appender: Appender, brisk: Settings, tmp_path: Path) -> None:
    """SIGTERM in mid-work: it ends by itself, with code 0, and nobody has to wait for its leases."""
    patient = msgspec.structs.replace(brisk, lease_ttl_seconds=300.0)
    shop = Shop(database, appender, seed=13)
    with workers(patient, tmp_path / "log") as some:
        await until_owned(database, some.running[0].pid, by_all=True)
        await _busy(shop)
        some.running[0].signal(signal.SIGTERM)
        assert await some.running.pop(0).wait() == 0
        assert await owners(database) == []
        assert await database.leases.count_documents({"_id": {"$type": "string"}}) == 0
        # With leases of five minutes the next one would otherwise stand idle.
        some.start()
        await settled(database, shop.acknowledged)
        assert "Traceback" not in some.words()
    assert await audit(database, shop.acknowledged) == []


async def test_sigterm_while_mongodb_hangs(own_servers: Instance, tmp_path: Path) -> None:
    """A worker that cannot finish abandons what it has within its budget; the next one misses nothing."""
    settings = own_servers.settings
    database = await Database.connect(settings, role="test")
    appender = Appender(own_servers.redis_url)
    shop = Shop(database, appender, seed=15)
    with workers(settings, tmp_path / "log") as some:
        await until_owned(database, some.running[0].pid, by_all=True)
        await shop.place(20)
        own_servers.freeze("mongod")
        await asyncio.sleep(0.5)
        leaving = some.running.pop(0)
        leaving.signal(signal.SIGTERM)
        assert await asyncio.wait_for(leaving.wait(), STOP_SECONDS + 40) == 1
        own_servers.thaw("mongod")
        assert "abandoned" in some.words()
        some.start()
        await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []
    await appender.close()
    await database.close()


async def test_frozen_redis(own_valkey: Instance, database: Database, brisk: Settings) -> None:
    """While Redis hangs orders are settled from the outbox; when it thaws the streams go on where they stood."""
    local = msgspec.structs.replace(brisk, redis_url=own_valkey.redis_url)
    appender = Appender(own_valkey.redis_url)
    shop = Shop(database, appender, seed=14)
    async with working(local):
        await shop.place(20)
        await settled(database, shop.acknowledged)
        own_valkey.freeze("valkey")
        await shop.place(20)
        await shop.go_on(20)
        await settled(database, shop.acknowledged)
        own_valkey.thaw("valkey")
        await shop.place(20)
        await settled(database, shop.acknowledged)
        own_valkey.kill("valkey")
        await shop.place(20)
        await settled(database, shop.acknowledged)
    await appender.close()
    assert await audit(database, shop.acknowledged) == []


@pytest_asyncio.fixture
async def fragile(failing_url: str, brisk: Settings) -> AsyncIterator[tuple[Database, Settings]]:
    """A database on the MongoDB that fails on demand, and settings for workers there."""
    settings = elsewhere(brisk, mongo_url=failing_url)
    opened = await Database.connect(settings, role="test")
    yield opened, settings
    await opened.client.drop_database(opened.name)
    await opened.close()


async def test_a_mongodb_that_stumbles(fragile: tuple[Database, Settings], appender: Appender) -> None:
    """Workers whose commands fail at random, by closed connections, refusals and lost replies: late, and right."""
    database, settings = fragile
    chance = random.Random(15)
    shop = Shop(database, appender, seed=15, loss=0.2)
    commands = ["update", "insert", "commitTransaction", "abortTransaction", "find", "findAndModify", "killSessions"]
    lost_reply = {"code": 64, "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}}
    ways: list[dict[str, object]] = [{"closeConnection": True}, {"errorCode": 262}, {"errorCode": 112}]
    async with working(settings, count=2):
        for _ in range(20):
            some = chance.sample(commands, 3)
            how = chance.choice(ways)
            if chance.random() < 0.3:
                some, how = ["commitTransaction", "update"], {"writeConcernError": lost_reply}
            times = {"times": chance.randrange(1, 6)}
            async with failing(database, times, failCommands=some, appName="rushlight worker of a test", **how):
                await shop.place(10)
                await shop.go_on(5)
                await asyncio.sleep(chance.random() * 0.15)
        await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []


async def test_slow_commits(fragile: tuple[Database, Settings], appender: Appender) -> None:
    """Commits that take longer than a lease lasts, and some that are done after their client gave up: all is right."""
    database, settings = fragile
    shop = Shop(database, appender, seed=17, loss=0.2)
    async with working(settings, count=2):
        for commands in (["commitTransaction"], ["update", "commitTransaction"]):
            slow = {"failCommands": commands, "blockConnection": True, "blockTimeMS": 1500}
            async with failing(database, {"times": 6}, appName="rushlight worker of a test", **slow):
                await shop.place(20)
                await shop.go_on(10)
                await shop.visit(20)
                await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []


async def test_a_primary_that_steps_down(fragile: tuple[Database, Settings], appender: Appender) -> None:
    """The primary steps down in mid-work and is elected again: workers wait and go on."""
    database, settings = fragile
    shop = Shop(database, appender, seed=16)
    async with working(settings):
        for _ in range(2):
            await shop.place(60)
            with suppress(AutoReconnect):  # it closes connections as it goes
                await database.client.admin.command({"replSetStepDown": 1, "force": True})
            await eventually(lambda: _is_primary(database))
        await shop.place(20)
        await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []


async def _is_primary(database: Database) -> bool:
    try:
        return bool((await database.client.admin.command("hello"))["isWritablePrimary"])
    except PyMongoError:
        return False
