"""A worker settles everything that was acknowledged, once and in order, whichever road it came by."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest
import redis

from rushlight.bus import stream
from rushlight.bus.appender import Appender
from rushlight.bus.stream import stream_key
from rushlight.engine import partition as module
from rushlight.engine.worker import Worker
from rushlight.events.catalogue import Item, OrderPaid, ViewItem
from rushlight.events.event import Event
from rushlight.events.ids import partition_of
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.outbox import Outbox
from tests.conftest import elsewhere
from tests.engine.audit import audit, eventually, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop

NOWHERE = "redis://127.0.0.1:1/0"


def valkey(settings: Settings) -> redis.Redis:
    """A plain client of the session's Valkey."""
    return redis.Redis.from_url(settings.redis_url or "")


async def kinds(database: Database) -> Counter[str]:
    """How many terminal records of each kind there are beside the journal."""
    return Counter([document["kind"] async for document in database.outcomes.find({}, {"kind": 1})])


async def test_a_hundred_while_nobody_works(database: Database, appender: Appender, brisk: Settings) -> None:
    """One hundred events wait in the streams; a worker starts; exactly those are stored, in order per aggregate."""
    shop = Shop(database, appender)
    await shop.place(20)
    await shop.go_on(35)
    await shop.visit(100 - len(shop.acknowledged))
    assert len(shop.acknowledged) == 100
    async with working(brisk):
        await settled(database, shop.acknowledged)
    assert await database.journal.count_documents({}) == 100
    assert await audit(database, shop.acknowledged) == []


async def test_a_hundred_without_redis(database: Database, brisk: Settings) -> None:
    """Without any Redis orders are placed and settled all the same: they come from the outbox."""
    shop = Shop(database, None)
    await shop.place(20)
    async with working(msgspec.structs.replace(brisk, redis_url=NOWHERE)):
        await settled(database, shop.acknowledged)
        await shop.go_on(40)
        await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []


async def test_orders_in_a_mongodb_of_their_own(appender: Appender, brisk: Settings, failing_url: str) -> None:
    """Outboxes are read and cleared where the orders live; journal and figures stand in the other one."""
    apart = elsewhere(brisk, orders_mongo_url=failing_url)
    database = await Database.connect(apart, role="test")
    shop = Shop(database, appender, seed=2, loss=0.3)
    async with working(apart):
        await shop.place(30)
        await shop.go_on(30)
        await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []
    assert await database.client[database.name]["orders"].count_documents({}) == 0
    await database.orders_client.drop_database(database.name)
    await database.close()


async def test_lost_on_the_fast_path(database: Database, appender: Appender, brisk: Settings) -> None:
    """With every second offer lost, gaps are filled and leftovers swept; nothing is missed, nothing out of order."""
    shop = Shop(database, appender, seed=3, loss=0.5)
    async with working(brisk):
        await shop.place(30)
        for _ in range(12):
            await shop.go_on(5)
        await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []


async def test_repeats_of_every_sort(database: Database, appender: Appender, brisk: Settings) -> None:
    """Sent twice is stored once; the same event under other acknowledgements is a duplicate of each of them."""
    shop = Shop(database, appender, seed=4)
    events = [shop.seen() for _ in range(30)]
    again = [msgspec.structs.replace(event, origin=f"w:other:{n}") for n, event in enumerate(events)]
    third = [msgspec.structs.replace(event, origin=f"w:third:{n}") for n, event in enumerate(events)]
    async with working(brisk):
        await shop.send([*events, *events, *again[:15]])
        await settled(database, shop.acknowledged)
        await shop.send([*third, *again, *events])
        await settled(database, shop.acknowledged)
    assert await kinds(database) == {"duplicate": 60}
    assert await database.journal.count_documents({}) == 30
    assert await audit(database, shop.acknowledged) == []


