"""A projection is built anew beside the live one while events keep flowing, and readers change over in one moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import bson
import pytest

from rushlight.bus.appender import Appender
from rushlight.engine import lanes as module
from rushlight.engine.compare import Comparison, compare
from rushlight.engine.generations import Catalogue
from rushlight.engine.rebuild import Progress, Stopped, discard, rebuild
from rushlight.engine.worker import Worker
from rushlight.errors import Conflict
from rushlight.events.envelope import Envelope
from rushlight.events.event import Event
from rushlight.live.mirror import Mirror, MirrorView
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.money import Money
from rushlight.projections.projection import Projection
from rushlight.projections.state import State
from rushlight.query.figures import Figures
from rushlight.query.freshness import complete_to
from rushlight.query.sales import totals
from rushlight.query.span import Span
from rushlight.query.view import View
from rushlight.settings import Settings
from rushlight.store.clock import server_time
from rushlight.store.database import Database
from rushlight.store.generations import Generations, live_generations
from tests.engine.audit import audit, eventually, settled
from tests.engine.shop import Shop

OURS: tuple[Projection, ...] = (Money(), Behaviour())


@asynccontextmanager
async def working(settings: Settings, *projections: Projection) -> AsyncIterator[Worker]:
    """A worker in this process whose code is these projections."""
    database = await Database.connect(settings, role="worker of a test")
    worker = Worker(database, settings)
    worker._catalogue = Catalogue(database, {each.name: each for each in projections or OURS})
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await task
        await database.close()


async def sale(database: Database, appender: Appender, *, seed: int, orders: int = 40) -> Shop:
    """Some orders that go on, and visits; all of it acknowledged."""
    shop = Shop(database, appender, seed=seed)
    await shop.place(orders)
    await shop.go_on(orders // 2)
    await shop.visit(3 * orders)
    return shop


async def live_bytes(database: Database) -> dict[str, bytes]:
    """Every document that readers read, by projection, partition and key; keys sorted, numbers as numbers."""
    live = await live_generations(database)
    found: dict[str, bytes] = {}
    for projection in OURS:
        prefix = f"{live[projection.name]}/"
        async for document in database.projection(projection.name).find({"_id": {"$regex": f"^{prefix}"}}):
            key = document.pop("_id").removeprefix(prefix)
            found[f"{projection.name} {key}"] = bson.encode(ordered(document))
    return found


def ordered(value: Any) -> Any:
    """The same with sorted keys and plain numbers, written apart from the product's own comparison."""
    if isinstance(value, dict):
        return dict(sorted((name, ordered(item)) for name, item in value.items()))
    if isinstance(value, list):
        return list(map(ordered, value))
    return int(value) if type(value).__name__ == "Int64" else value


async def until_only_live(database: Database) -> None:
    """Wait until nothing is left of generations that were given up."""

    async def tidy() -> bool:
        live = await live_generations(database)
        known = await Generations(database).read()
        left = [
            await database.projection(name).find_one({"_id": {"$not": {"$regex": f"^{number}/"}}})
            for name, number in live.items()
        ]
        return not any(left) and all(list(known.of(name)) == [number] for name, number in live.items())

    await eventually(tidy)


async def rebuilt(database: Database, projection: Projection, **options: Any) -> int:
    """Rebuild and let readers read it; the generation's number."""
    result = await rebuild(database, projection, **options)
    assert result.flipped
    return result.generation


