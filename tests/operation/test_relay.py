"""A shop's own MongoDB, which the workers do not know: the relay moves its outboxes, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import redis

from rushlight.bus.appender import Appender
from rushlight.engine.relay import Relay
from rushlight.events.catalogue import OrderPaid
from rushlight.local.process import Child, spawn
from rushlight.settings import ENV_WHOLE, Settings
from rushlight.store import ledger
from rushlight.store.database import Database
from rushlight.store.ledger import read
from rushlight.store.outbox import Outbox
from rushlight.store.outstanding import SOME_ENTRY
from rushlight.store.relayed import Copies, Copy, Entry, ShopOrders
from tests.engine.audit import audit, eventually
from tests.engine.conftest import working
from tests.engine.shop import Shop


@pytest_asyncio.fixture
async def ours(settings: Settings) -> AsyncIterator[Database]:
    """Rushlight's database."""
    opened = await Database.connect(settings, role="test")
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def shop_database(settings: Settings) -> AsyncIterator[Database]:
    """The shop's, in which nothing but its orders is of interest."""
    opened = await Database.connect(
        msgspec.structs.replace(settings, database=f"{settings.database}_shop"), role="shop"
    )
    yield opened
    await opened.client.drop_database(opened.name)
    await opened.close()


@pytest.fixture
def relaying(settings: Settings, shop_database: Database) -> Settings:
    """Settings of a relay between the two."""
    return msgspec.structs.replace(
        settings, orders_mongo_url=settings.mongo_url, relay_from=f"{shop_database.name}.orders"
    )


class Relays:
    """Relay processes."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings = settings
        self._log = log
        self.running: list[Child] = []

    def start(self) -> Child:
        """Start one more."""
        command = [sys.executable, "-P", "-m", "rushlight.app", "relay"]
        environment = {ENV_WHOLE: self._settings.to_json()}
        self.running.append(spawn("relay", command, log=self._log, environment=environment))
        return self.running[-1]


@contextmanager
def relays(settings: Settings, log: Path, *, count: int = 1) -> Iterator[Relays]:
    """Relay processes for as long as the block runs."""
    some = Relays(settings, log)
    try:
        for _ in range(count):
            some.start()
        yield some
    finally:
        for child in some.running:
            child.kill()


async def moved(shop: Shop, shop_database: Database, ours: Database) -> None:
    """Wait until everything is settled and no outbox holds anything."""

    async def all_gone() -> bool:
        stored = await ours.journal.count_documents({}) + await ours.outcomes.count_documents({})
        left = await shop_database.orders.find_one(SOME_ENTRY) or await ours.orders.find_one(SOME_ENTRY)
        return stored >= len(shop.acknowledged) and not left

    await eventually(all_gone)


async def balances(ours: Database, acknowledged: int) -> None:
    """The ledger comes to say that all of it is stored and nothing pends."""

    async def agrees() -> bool:
        counts = (await read(ours)).sources.get("orders")
        return counts is not None and (counts.acknowledged, counts.stored, counts.pending) == (
            acknowledged,
            acknowledged,
            0,
        )

    await eventually(agrees)


async def test_orders_reach_figures(
    settings: Settings, relaying: Settings, shop_database: Database, ours: Database, tmp_path: Path
) -> None:
    """What the shop's orders and their later life emitted is stored once, in order; both outboxes are empty then."""
    shop = Shop(shop_database, None, seed=21)
    with relays(relaying, tmp_path / "log"):
        async with working(settings):
            await shop.place(30)
            await shop.go_on(20)
            await moved(shop, shop_database, ours)
            await shop.go_on(20)
            await moved(shop, shop_database, ours)
    assert await audit(ours, shop.acknowledged) == []
    await balances(ours, len(shop.acknowledged))


async def test_killed_at_any_moment(
    settings: Settings, relaying: Settings, shop_database: Database, ours: Database, tmp_path: Path
) -> None:
    """Two relays at once, killed with -9 in mid-work, the streams wiped: orders, outboxes and events agree."""
    chance = random.Random(22)
    shop = Shop(shop_database, None, seed=22)
    with (
        redis.Redis.from_url(settings.redis_url or "") as client,
        relays(relaying, tmp_path / "log", count=2) as some,
    ):
        async with working(settings):
            for _ in range(6):
                await shop.place(25)
                await shop.go_on(15)
                await asyncio.sleep(chance.random() * 0.8)
                some.running.pop(0).kill()
                client.flushall()
                some.start()
            await moved(shop, shop_database, ours)
    assert await audit(ours, shop.acknowledged) == []
    emitted = [order["emitted"] async for order in shop_database.orders.find({}, {"emitted": 1})]
    copied = [order["emitted"] async for order in ours.orders.find({}, {"emitted": 1})]
    assert sum(emitted) == sum(copied) == len(shop.acknowledged)