async def test_published_without_a_log(database: Database, appender: Appender, brisk: Settings) -> None:
    """Events that nobody acknowledged are stored and stand in no account."""
    shop = Shop(database, appender)
    events = [shop.seen(origin=f"d:{n}") for n in range(5)]
    async with working(brisk):
        await shop.send(events)
        await settled(database, events)
    assert await database.ledger.count_documents({}) == 0
    assert await audit(database, events) == []


class Unsaid(Event, name="test_unsaid", aggregate="order_id"):
    """A shop's own event about an order, with whatever in it."""

    order_id: str
    value: Any = None


async def test_poison(database: Database, appender: Appender, brisk: Settings) -> None:
    """What breaks its schema, is too new or cannot be stored is parked with what follows it; all else goes on."""
    shop = Shop(database, appender, seed=5)
    names = await shop.place(12)
    poison: list[Event] = [
        OrderPaid(order_id=names[0], payment_id="p", currency="EUR", amount=-1),
        OrderPaid(order_id=names[1], payment_id="p", currency="XXX", amount=1),
        Unsaid(order_id=names[2], value=2**63),
        Unsaid(order_id=names[3], value={"a\0b": 1}),
    ]
    for event in poison:
        await shop.report(event)
        await shop.report(OrderPaid(order_id=event.aggregate_id, payment_id="q", currency="EUR", amount=1))
    newer = shop.seen("v-new", schema=2)
    huge = shop.seen("v-huge", version=2**70, payload={"visitorId": "v-huge", "items": [], "n": 2**64})
    async with working(brisk):
        await shop.send([newer, shop.seen("v-new"), huge, shop.seen("v-huge")])
        await shop.visit(50)
        await settled(database, shop.acknowledged)
    assert await kinds(database) == {"parked": 12}
    reasons = [document["reason"] async for document in database.outcomes.find().sort("reason")]
    assert len([reason for reason in reasons if reason.startswith("an earlier event")]) == 6
    assert await database.journal.count_documents({}) == len(shop.acknowledged) - 12
    assert await audit(database, shop.acknowledged) == []
    parked = await database.outcomes.find_one({"eventId": newer.id})
    assert parked is not None
    assert (parked["aggregateId"], parked["eventName"], parked["source"]) == ("v-new", newer.name, "web")


async def test_poison_is_remembered_by_the_next_owner(database: Database, appender: Appender, brisk: Settings) -> None:
    """What follows a parked event is parked also after a restart, and by version."""
    shop = Shop(database, appender)
    (name,) = await shop.place(1)
    await shop.report(OrderPaid(order_id=name, payment_id="p", currency="XXX", amount=1))
    async with working(brisk):
        await settled(database, shop.acknowledged)
    await shop.report(OrderPaid(order_id=name, payment_id="q", currency="EUR", amount=1))
    async with working(brisk):
        await settled(database, shop.acknowledged)
    versions = [document.get("version") async for document in database.outcomes.find().sort("version")]
    assert versions == [2, 3]
    assert await audit(database, shop.acknowledged) == []


async def test_what_never_fits_does_not_stop_the_partition(
    database: Database, appender: Appender, brisk: Settings
) -> None:
    """A counter that is full refuses a visitor's events: those are parked, and the partition goes on."""
    shop = Shop(database, appender, seed=6)
    marked = [shop.seen("v-0") for _ in range(40)]
    for number, event in enumerate(marked):
        declared = ViewItem(visitor_id="v-0", items=[Item(product_id="full" if number % 10 == 0 else "tea")])
        event.name, event.payload = "view_item", declared.payload()
    day = f"{marked[0].occurred_at:%Y-%m-%d}"
    partition = partition_of("default", "v-0", 8)
    full = {f"{quarter:02d}": {"v": 2**63 - 1} for quarter in range(96)}
    await database.projection("behaviour").insert_one(
        {"_id": f"1/{partition:02d}/default/p/{day}/full", "p": partition, "seq": 0, "q": full}
    )
    for event in marked:
        event.occurred_at = marked[0].occurred_at
    async with working(brisk):
        await shop.send(marked)
        await settled(database, shop.acknowledged)
    # From the first on, everything of this visitor is parked: 0 is full.
    assert await kinds(database) == {"parked": 40}
    others = [shop.seen(f"v-{n}") for n in range(1, 20)]
    async with working(brisk):
        await shop.send(others)
        await settled(database, others)
    assert await database.journal.count_documents({}) == 19