async def test_a_rebuild_makes_the_same_bytes(database: Database, appender: Appender, brisk: Settings) -> None:
    """All projections rebuilt while orders go on: everything is right, and at rest a rebuild changes not a byte."""
    async with working(brisk):
        shop = await sale(database, appender, seed=51)

        async def go_on() -> None:
            for _ in range(10):
                await shop.place(5)
                await shop.go_on(3)
                await shop.visit(5)
                await asyncio.sleep(0.02)

        going_on = asyncio.create_task(go_on())
        numbers = [await rebuilt(database, projection) for projection in OURS]
        await going_on
        await settled(database, shop.acknowledged)
        assert numbers == [2, 2] == [(await live_generations(database))[projection.name] for projection in OURS]
        before = await live_bytes(database)
        assert len(before) > 100
        assert [await rebuilt(database, projection) for projection in OURS] == [3, 3]
        assert await live_bytes(database) == before
        await until_only_live(database)
    assert await audit(database, shop.acknowledged) == []


async def test_looking_changes_nothing(database: Database, appender: Appender, brisk: Settings) -> None:
    """A comparison finds the same bytes and gives the new generation up; readers read what they read before."""
    async with working(brisk):
        shop = await sale(database, appender, seed=52, orders=15)
        await settled(database, shop.acknowledged)
        before = await live_bytes(database)
        shown: list[Progress] = []
        for projection in OURS:
            result = await rebuild(database, projection, look=True, show=shown.append)
            assert not result.flipped
            assert result.comparison is not None
            assert result.comparison.is_equal
            assert result.comparison.documents
        assert shown[-1].folded == shown[-1].total == len(shop.acknowledged)
        await until_only_live(database)
        assert await live_bytes(database) == before
    assert await live_generations(database) == {"money": 1, "behaviour": 1}


class _Forgetful(Money):
    def fold(self, state: State, event: Envelope) -> None:
        """Skip one order: the seeded bug."""
        if event.aggregate_id != "o-7":
            super().fold(state, event)


class _Moody(Money):
    def fold(self, state: State, event: Envelope) -> None:
        """Depend on more than the event: the seeded bug."""
        super().fold(state, event)
        if event.name == "order_created":
            state.add(f"{event.shop}/l/{event.source}/mood", {"n": random.randrange(1, 1 << 40)})


class _Inventive(Money):
    def fold(self, state: State, event: Envelope) -> None:
        """Write a document that live figures do not have: the seeded bug."""
        super().fold(state, event)
        state.add(f"{event.shop}/x", {"n": 1})


@pytest.mark.parametrize(
    ("live", "new", "kind"),
    [(Money(), _Forgetful(), "missing"), (_Moody(), _Moody(), "different"), (Money(), _Inventive(), "extra")],
    ids=["skips one event", "is not deterministic", "makes too much"],
)
async def test_a_faulty_fold_is_found(
    database: Database, appender: Appender, brisk: Settings, live: Projection, new: Projection, kind: str
) -> None:
    """Seeded bugs: the comparison fires, says where, and nothing is flipped; the new generation is kept until it is
    given up.
    """
    shop = await _history(database, appender, brisk, live, seed=53)
    async with working(brisk, new, Behaviour()):
        result = await rebuild(database, new, look=True)
        assert not result.flipped
        found = result.comparison
        assert isinstance(found, Comparison)
        assert getattr(found, kind) > 0
        assert not found.is_equal
        assert any(each.kind == kind for each in found.first)
        if kind == "different":
            assert {each.field for each in found.first} == {"n"}
        assert await live_generations(database) == {"money": 1, "behaviour": 1}
        assert await discard(database, "money") == 2
        assert await discard(database, "money") is None
        await until_only_live(database)
    assert shop.acknowledged


async def _history(
    database: Database, appender: Appender, settings: Settings, *projections: Projection, seed: int, orders: int = 20
) -> Shop:
    """A journal, folded by a worker with this code that has gone since."""
    async with working(settings, *projections):
        shop = await sale(database, appender, seed=seed, orders=orders)
        await settled(database, shop.acknowledged)
    return shop


