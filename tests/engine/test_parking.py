"""Parked events are retried in order or dropped with a reason, entirely or not at all, and the books stay right."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rushlight.bus.appender import Appender
from rushlight.engine import parking as module
from rushlight.engine.parking import Moved, moved
from rushlight.events.catalogue import Item, OrderPaid, ViewItem
from rushlight.events.envelope import Envelope
from rushlight.events.ids import partition_of
from rushlight.projections.money import Money
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.parking import Requests
from rushlight.store.recount import verify
from tests.conftest import elsewhere
from tests.engine.aside import asked, columns, counts, of_origin, old_code, parked, right, wish
from tests.engine.audit import audit, eventually, settled
from tests.engine.conftest import working
from tests.engine.failing import failing
from tests.engine.processes import workers
from tests.engine.shop import Shop

# Each waits for several processes, one after another.
pytestmark = pytest.mark.timeout(300)
NOWHERE = "redis://127.0.0.1:1/0"


async def test_a_retry_with_code_that_was_mended(database: Database, appender: Appender, brisk: Settings) -> None:
    """What old code refused enters the journal in order, figures and books are right, and later events follow."""
    shop = Shop(database, appender, seed=31)
    names = await parked(database, shop, brisk)
    before = await columns(database)
    async with working(brisk):
        answers = await asked(database, *map(wish, names))
        assert [counts(answer) for answer in answers] == [(3, 0, 0, 0)] * 3
        after = await columns(database)
        assert (before["parked"], after["parked"], after["stored"]) == (9, 0, before["stored"] + 9)
        await right(database, shop.acknowledged)
        again = await asked(database, *map(wish, names))
        assert [counts(answer) for answer in again] == [(0, 0, 0, 0)] * 3
        for name in names:
            await shop.report(OrderPaid(order_id=name, payment_id="last", currency="EUR", amount=1))
        await settled(database, shop.acknowledged)
    assert await database.outcomes.count_documents({"kind": "parked"}) == 0
    await right(database, shop.acknowledged)


async def test_a_fold_that_failed(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold with a bug parks; a retry before it is mended keeps all parked and says why, without secrets; then not."""
    shop = Shop(database, appender, seed=32)
    (name,) = await shop.place(1)
    for number in range(5):
        await shop.report(OrderPaid(order_id=name, payment_id=f"p-{number}", currency="EUR", amount=number))
    fold = Money.fold

    def buggy(self: Money, state: Any, event: Envelope) -> None:
        if event.payload.get("amount") == 2:
            raise ZeroDivisionError("two is not divided by ada@shop.example, token=t0ps3cret")
        fold(self, state, event)

    with monkeypatch.context() as patch:
        patch.setattr(Money, "fold", buggy)
        async with working(brisk):
            await settled(database, shop.acknowledged)
            assert await database.outcomes.count_documents({"kind": "parked"}) == 3
            (answer,) = await asked(database, wish(name))
            assert counts(answer) == (0, 0, 0, 3)
            assert answer.why == "ZeroDivisionError: two is not divided by ***@***, token=***"
            records = await database.outcomes.find({"kind": "parked"}).sort("place", 1).to_list()
            assert [record.get("attempts", 0) for record in records] == [1, 0, 0]
            assert "ada@" not in str([record["reason"] for record in records])
            await right(database, shop.acknowledged)
    async with working(brisk):
        (answer,) = await asked(database, wish(name))
        assert counts(answer) == (3, 0, 0, 0)
    await right(database, shop.acknowledged)


async def test_a_part_succeeds(database: Database, appender: Appender, brisk: Settings) -> None:
    """The events before one that fails again are stored; it and those behind it stay, with the new reason."""
    shop = Shop(database, appender, seed=33)
    (name,) = await shop.place(1)
    for amount in (1, -1, 2):
        await shop.report(OrderPaid(order_id=name, payment_id=f"p-{amount}", currency="EUR", amount=amount))
    with old_code({"order_paid"}):
        async with working(brisk):
            await settled(database, shop.acknowledged)
    async with working(brisk):
        (answer,) = await asked(database, wish(name))
        assert counts(answer) == (1, 0, 0, 2)
        assert "payload.amount" in answer.why
        await shop.report(OrderPaid(order_id=name, payment_id="p-3", currency="EUR", amount=3))
        await settled(database, shop.acknowledged)
        versions = [record["version"] async for record in database.outcomes.find({"kind": "parked"}).sort("place", 1)]
        assert versions == [3, 4, 5]
    await right(database, shop.acknowledged)