async def test_unreadable_entries(database: Database, brisk: Settings) -> None:
    """Garbage in a stream is noted and passed; garbage in an outbox is parked in the orders' account."""
    shop = Shop(database, None)
    (name,) = await shop.place(1)
    await database.orders.update_one({"_id": name}, {"$set": {"outbox.0.e": "garbage"}})
    with valkey(brisk) as client:
        client.xadd(stream_key(0), {"e": b"\xff garbage"})
        client.xadd(stream_key(0), {"other": "field"})
    async with working(brisk):
        await settled(database, shop.acknowledged)
        await eventually(lambda: database.outcomes.count_documents({"kind": "unreadable"}))
    counter = await database.ledger.find_one({"source": "orders", "parked": 1})
    assert counter is not None
    assert (await kinds(database))["parked"] == 1


async def test_wiped_streams(database: Database, appender: Appender, brisk: Settings) -> None:
    """FLUSHALL again and again while orders are placed: what went with the streams comes from the outboxes."""
    shop = Shop(database, appender, seed=7)
    with valkey(brisk) as client:
        async with working(brisk):
            for _ in range(10):
                await shop.place(8)
                await shop.go_on(4)
                client.flushall()
                await shop.place(2)
            await settled(database, shop.acknowledged)
        assert await audit(database, shop.acknowledged) == []
        positions = [position async for position in database.positions.find()]
        assert len({position["generation"] for position in positions}) == len(positions)