async def test_a_look_that_begins_as_workers_would_flip_holds_them_back(database: Database) -> None:
    """Whether a generation is held is asked in the moment of the flip, not when it was found to be complete."""
    generations = Generations(database)
    await generations.register("money", 1)
    await generations.register("money", 2)
    number, resumed = await generations.begin("money", 2)
    assert (number, resumed) == (2, True)
    assert not await generations.flip("money", number, even_held=False)
    assert (await generations.read()).live == {"money": 1}
    assert await generations.flip("money", number)
    assert (await generations.read()).live == {"money": 2}


async def test_two_at_once_are_refused(database: Database, appender: Appender, brisk: Settings) -> None:
    """The second is told so; once the first has gone, the same command goes on with what was built."""
    await _history(database, appender, brisk, seed=54, orders=5)
    # Without a worker nothing moves.
    first = asyncio.create_task(rebuild(database, Money()))
    await eventually(lambda: database.meta.find_one({"_id": "rebuild:money"}))
    with pytest.raises(Conflict, match="is rebuilding money already"):
        await rebuild(database, Money())
    with pytest.raises(Conflict, match="is rebuilding money already"):
        await discard(database, "money")
    await eventually(lambda: _building(database, "money"))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    async with working(brisk):
        result = await rebuild(database, Money())
    assert (result.generation, result.resumed, result.flipped) == (2, True, True)


async def _building(database: Database, name: str) -> bool:
    return (await Generations(database).read()).building(name) is not None


class _Allergic(Money):
    def fold(self, state: State, event: Envelope) -> None:
        """Fail on one order."""
        super().fold(state, event)
        if event.aggregate_id == "o-3":
            raise ZeroDivisionError("o-3 of ada@shop.example")


async def test_a_rebuild_stops_at_what_it_cannot_fold(database: Database, appender: Appender, brisk: Settings) -> None:
    """It says which event, skips nothing and leaves readers alone; with a fold that can, the same command goes on."""
    shop = await _history(database, appender, brisk, seed=55)
    culprit = await database.journal.find_one({"aggregateId": "o-3", "eventName": "order_created"})
    assert culprit
    async with working(brisk, _Allergic(), Behaviour()):
        for _ in range(2):
            with pytest.raises(Stopped, match=rf"event {culprit['_id']} .order_created of o-3.*Error: o-3 of \*\*\*@"):
                await rebuild(database, _Allergic())
        # What comes meanwhile and can be folded goes on into the live figures.
        await shop.place(5)
        await settled(database, shop.acknowledged)
        folded, _ = (await Generations(database).progress("money", 2))[culprit["p"]]
        assert folded == culprit["seq"] - 1
    assert await live_generations(database) == {"money": 1, "behaviour": 1}
    async with working(brisk):
        result = await rebuild(database, Money())
        await until_only_live(database)
    assert (result.generation, result.resumed, result.flipped) == (2, True, True)
    assert await audit(database, shop.acknowledged) == []


class _Contradictory(Money):
    def fold(self, state: State, event: Envelope) -> None:
        """Make of one order what MongoDB does not take."""
        super().fold(state, event)
        if event.aggregate_id == "o-3":
            state.put(f"{event.shop}/both", {"a": 1})
            state.add(f"{event.shop}/both", {"a.b": 1})


@pytest.mark.parametrize("refusing", [_Allergic, _Contradictory])
async def test_an_event_that_only_the_new_fold_refuses_parks_nothing(
    database: Database, appender: Appender, brisk: Settings, refusing: type[Money]
) -> None:
    """While it is built the live figures decide what is poison: the new generation falls behind and stops instead."""

    class Newer(refusing):  # type: ignore[misc, valid-type]
        version = Money.version + 1

    generations = Generations(database)
    shop = await _history(database, appender, brisk, seed=56, orders=3)
    number, _ = await generations.begin("money", Money.version + 1)
    async with working(brisk, Newer(), Behaviour()):
        await eventually(lambda: _is_complete(database, "money", number))
        await shop.place(3)
        await settled(database, shop.acknowledged)
        assert not await database.outcomes.find_one({"kind": "parked"})
        await eventually(lambda: _has_stopped(generations, "money", number))
        assert await discard(database, "money") == number
    async with working(brisk):
        await eventually(lambda: _is_complete(database, "money", 1))
        await until_only_live(database)
    assert await audit(database, shop.acknowledged) == []