async def test_a_drop(database: Database, appender: Appender, brisk: Settings) -> None:
    """One event is dropped with a reason; the aggregate stays parked until the others are retried; then it goes on."""
    shop = Shop(database, appender, seed=34)
    (name,) = await shop.place(1)
    for amount in (-1, 2, 3):
        await shop.report(OrderPaid(order_id=name, payment_id=f"p-{amount}", currency="EUR", amount=amount))
    async with working(brisk):
        await settled(database, shop.acknowledged)
        bad = await database.outcomes.find_one({"kind": "parked", "version": 2})
        assert bad is not None
        (answer,) = await asked(database, await of_origin(database, bad["_id"], reason="a sum below zero"))
        assert counts(answer) == (0, 0, 1, 2)
        record = await database.outcomes.find_one({"_id": bad["_id"]})
        assert record is not None
        assert (record["kind"], record["dropReason"], record["droppedBy"]) == ("dropped", "a sum below zero", "a test")
        (answer,) = await asked(database, wish(name))
        assert counts(answer) == (2, 0, 0, 0)
    # The next owner knows of the versions only what the records say.
    await shop.report(OrderPaid(order_id=name, payment_id="p-4", currency="EUR", amount=4))
    async with working(brisk):
        await settled(database, shop.acknowledged)
    assert await columns(database) == {**await columns(database), "dropped": 1}
    journal = await database.journal.find({"aggregateId": name}).sort("seq", 1).to_list()
    assert [document["version"] for document in journal] == [1, 3, 4, 5]
    await right(database, shop.acknowledged)


async def test_a_whole_aggregate_is_dropped(database: Database, appender: Appender, brisk: Settings) -> None:
    """With all of its parked events dropped an aggregate takes new ones at once; a second drop finds nothing."""
    shop = Shop(database, appender, seed=35)
    events = [shop.seen("v-1", payload={"items": 1}), *(shop.seen("v-1") for _ in range(4))]
    async with working(brisk):
        await shop.send(events)
        await settled(database, events)
        (answer,) = await asked(database, wish("v-1", "drop", "a robot"))
        assert counts(answer) == (0, 0, 5, 0)
        (answer,) = await asked(database, wish("v-1", "drop", "a robot"))
        assert counts(answer) == (0, 0, 0, 0)
        more = [shop.seen("v-1")]
        await shop.send(more)
        await settled(database, more)
    assert await columns(database, "web") == {"dropped": 5, "stored": 1}
    await right(database, shop.acknowledged)


async def test_repeats_of_what_is_parked(database: Database, appender: Appender, brisk: Settings) -> None:
    """The same event under two acknowledgements is parked under both; a retry stores one, the other is a duplicate."""
    shop = Shop(database, appender, seed=36)
    first = [shop.seen("v-1", name="view_item") for _ in range(3)]
    again = [msgspec.structs.replace(event, origin=f"w:other:{n}") for n, event in enumerate(first)]
    with old_code({"view_item"}):
        async with working(brisk):
            await shop.send([first[0], again[0], *first[1:], *again[1:]])
            await settled(database, shop.acknowledged)
    assert await columns(database, "web") == {"parked": 6}
    await right(database, shop.acknowledged)
    async with working(brisk):
        (answer,) = await asked(database, wish("v-1"))
        assert counts(answer) == (3, 3, 0, 0)
    assert await columns(database, "web") == {"stored": 3, "duplicate": 3}
    await right(database, shop.acknowledged)