async def test_streams_are_trimmed(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed leaves the streams."""
    monkeypatch.setattr(module, "TRIM_INTERVAL_SECONDS", 0.0)
    shop = Shop(database, appender)
    with valkey(brisk) as client:
        async with working(brisk):
            for _ in range(4):
                await shop.visit(1000)
                await settled(database, shop.acknowledged)
        # An approximate trim leaves at most one node of a hundred entries a stream.
        assert sum(client.xlen(stream_key(partition)) for partition in range(8)) < 2000


async def test_pages_too_large_for_their_time(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that never comes in time is asked for in pieces that do, instead of again and again as a whole."""
    monkeypatch.setattr(stream, "CALL_TIMEOUT_SECONDS", 0.005)
    monkeypatch.setattr(module, "BUSY_SWEEP_SECONDS", 0.001)
    shop = Shop(database, appender)
    events = [shop.seen("v-1") for _ in range(100)]
    for event in events:
        event.payload["note"] = "x" * 100_000
    for start in range(0, len(events), 50):
        await shop.send(events[start : start + 50])
    async with working(brisk):
        await settled(database, events)
    assert await database.journal.count_documents({}) == 100


def held(workers: list[Worker]) -> list[int]:
    """How many partitions each worker runs."""
    return [len(worker._held) for worker in workers]


async def test_workers_share(database: Database, appender: Appender, brisk: Settings) -> None:
    """Three workers come to their fair shares and keep them; when one leaves the others take what it had."""
    shop = Shop(database, appender)

    async def fair() -> bool:
        return sorted(held(workers)) == [2, 3, 3]

    async with working(brisk, count=1) as first:
        await eventually(_async(lambda: held(first) == [8]))
        async with working(brisk, count=2) as more:
            workers = [*first, *more]
            await eventually(fair)
            await shop.place(50)
            await settled(database, shop.acknowledged)
            # Shares that do not come to rest never give two rounds of heartbeats in which nothing moves.
            await eventually(lambda: _has_rested(database, workers))
            assert await fair()
        await eventually(_async(lambda: held(first) == [8]))
        await shop.go_on(20)
        await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []
    assert await database.leases.count_documents({"$or": [{"owner": {"$ne": None}}, {"_id": {"$type": "string"}}]}) == 0


async def _has_rested(database: Database, workers: list[Worker]) -> bool:
    async def stands() -> tuple[list[list[int]], list[int]]:
        epochs = [lease["epoch"] async for lease in database.leases.find({"epoch": {"$exists": True}}).sort("_id")]
        return [sorted(worker._held) for worker in workers], epochs

    before = await stands()
    await asyncio.sleep(0.7)
    return await stands() == before


def _async(condition: Any) -> Any:
    async def ask() -> bool:
        return bool(condition())

    return ask


async def test_a_round_that_failed_half_way(database: Database, appender: Appender, brisk: Settings) -> None:
    """A partition whose lease was taken by a round that then failed is not lost to everybody."""
    async with working(brisk, count=2) as workers:
        await eventually(_async(lambda: sorted(held(workers)) == [4, 4]))
        partition = min(workers[0]._held)
        await workers[0]._let_go({partition})
        await database.leases.update_one({"_id": partition}, {"$set": {"owner": workers[0].name}})
        await eventually(_async(lambda: sorted(held(workers)) == [4, 4]))
        shop = Shop(database, appender)
        await shop.place(50)
        await settled(database, shop.acknowledged)


async def test_a_task_that_died_is_replaced(database: Database, appender: Appender, brisk: Settings) -> None:
    """A partition whose task ended by an error that nobody foresaw is taken up again, at a higher epoch."""
    shop = Shop(database, appender)
    async with working(brisk) as (worker,):
        await eventually(_async(lambda: held([worker]) == [8]))
        for running in worker._held.values():
            running.owner._sorter = None  # type: ignore[assignment]
        await shop.place(20)
        await settled(database, shop.acknowledged)
    assert await audit(database, shop.acknowledged) == []


async def test_cancelled(database: Database, brisk: Settings) -> None:
    """A worker that is cancelled instead of stopped gives everything back as well."""
    worker = Worker(database, brisk)
    task = asyncio.create_task(worker.run())
    await eventually(_async(lambda: held([worker]) == [8]))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database.leases.count_documents({"owner": worker.name}) == 0
    assert held([worker]) == [0]


def test_a_busy_machine_commits_more_rarely() -> None:
    """Commits keep their distance while pages are quick, a larger one while they are slow, and never a long one."""
    intervals = [module._busy_interval(seconds) for seconds in (0.0, 0.1, 5.0)]
    assert intervals[0] == module.BUSY_COMMIT_INTERVAL_SECONDS < intervals[1] < intervals[2]
    assert intervals[2] == module.LONGEST_COMMIT_INTERVAL_SECONDS


def test_chunks() -> None:
    """A page is cut before a batch grows too large, into chunks that leave nothing out and are never empty."""
    sizes = [10, module.MAX_BATCH_BYTES, 10, module.MAX_BATCH_BYTES * 3, *[1] * (module.MAX_BATCH_EVENTS + 5)]
    arrived = [(f"{number}", bytes(size)) for number, size in enumerate(sizes)]
    chunks = [arrived[chunk] for chunk in module._chunks(arrived)]
    assert [arrival for chunk in chunks for arrival in chunk] == arrived
    assert [len(chunk) for chunk in chunks] == [1, 1, 1, 1, module.MAX_BATCH_EVENTS, 5]
    views, orders = ([("", bytes(module.LARGE_EVENT_BYTES + more))] * 400 for more in (0, 1))
    assert len(list(module._chunks(views))) == 1 < len(list(module._chunks(orders)))
    assert list(module._chunks([])) == []
    assert Outbox.entries({}) == []