async def _is_complete(database: Database, name: str, number: int) -> bool:
    return all(folded == end for folded, end in (await Generations(database).progress(name, number)).values())


async def _has_stopped(generations: Generations, name: str, number: int) -> bool:
    found = (await generations.read()).of(name).get(number)
    return found is not None and bool(found.stopped)


class _Doubled(Money):
    version = Money.version + 1

    def fold(self, state: State, event: Envelope) -> None:
        """Count every order's figures twice, so that one can tell which version made them."""
        before = {key: dict(counters.adds) for key, counters in state.counted.items()}
        super().fold(state, event)
        for key, counters in state.counted.items():
            for path, amount in counters.adds.items():
                counters.adds[path] = amount + amount - before.get(key, {}).get(path, 0)


async def gross(figures: Figures, mirror: Mirror | None = None) -> int:
    """Gross of all that the shop ever sold, in minor units of any currency; as the board sees it, with a mirror."""
    end = (await server_time(figures.database)).replace(second=0, microsecond=0) + timedelta(minutes=1)

    async def query(view: View) -> int:
        found = await totals(view, Span(end - timedelta(days=1), end))
        return sum(total["g"] for total in found.values())

    if mirror is None:
        return await figures.read("default", query)
    return await figures.read("default", query, view=partial(MirrorView, mirror))


async def test_an_upgrade_flips_in_one_moment(database: Database, appender: Appender, brisk: Settings) -> None:
    """A worker with a newer fold builds beside; every answer is all of the old or all of the new, then always new."""
    shop = await _history(database, appender, brisk, seed=57, orders=60)
    figures = Figures(database, brisk)
    old = await gross(figures)
    assert old > 0
    seen: list[int] = []

    async def is_new() -> bool:
        seen.append(await gross(figures))
        return seen[-1] != old

    async with working(brisk, _Doubled(), Behaviour()):
        await eventually(is_new)
        for _ in range(5):
            await is_new()
        assert set(seen) == {old, 2 * old}
        assert seen == sorted(seen)
        await until_only_live(database)
        assert await gross(figures) == 2 * old
    known = await Generations(database).read()
    assert [generation.version for generation in known.of("money").values()] == [_Doubled.version]
    assert shop.acknowledged


async def test_older_and_newer_code_take_over_from_each_other(
    database: Database, appender: Appender, brisk: Settings
) -> None:
    """Older code leaves a newer generation behind and does not break it; newer code catches it up from there."""
    shop = await _history(database, appender, brisk, seed=58)
    async with working(brisk, _Doubled(), Behaviour()):
        await eventually(lambda: _reads(database, "money", 2))
        await until_only_live(database)
    figures = Figures(database, brisk)
    mirror = Mirror()
    before = await gross(figures)
    assert await gross(figures, mirror) == before
    async with working(brisk):
        await shop.place(20)
        await settled(database, shop.acknowledged)
        assert await gross(figures) == await gross(figures, mirror) == before
        progress = await Generations(database).progress("money", 2)
        assert any(folded < end for folded, end in progress.values())
        first = [{"p": p, "seq": folded + 1} for p, (folded, end) in progress.items() if folded < end]
        unfolded = await database.journal.find({"$or": first}).to_list()
        assert (await complete_to(database)).money <= min(document["receivedAt"] for document in unfolded)
    async with working(brisk, _Doubled(), Behaviour()):
        await eventually(lambda: _is_complete(database, "money", 2))
        result = await rebuild(database, _Doubled(), look=True)
        assert result.comparison
        assert result.comparison.is_equal
    # What is remembered from when the generation was behind does not hide what it has caught up with since.
    assert await gross(figures) == await gross(figures, mirror) > before