async def test_the_ledger_knows_what_waits(
    settings: Settings,
    relaying: Settings,
    shop_database: Database,
    ours: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without workers what was copied pends in the books; without relays they say that somebody is missing."""
    shop = Shop(shop_database, None, seed=23)
    await shop.place(10)
    count = len(shop.acknowledged)
    with relays(relaying, tmp_path / "log") as some:

        async def pends() -> bool:
            counts = (await read(ours)).sources.get("orders")
            return counts is not None and (counts.acknowledged, counts.pending, counts.stored) == (count, count, 0)

        await eventually(pends)
        some.running[0].signal(signal.SIGTERM)
        assert await some.running[0].wait() == 0
        assert await shop_database.orders.count_documents(SOME_ENTRY) == 10
        assert "Traceback" not in (tmp_path / "log").read_text()

    monkeypatch.setattr(ledger, "LOG_SILENT_SECONDS", 1.0)

    async def missed() -> bool:
        return any(name.startswith("relay:") for name in (await read(ours)).unreachable)

    await eventually(missed)


async def test_an_order_that_is_there_already(
    settings: Settings, relaying: Settings, shop_database: Database, ours: Database, tmp_path: Path
) -> None:
    """Two shops with one order id: the second's stays where it is, in sight, and nobody's events are mixed up."""
    theirs = Shop(shop_database, None, seed=24)
    await theirs.place(1)
    (order_id,) = [order["_id"] async for order in shop_database.orders.find()]
    mine: dict[str, Any] = Outbox.attach(
        {"_id": order_id}, OrderPaid(order_id=order_id, payment_id="p", currency="EUR", amount=5)
    )
    await ours.orders.insert_one(mine)
    with relays(relaying, tmp_path / "log"):
        async with working(settings):

            async def told() -> bool:
                log = await ours.logs.find_one({"_id": {"$regex": "^relay:"}})
                settled = not await ours.orders.find_one(SOME_ENTRY)
                return bool(log and log["damage"] and log["sources"]["orders"]["pending"] and settled)

            await eventually(told)
    assert await ours.journal.distinct("aggregateId") == [order_id]
    assert await ours.journal.count_documents({}) == 1
    assert await shop_database.orders.find_one(SOME_ENTRY)


async def test_what_is_no_entry_holds_up_nobody_else(
    settings: Settings, relaying: Settings, shop_database: Database, ours: Database, tmp_path: Path
) -> None:
    """Outboxes that something else has written into stay where they are, in sight, and the others are moved."""
    foreign: list[Any] = [
        {"p": 0},
        {"n": "1", "p": 0, "at": 5, "e": 7},
        {"n": None, "p": 1, "e": "{}"},
    ]
    await shop_database.orders.insert_many(
        [
            {"_id": "of one", "outbox": foreign[:1]},
            {"_id": "of several", "outbox": [*foreign, "text"]},
            {"_id": "of none", "outbox": foreign[0]},
            {"_id": 7, "outbox": foreign[:1]},
        ]
    )
    shop = Shop(shop_database, None, seed=26)
    await shop.place(10)
    with relays(relaying, tmp_path / "log") as some:
        async with working(settings):

            async def told() -> bool:
                log = await ours.logs.find_one({"_id": {"$regex": "^relay:"}})
                stored = await ours.journal.count_documents({})
                left = await shop_database.orders.count_documents(SOME_ENTRY)
                waiting = log["sources"]["orders"]["pending"] if log else 0
                damaged = len(log["damage"]) if log else 0
                return (stored, left, waiting, damaged) == (len(shop.acknowledged), 4, 7, 7)

            await eventually(told)
            assert some.running[0].code is None
    assert await audit(ours, shop.acknowledged) == []


async def test_finish(
    settings: Settings, relaying: Settings, shop_database: Database, ours: Database, tmp_path: Path
) -> None:
    """`relay --finish` ends when all is settled, and nobody is missed in the books from then on."""
    shop = Shop(shop_database, None, seed=25)
    await shop.place(10)
    command = [sys.executable, "-m", "rushlight", "relay", "--finish", "--data", settings.data]
    command += ["--mongo-url", str(settings.mongo_url), "--redis-url", str(settings.redis_url)]
    command += ["--orders-mongo-url", str(settings.mongo_url)]
    environment = {"RUSHLIGHT_DATABASE": settings.database, "RUSHLIGHT_RELAY_FROM": f"{shop_database.name}.orders"}
    async with working(settings):
        child = spawn("relay", command, log=tmp_path / "log", environment=environment)
        assert await child.wait() == 0, child.last_words()
    await moved(shop, shop_database, ours)
    found = await read(ours)
    assert found.unreachable == []
    assert found.balanced
    assert await audit(ours, shop.acknowledged) == []


async def test_a_careless_relay_is_found_out(
    settings: Settings, relaying: Settings, shop_database: Database, ours: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded bugs: a relay that marks more than it copies loses events, and one without the mark counts them twice."""
    appender = Appender(settings.redis_url or "")
    place = relaying.relay_from or ""
    add = Copies.add

    async def forgetful(self: Copies, entries: dict[str, list[Entry]], known: dict[str, Copy]) -> None:
        await add(self, entries, known)
        for order_id, some in entries.items():
            some.pop()  # nor is it offered to the stream
            await ours.orders.update_one({"_id": order_id}, {"$pop": {"outbox": 1}})

    async def markless(self: Copies, entries: dict[str, list[Entry]], known: dict[str, Copy]) -> None:
        for order_id, some in entries.items():
            change = {"$set": {"from": self._identity}, "$inc": {"emitted": len(some)}}
            pushed = {"$push": {"outbox": {"$each": [entry.document() for entry in some]}}}
            for _ in range(2):
                await ours.orders.update_one({"_id": order_id}, {**change, **pushed}, upsert=True)

    shop = Shop(shop_database, None, seed=26)
    found: list[list[str]] = []
    for seeded in (forgetful, markless):
        monkeypatch.setattr(Copies, "add", seeded)
        relayed = await ShopOrders.connect(settings.mongo_url or "", place)
        relay = Relay(relayed, ours, appender, settings.partitions)
        await shop.place(5)
        async with working(settings):
            await relay.run(finish=True)
        await relayed.close()
        found.append(await audit(ours, shop.acknowledged))
    await appender.close()
    assert any(line.startswith("lost") for line in found[0])
    copied = [order["emitted"] async for order in ours.orders.find({}, {"emitted": 1})]
    assert sum(copied) > len(shop.acknowledged)
    assert not (await read(ours)).balanced