async def test_thousands_in_bounded_commits_without_redis(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visitor's 1,200 parked events are retried in several commits, in their order; Redis is gone."""
    shop = Shop(database, appender, seed=37)
    events = [shop.seen("v-1", name="view_item") for _ in range(1200)]
    with old_code({"view_item"}):
        async with working(brisk):
            await shop.send(events)
            await settled(database, events)
    sizes: list[int] = []

    def noted(batch: Any) -> Moved | None:
        sizes.append(sum(len(task.held) for task in batch.tasks))
        return moved(batch)

    monkeypatch.setattr("rushlight.engine.commit.moved", noted)
    async with working(msgspec.structs.replace(brisk, redis_url=NOWHERE)):
        (answer,) = await asked(database, wish("v-1"))
    assert counts(answer) == (1200, 0, 0, 0)
    assert max(sizes) <= module.MAX_EVENTS
    assert len([size for size in sizes if size]) >= 3
    stored = [document["origin"] async for document in database.journal.find().sort("seq", 1)]
    assert stored == [event.origin for event in events]
    await right(database, shop.acknowledged)


async def test_what_cannot_be_retried(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event of which only a part was kept, and bytes that are no event, say so and can only be dropped."""
    monkeypatch.setattr("rushlight.engine.commit.MAX_KEPT_BYTES", 200)
    shop = Shop(database, None, seed=38)
    (name,) = await shop.place(1)
    garbage = {"outbox.0.e": "garbage"}
    await database.orders.update_one({"_id": name}, {"$set": garbage})
    shop.appender = appender
    cut = shop.seen("v-1", payload={"items": 1})
    async with working(brisk):
        await shop.send([cut])
        await settled(database, shop.acknowledged)
        unread = await of_origin(database, f"o:{name}:1", "retry", "")
        answers = await asked(database, wish("v-1"), unread)
        assert [counts(answer) for answer in answers] == [(0, 0, 0, 1)] * 2
        assert answers[0].why.startswith("cannot be retried: of ")
        assert "malformed" in answers[1].why
        dropped = await asked(database, wish("v-1", "drop", "cut"), await of_origin(database, f"o:{name}:1"))
        assert [counts(answer) for answer in dropped] == [(0, 0, 1, 0)] * 2
    assert (await verify(database)).differences == []


async def test_an_unreadable_entry_that_can_be_read_now(database: Database, brisk: Settings) -> None:
    """It joins the queue of its aggregate, and is stored when that is retried."""
    shop = Shop(database, None, seed=39)
    (name,) = await shop.place(1)
    text = (await database.orders.find_one({"_id": name}) or {})["outbox"][0]["e"]
    await database.orders.update_one({"_id": name}, {"$set": {"outbox.0.e": "garbage"}})
    origin = f"o:{name}:1"
    async with working(brisk):
        await settled(database, shop.acknowledged)
        # As if this code could read what the former one could not.
        await database.outcomes.update_one({"_id": origin}, {"$set": {"event": text, "bytes": len(text)}})
        (answer,) = await asked(database, await of_origin(database, origin, "retry", ""))
        assert (counts(answer), answer.why) == ((0, 0, 0, 1), module.NOW_READABLE)
        (answer,) = await asked(database, wish(name))
        assert counts(answer) == (1, 0, 0, 0)
    await right(database, shop.acknowledged)


async def test_a_version_that_is_missing(database: Database, brisk: Settings) -> None:
    """While an entry of an order's outbox cannot be read its later versions stay parked, and say for what they wait."""
    shop = Shop(database, None, seed=49)
    (name,) = await shop.place(1)
    for amount in (1, 2):
        await shop.report(OrderPaid(order_id=name, payment_id=f"p-{amount}", currency="EUR", amount=amount))
    numbers = {event.version: event.origin for event in shop.acknowledged if event.version is not None}
    index = int(numbers[2].rpartition(":")[2]) - 1
    await database.orders.update_one({"_id": name}, {"$set": {f"outbox.{index}.e": "garbage"}})
    with old_code({"order_paid"}):
        async with working(brisk):
            await settled(database, shop.acknowledged)
    async with working(brisk):
        (answer,) = await asked(database, wish(name))
        assert counts(answer) == (0, 0, 0, 1)
        assert answer.why == f"a version is missing, as {numbers[2]} cannot be read: retry or drop that first"
        await asked(database, await of_origin(database, numbers[2]))
        (answer,) = await asked(database, wish(name))
        assert counts(answer) == (1, 0, 0, 0)
    assert await audit(database, shop.acknowledged) == [f"versions of {name}: [1, 3]"]
    assert (await verify(database)).differences == []


@pytest.mark.parametrize("place", ["parking.read", "commit.parking", "batch.committed"])
async def test_killed_in_mid_retry(
    database: Database, appender: Appender, brisk: Settings, tmp_path: Path, place: str
) -> None:
    """A worker that dies anywhere in a retry has done it entirely or not at all; its successor goes on from there."""
    shop = Shop(database, appender, seed=40)
    names = await parked(database, shop, brisk, orders=4, payments=2)
    dying = msgspec.structs.replace(brisk, testing=True, failpoints=f"{place}=die")
    group = await Requests(database).ask([wish(name) for name in names], by="a test")
    with workers(dying, tmp_path / "dying.log") as some:

        async def died() -> bool:
            return some.running[0].code is not None

        await eventually(died)
        assert f"failpoint {place}" in some.words()
    requests = await Requests(database).of_group(group)
    for request in requests:
        left = await database.outcomes.count_documents({"kind": "parked", "aggregateId": request.wish.aggregate_id})
        assert (request.state, request.stored, left) in (("open", 0, 2), ("done", 2, 0))
    await right(database, shop.acknowledged)
    with workers(brisk, tmp_path / "successor.log"):

        async def done() -> bool:
            return not await Requests(database).count_open(group)

        await eventually(done)
        assert [counts(request) for request in await Requests(database).of_group(group)] == [(2, 0, 0, 0)] * 4
    await right(database, shop.acknowledged)


async def test_a_pause_longer_than_the_lease(
    database: Database, appender: Appender, brisk: Settings, tmp_path: Path
) -> None:
    """An owner stands still within the transaction of a retry; the next one does it, and what it left is void."""
    shop = Shop(database, appender, seed=50)
    names = await parked(database, shop, brisk, orders=4, payments=2)
    group = await Requests(database).ask([wish(name) for name in names], by="a test")
    slow = msgspec.structs.replace(brisk, testing=True, failpoints="commit.parking=pause:6@1")
    with workers(slow, tmp_path / "slow.log") as first:

        async def stands() -> bool:
            return "failpoint commit.parking" in first.words()

        async def done() -> bool:
            return not await Requests(database).count_open(group)

        await eventually(stands)
        with workers(brisk, tmp_path / "next.log"):
            await eventually(done)
            await shop.go_on(10)
            await settled(database, shop.acknowledged)
            await right(database, shop.acknowledged)
    assert [counts(request) for request in await Requests(database).of_group(group)] == [(2, 0, 0, 0)] * 4
    await right(database, shop.acknowledged)


async def test_killed_at_random(database: Database, appender: Appender, brisk: Settings, tmp_path: Path) -> None:
    """Workers are killed with SIGKILL again and again while a large retry runs and new orders come; nothing is lost."""
    shop = Shop(database, appender, seed=41)
    events = [shop.seen(f"v-{n % 5}", name="view_item") for n in range(2500)]
    with old_code({"view_item"}):
        async with working(brisk):
            await shop.send(events)
            await settled(database, events)
    requests = Requests(database)
    group = await requests.ask([wish(f"v-{n}") for n in range(5)], by="a test")
    with workers(brisk, tmp_path / "workers.log", count=2) as some:
        for _ in range(3):
            stood = await requests.progress(group)
            await shop.place(5)

            async def moves(stood: int = stood) -> bool:
                return await requests.progress(group) > stood or not await requests.count_open(group)

            await eventually(moves)
            some.kill()
        await settled(database, shop.acknowledged)

        async def done() -> bool:
            return not await requests.count_open(group)

        await eventually(done)
    answers = await requests.of_group(group)
    # The purchases of new orders, too, are parked for as long as their visitors are.
    assert sum(answer.stored for answer in answers) >= 2500
    assert [answer.left for answer in answers] == [0] * 5
    assert await database.outcomes.count_documents({"kind": "parked"}) == 0
    await right(database, shop.acknowledged)


async def test_a_takeover(database: Database, appender: Appender, brisk: Settings) -> None:
    """Requests that were asked while nobody worked, or of an owner that left, are executed by whoever owns next."""
    shop = Shop(database, appender, seed=42)
    names = await parked(database, shop, brisk, orders=8)
    group = await Requests(database).ask([wish(name) for name in names], by="a test")
    async with working(brisk, count=2):
        pass
    async with working(brisk, count=2) as (first, _):

        async def done() -> bool:
            return not await Requests(database).count_open(group)

        first.stop()
        await eventually(done)
    assert [answer.left for answer in await Requests(database).of_group(group)] == [0] * 8
    await right(database, shop.acknowledged)


async def told(database: Database, acknowledged: list[Envelope]) -> tuple[set[str], int]:
    """The first words of what the audit says, and how many differences the recount found."""
    problems = {problem.split()[0].rstrip(":") for problem in await audit(database, acknowledged)}
    return problems, len((await verify(database)).differences)


async def test_what_mongodb_refuses(database: Database, appender: Appender, brisk: Settings) -> None:
    """A counter that is full stops a retry at the events that it concerns; with room in it all of them are stored."""
    shop = Shop(database, appender, seed=47)
    views = [shop.seen("v-0") for _ in range(40)]
    for number, event in enumerate(views):
        viewed = ViewItem(visitor_id="v-0", items=[Item(product_id="full" if number >= 10 else "tea")])
        event.name, event.payload, event.occurred_at = "view_item", viewed.payload(), views[0].occurred_at
    with old_code({"view_item"}):
        async with working(brisk):
            await shop.send(views)
            await settled(database, views)
    partition = partition_of("default", "v-0", 8)
    name = f"1/{partition:02d}/default/p/{views[0].occurred_at:%Y-%m-%d}/full"
    quarters = {f"{quarter:02d}": {"v": 2**63 - 1} for quarter in range(96)}
    behaviour = database.projection("behaviour")
    await behaviour.insert_one({"_id": name, "p": partition, "seq": 0, "q": quarters})
    async with working(brisk):
        (answer,) = await asked(database, wish("v-0"))
        assert counts(answer) == (10, 0, 0, 30)
        assert answer.why
        await behaviour.delete_one({"_id": name})
        (answer,) = await asked(database, wish("v-0"))
        assert counts(answer) == (30, 0, 0, 0)
    await right(database, shop.acknowledged)


async def test_a_mongodb_that_stumbles(brisk: Settings, appender: Appender, failing_url: str) -> None:
    """Refusals, closed connections and lost replies in mid-retry: late, and right."""
    settings = elsewhere(brisk, mongo_url=failing_url)
    database = await Database.connect(settings, role="test")
    shop = Shop(database, appender, seed=48)
    events = [shop.seen(f"v-{n % 9}", name="view_item") for n in range(1500)]
    with old_code({"view_item"}):
        async with working(settings):
            await shop.send(events)
            await settled(database, events)
    lost_reply = {"code": 64, "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}}
    ways: list[tuple[list[str], dict[str, Any]]] = [
        (["commitTransaction"], {"writeConcernError": lost_reply}),
        (["delete"], {"closeConnection": True}),
        (["commitTransaction"], {"closeConnection": True}),
        (["update"], {"errorCode": 112}),
    ]
    group = await Requests(database).ask([wish(f"v-{n}") for n in range(9)], by="a test")
    async with working(settings):
        for commands, how in ways:
            worker = "rushlight worker of a test"
            async with failing(database, {"times": 2}, failCommands=commands, appName=worker, **how):
                await asyncio.sleep(0.2)

        async def done() -> bool:
            return not await Requests(database).count_open(group)

        await eventually(done)
    assert sum(answer.stored for answer in await Requests(database).of_group(group)) == 1500
    await right(database, shop.acknowledged)
    await database.client.drop_database(database.name)
    await database.close()


async def test_a_counter_that_does_not_move(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted bug: retried events stay counted as parked. Audit and recount say so."""
    shop = Shop(database, appender, seed=43)
    names = await parked(database, shop, brisk, orders=1)

    def forgetful(batch: Any) -> Moved | None:
        moves = moved(batch)
        return moves._replace(columns={}) if moves else None

    monkeypatch.setattr("rushlight.engine.commit.moved", forgetful)
    async with working(brisk):
        await asked(database, *map(wish, names))
    assert await told(database, shop.acknowledged) == ({"ledger"}, 1)


async def test_a_retry_in_reverse(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted bug: a retry that takes the newest first. The audit says that the versions do not rise."""
    shop = Shop(database, appender, seed=44)
    names = await parked(database, shop, brisk, orders=1)
    retry = module._retry
    monkeypatch.setattr(module, "_retry", lambda queue, *rest: retry(queue[::-1], *rest))
    async with working(brisk):
        await asked(database, *map(wish, names))
    assert (await told(database, shop.acknowledged))[0] == {"versions"}


async def test_a_record_that_stays(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted bug: a retried event keeps its parked record as well. Audit and recount say so."""
    shop = Shop(database, appender, seed=45)
    names = await parked(database, shop, brisk, orders=1, payments=1)

    def hoarding(batch: Any) -> Moved | None:
        moves = moved(batch)
        return moves._replace(settled=[]) if moves else None

    monkeypatch.setattr("rushlight.engine.commit.moved", hoarding)
    async with working(brisk):
        await asked(database, *map(wish, names))
    problems, differences = await told(database, shop.acknowledged)
    assert {"twice", "ledger"} <= problems
    assert differences >= 2