async def _reads(database: Database, name: str, number: int) -> bool:
    return (await live_generations(database)).get(name) == number


class _Counted(Projection):
    name = "counted"

    def fold(self, state: State, event: Envelope) -> None:
        """Count events by name."""
        state.add(f"{event.shop}/{event.name}", {"n": 1})


async def test_a_new_projection_gets_the_history(database: Database, appender: Appender, brisk: Settings) -> None:
    """Added to a journal that is there: unread until it holds all of it, and then kept up to date."""
    shop = await _history(database, appender, brisk, seed=59)
    async with working(brisk, *OURS, _Counted()):
        await eventually(lambda: _reads(database, "counted", 1))
        await shop.place(10)
        await settled(database, shop.acknowledged)
    expected: dict[str, int] = {}
    for event in shop.acknowledged:
        expected[event.name] = expected.get(event.name, 0) + 1
    found: dict[str, int] = {}
    async for document in database.projection("counted").find():
        name = document["_id"].split("/")[-1]
        found[name] = found.get(name, 0) + document["n"]
    assert found == expected
    # Gone from the code again: its figures stay where they are, and nobody else is held up.
    async with working(brisk):
        await shop.place(3)
        await settled(database, shop.acknowledged)


async def test_what_was_given_up_is_deleted_after_a_crash_too(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that ends after the first documents of a retired generation leaves the rest for the next."""
    monkeypatch.setattr(module, "CLEAN_STEP_DOCUMENTS", 3)
    await _history(database, appender, brisk, seed=60)
    cleaned: list[int] = []
    original = module.Lanes._clean

    async def once(self: module.Lanes, name: str, number: int, position: Any) -> None:
        if not cleaned:
            await original(self, name, number, position)
        cleaned.append(number)

    monkeypatch.setattr(module.Lanes, "_clean", once)
    async with working(brisk):
        await rebuilt(database, Money())
        await eventually(_returning(lambda: len(cleaned) > 1))
    assert await database.projection("money").count_documents({"_id": {"$regex": "^1/"}})
    monkeypatch.setattr(module.Lanes, "_clean", original)
    async with working(brisk):
        await until_only_live(database)
    assert not await database.positions.find_one({"projections.money_1": {"$exists": True}})


class _Careless(Projection):
    """Reads a document that it has not named; the second batch would take for new what the first has stored."""

    name = "test_careless"

    def fold(self, state: State, event: Envelope) -> None:
        """Count events."""
        counted = state.document(f"{event.shop}/all")
        counted["events"] = counted.get("events", 0) + 1


class _Clumsy(_Careless):
    def keys(self, event: Envelope) -> list[str]:
        """Take every event for an order."""
        return [f"{event.shop}/{event.payload['orderNumber']}"]


@pytest.mark.parametrize("faulty", [_Careless, _Clumsy])
async def test_keys_that_are_wrong_stop_a_new_projection_and_nobody_else(
    database: Database, appender: Appender, calm: Settings, faulty: type[Projection]
) -> None:
    """The partitions stay with their owners, and what comes goes into the other figures."""
    shop = await _history(database, appender, calm, seed=57)
    async with working(calm, *OURS, faulty()):
        await eventually(lambda: _has_stopped(Generations(database), faulty.name, 1))
        epochs = await database.leases.distinct("epoch", {"owner": {"$ne": None}})
        for _ in range(3):
            await shop.place(3)
            await settled(database, shop.acknowledged)
        assert await database.leases.distinct("epoch", {"owner": {"$ne": None}}) == epochs
    assert not await database.outcomes.find_one({"kind": "parked"})
    stopped = (await Generations(database).read()).of(faulty.name)[1].stopped
    assert all("keys()" in stop.reason or "orderNumber" in stop.reason for stop in stopped.values())
    assert await audit(database, shop.acknowledged) == []


@pytest.mark.parametrize("faulty", [_Careless, _Clumsy])
async def test_keys_that_are_wrong_park_what_a_live_projection_should_fold(
    database: Database, appender: Appender, brisk: Settings, faulty: type[Projection]
) -> None:
    """In sight, instead of a partition that stands still."""
    async with working(brisk, *OURS, faulty()):
        await eventually(lambda: _reads(database, faulty.name, 1))
        shop = await sale(database, appender, seed=58, orders=5)
        await eventually(lambda: _are_parked(database, len(shop.acknowledged)))


async def _are_parked(database: Database, count: int) -> bool:
    return await database.outcomes.count_documents({"kind": "parked"}) == count


def _in_kilograms(payload: dict[str, Any]) -> dict[str, Any]:
    return {"parcelId": payload["parcelId"], "grams": round(1000 * payload["kilograms"])}


class _Weighed(Event, name="test_weighed", schema=2, upcasters={1: _in_kilograms}):
    parcel_id: str
    grams: int


class _Weights(Projection):
    name = "weights"
    events = frozenset({"test_weighed"})

    def fold(self, state: State, event: Envelope) -> None:
        """Sum the grams; it knows only the present schema."""
        assert event.schema == 2
        state.add(f"{event.shop}/all", {"grams": event.payload["grams"]})


async def test_older_schemas_are_folded_as_the_present_one(
    database: Database, appender: Appender, brisk: Settings
) -> None:
    """In commits and in a rebuild; the journal keeps what came, and what has no way up or is newer is parked."""
    shop = Shop(database, appender, seed=62)

    def weighed(number: int, schema: int, payload: dict[str, Any]) -> Envelope:
        event = shop.seen(f"p-{number}", name="test_weighed", schema=schema)
        event.payload = {"parcelId": f"p-{number}", **payload}
        return event

    old = [weighed(number, 1, {"kilograms": 0.5 + number}) for number in range(4)]
    new = [weighed(4, 2, {"grams": 7})]
    bad = [weighed(5, 1, {}), weighed(6, 3, {"tons": 1})]
    expected = 500 + 1500 + 2500 + 3500 + 7

    async def total() -> int:
        found = database.projection("weights").find(
            {"_id": {"$regex": f"^{(await live_generations(database))['weights']}/"}}
        )
        return sum([document["grams"] async for document in found])

    async with working(brisk, *OURS, _Weights()):
        await shop.send([*old, *new, *bad])
        await settled(database, shop.acknowledged)
        await eventually(lambda: _reads(database, "weights", 1))
        assert await total() == expected
        assert (await rebuild(database, _Weights())).generation == 2
        assert await total() == expected
    stored = await database.journal.find({"eventName": "test_weighed"}).to_list()
    assert sorted(document["schema"] for document in stored) == [1, 1, 1, 1, 2]
    assert {document["payload"].get("kilograms") for document in stored} == {0.5, 1.5, 2.5, 3.5, None}
    parked = await database.outcomes.find({"kind": "parked"}).to_list()
    assert {document["aggregateId"] for document in parked} == {"p-5", "p-6"}


def _returning(condition: Callable[[], bool]) -> Callable[[], Any]:
    async def holds() -> bool:
        return condition()

    return holds


async def test_comparing_where_nobody_folds_the_live_one(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions in which the two do not stand at the same place are named instead of compared."""
    monkeypatch.setattr("rushlight.engine.compare.ATTEMPTS", 2)
    await _history(database, appender, brisk, seed=61, orders=10)
    positions: Mapping[int, Any] = {p["_id"]: p async for p in database.positions.find()}
    some = next(p for p, position in positions.items() if position["seq"])
    await database.positions.update_one({"_id": some}, {"$inc": {"projections.money_1": -1}})
    found = await compare(database, "money", 1, 2)
    assert found.unequal
    assert not found.is_equal
