"""Reactions: every event at least once, each aggregate in its order, and one that fails holds up nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rushlight import Envelope, OrderCreated, OrderPaid, Rejected, Retryable, subscribe
from rushlight.bus.appender import Appender
from rushlight.engine import calling, reacting
from rushlight.engine.reactions import Reactions
from rushlight.engine.subscription import Subscription, subscriptions
from rushlight.errors import SetupError
from rushlight.events.event import Event
from rushlight.settings import Settings
from rushlight.store import held
from rushlight.store.database import Database
from rushlight.store.subscriptions import ask_for_replay, standings
from tests.engine import calls
from tests.engine.audit import eventually, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop


@pytest.fixture(autouse=True)
def _nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subscription, "declared", {})


class Notes:
    """A handler that notes its calls and does what it is told for some aggregates."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds: Callable[[Envelope], float] = lambda _: 0.0
        self.failure: Callable[[Envelope], BaseException | None] = lambda _: None
        self.at_once = self.most_at_once = 0

    async def __call__(self, envelope: Envelope) -> None:
        """The call itself."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        calls.note(self.file, "begin", envelope)
        what = "failed"
        try:
            await asyncio.sleep(self.seconds(envelope))
            if (failure := self.failure(envelope)) is not None:
                raise failure
            what = "end"
        finally:
            self.at_once -= 1
            calls.note(self.file, what, envelope)

    def declare(self, *events: type[Event], name: str = calls.NAME, **options: Any) -> Subscription:
        """Subscribe this handler, to the order's whole life unless said."""

        async def handler(event: Event, envelope: Envelope) -> None:
            assert type(event).open(envelope) == event
            await self(envelope)

        chosen = {"start": "first", "backoff_seconds": 0.1, **options}
        subscribe(*(events or calls.ORDER_EVENTS), name=name, **chosen)(handler)
        return Subscription.declared[name]

    @property
    def calls(self) -> list[calls.Call]:
        """What was noted."""
        return calls.read(self.file)


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    """Noted in this test's folder."""
    return Notes(tmp_path / "calls")


@asynccontextmanager
async def reacting_to(settings: Settings, *chosen: Subscription, ttl_seconds: float = 8.0) -> AsyncIterator[Reactions]:
    """One process's reactions, inside this one, for as long as the block runs.

    Leases are long unless said: where calls are counted, a machine that stands still for a moment must lose none.
    """
    settings = msgspec.structs.replace(settings, lease_ttl_seconds=ttl_seconds)
    opened = await Database.connect(settings, role="reactions of a test")
    reactions = Reactions(opened, settings, chosen)
    task = asyncio.create_task(reactions.run())
    try:
        yield reactions
    finally:
        reactions.stop()
        await task
        await opened.close()


def orders_of(shop: Shop) -> list[Envelope]:
    """Everything that happened to orders."""
    return [event for event in shop.acknowledged if event.version is not None]


async def caught_up(database: Database, name: str = calls.NAME) -> None:
    """Wait until a reaction has come past all of the journal and nothing is tried again."""

    async def nothing_pending() -> bool:
        ours = [one for one in await standings(database) if one.name == name]
        return bool(ours) and ours[0].pending == 0 and ours[0].retrying == 0

    await eventually(nothing_pending)


async def sell(shop: Shop, database: Database, brisk: Settings, orders: int = 20, later: int = 40) -> None:
    """Let a shop sell, and a worker store it."""
    async with working(brisk):
        await shop.place(orders)
        await shop.go_on(later)
        await settled(database, shop.acknowledged)


async def test_each_aggregate_in_its_order(
    database: Database, appender: Appender, brisk: Settings, notes: Notes
) -> None:
    """Many aggregates at once and each of them one by one; once each, while nothing breaks."""
    shop = Shop(database, appender, seed=31)
    notes.seconds = lambda envelope: 0.001 * (int(envelope.id, 16) % 7)
    subscription = notes.declare(concurrency=3)
    async with working(brisk), reacting_to(brisk, subscription):
        for _ in range(5):
            await shop.place(20)
            await shop.go_on(30)
        await settled(database, shop.acknowledged)
        await caught_up(database)
    assert calls.audit(notes.calls, orders_of(shop)) == []
    assert set(Counter(notes.calls).values()) == {1}
    assert 1 < notes.most_at_once <= 3 * brisk.partitions
    (standing,) = await standings(database)
    assert (standing.handled, standing.parked) == (len(orders_of(shop)), 0)


async def test_a_lane_for_each_event_is_found(
    database: Database, appender: Appender, brisk: Settings, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded bug: events of one aggregate go beside each other. The audit of the calls says so."""

    def begin(self: reacting.Reacting, seq: int, event: Envelope) -> None:
        async def alone() -> None:
            await self._attempt(seq, event, attempts=1)
            self._track.done(seq)

        self._track.begin(seq)
        self._start(alone())

    monkeypatch.setattr(reacting.Reacting, "_begin", begin)
    shop = Shop(database, appender, seed=32)
    await sell(shop, database, brisk)
    notes.seconds = lambda envelope: 0.001 * (int(envelope.id, 16) % 7)
    async with reacting_to(brisk, notes.declare()):
        await caught_up(database)
    assert any(line.startswith("order") for line in calls.audit(notes.calls, orders_of(shop)))


async def test_a_failure_holds_its_aggregate_only(
    database: Database, appender: Appender, brisk: Settings, notes: Notes
) -> None:
    """Tried again, then parked: later events of it wait, all others go on, and a retry goes in order."""
    shop = Shop(database, appender, seed=33)
    ill = (await shop.place(2))[0]
    words = "no mail server for ada@shop.example at smtp://me:secret@mail"
    notes.failure = lambda envelope: OSError(words) if envelope.aggregate_id == ill else None
    subscription = notes.declare(attempts=3)
    async with working(brisk), reacting_to(brisk, subscription):
        await settled(database, shop.acknowledged)
        await caught_up(database)
        await shop.report(OrderPaid(order_id=ill, payment_id="late", currency="EUR", amount=5))
        await shop.place(20)
        await settled(database, shop.acknowledged)
        await caught_up(database)
        (entry,) = [entry async for entry in held.entries(database, calls.NAME)]
        assert (entry.aggregate_id, entry.state, entry.attempts, entry.waiting) == (ill, "parked", 3, 2)
        assert entry.reason == "OSError: no mail server for ***@*** at smtp://***@mail"
        others = [event for event in orders_of(shop) if event.aggregate_id != ill]
        assert calls.audit([call for call in notes.calls if call.aggregate != ill], others) == []
        assert [call.what for call in notes.calls if call.aggregate == ill] == ["begin", "failed"] * 3
        notes.failure = lambda _: None
        assert await held.retry(database, calls.NAME, [ill]) == 1
        await caught_up(database)
    assert calls.audit(notes.calls, orders_of(shop)) == []
    assert await database.held.count_documents({}) == 0


async def test_a_failure_that_is_not_written_down_is_found(
    database: Database, appender: Appender, brisk: Settings, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded bug: the position goes past a failure that only memory holds. After a restart the audit misses it."""

    async def forget(self: held.HeldAggregates, failed: held.Failed) -> None:
        """Write nothing."""

    shop = Shop(database, appender, seed=41)
    await sell(shop, database, brisk, orders=4, later=4)
    monkeypatch.setattr(held.HeldAggregates, "hold", forget)
    notes.failure = lambda envelope: OSError("down") if envelope.aggregate_id == "o-1" else None
    subscription = notes.declare()
    async with reacting_to(brisk, subscription):
        await caught_up(database)
    notes.failure = lambda _: None
    async with reacting_to(brisk, subscription):
        await caught_up(database)
    assert any(line.startswith("lost") for line in calls.audit(notes.calls, orders_of(shop)))


async def test_attempts_survive_a_restart(
    database: Database, appender: Appender, brisk: Settings, notes: Notes
) -> None:
    """What failed is in the database: whoever runs the reaction next goes on counting, and does not lose it."""
    shop = Shop(database, appender, seed=34)
    await sell(shop, database, brisk, orders=6, later=12)
    notes.failure = lambda _: OSError("down")
    subscription = notes.declare(attempts=1000)
    async with reacting_to(brisk, subscription):
        await eventually(lambda: _held_again(database, 6))
    notes.failure = lambda _: None
    async with reacting_to(brisk, subscription):
        await caught_up(database)
    assert calls.audit(notes.calls, orders_of(shop)) == []


async def _held_again(database: Database, count: int) -> bool:
    return await database.held.count_documents({"attempts": {"$gt": 1}}) == count


async def test_dropped_with_a_reason(database: Database, appender: Appender, brisk: Settings, notes: Notes) -> None:
    """The event is given up, its id and the reason are kept, and what comes after it is handled."""
    shop = Shop(database, appender, seed=35)
    await sell(shop, database, brisk, orders=1, later=3)
    events = sorted(orders_of(shop), key=lambda event: event.version or 0)
    notes.failure = lambda envelope: Rejected("not for me") if envelope.version == 2 else None
    async with reacting_to(brisk, notes.declare()):
        await caught_up(database)
        assert [(c.what, c.version) for c in notes.calls] == [("begin", 1), ("end", 1), ("begin", 2), ("failed", 2)]
        assert await held.drop(database, calls.NAME, [], "a test order") == 1
        assert await held.drop(database, calls.NAME, [], "a test order") == 0
        await caught_up(database)
    assert calls.audit(notes.calls, events) == [f"order: o-0 {n} before [2]" for n in (3, 4)] + [
        f"lost: {events[1].name} of o-0"
    ]
    (record,) = await database.dropped.find().to_list()
    assert (record["head"]["id"], record["reason"]) == (events[1].id, "a test order")
    assert "not for me" in record["failure"]


async def test_replay(database: Database, appender: Appender, brisk: Settings, notes: Notes) -> None:
    """From the start, and from a moment: the same events with the same ids again, parked ones too; nothing else."""
    shop = Shop(database, appender, seed=36)
    await sell(shop, database, brisk)
    early = orders_of(shop)
    cut = max(event.received_at for event in early)
    await asyncio.sleep(0.05)
    await sell(shop, database, brisk)
    late = [event for event in orders_of(shop) if event.received_at > cut]
    notes.failure = lambda envelope: Rejected("ill") if envelope.aggregate_id == "o-3" else None
    subscription = notes.declare()
    async with reacting_to(brisk, subscription):
        await caught_up(database)
        notes.failure = lambda _: None
        asked = await ask_for_replay(database, calls.NAME, None)
        assert (asked.places, asked.events) == (8, await database.journal.count_documents({}))
        await eventually(lambda: _asked_nothing(database))
        await caught_up(database)
        assert calls.audit(notes.calls, orders_of(shop)) == []
        ended = Counter(call.event_id for call in notes.calls if call.what == "end")
        assert all(ended[e.id] == (1 if e.aggregate_id == "o-3" else 2) for e in orders_of(shop))
        moment = min(event.received_at for event in late)
        await ask_for_replay(database, calls.NAME, moment)
        await eventually(lambda: _asked_nothing(database))
        await caught_up(database)
    again = Counter(call.event_id for call in notes.calls if call.what == "end") - ended
    assert {event.id for event in late} <= set(again)
    places = {d["_id"]: (d["p"], d["seq"]) async for d in database.journal.find({}, {"p": 1, "seq": 1})}
    first = {p: min(places[e.id][1] for e in late if places[e.id][0] == p) for p in {places[e.id][0] for e in late}}
    assert all(places[event_id][1] >= first[places[event_id][0]] for event_id in again)


async def _asked_nothing(database: Database) -> bool:
    return await database.reactions.count_documents({"replayTo": {"$exists": True}}) == 0


async def test_where_a_new_one_begins(database: Database, appender: Appender, brisk: Settings, notes: Notes) -> None:
    """By default behind what the journal has; what happens while nobody runs it is not missed."""
    shop = Shop(database, appender, seed=37)
    await sell(shop, database, brisk)
    subscription = notes.declare(start="now")
    async with reacting_to(brisk, subscription):
        await caught_up(database)
    assert notes.calls == []
    before = set(map(id, orders_of(shop)))
    await sell(shop, database, brisk)
    async with reacting_to(brisk, subscription):
        await caught_up(database)
    new = {event.id for event in orders_of(shop) if id(event) not in before}
    assert {call.event_id for call in notes.calls} == new


async def test_a_slow_one_holds_up_nobody(
    database: Database, appender: Appender, brisk: Settings, notes: Notes, tmp_path: Path
) -> None:
    """A call that hangs leaves other aggregates, partitions and reactions alone, and ends at its deadline."""
    shop = Shop(database, appender, seed=38)
    hung = (await shop.place(30))[0]
    notes.seconds = lambda envelope: 3600.0 if envelope.aggregate_id == hung else 0.0
    quick = Notes(tmp_path / "quick")
    chosen = [notes.declare(deadline_seconds=2.0, attempts=3), quick.declare(name="quick")]
    async with working(brisk), reacting_to(brisk, *chosen):
        await settled(database, shop.acknowledged)
        await caught_up(database, "quick")
        await caught_up(database)
        (entry,) = [entry async for entry in held.entries(database, None)]
    assert (entry.aggregate_id, entry.state) == (hung, "parked")
    assert "longer than 2 s" in entry.reason
    assert calls.audit(quick.calls, orders_of(shop)) == []
    others = [event for event in orders_of(shop) if event.aggregate_id != hung]
    assert calls.audit([call for call in notes.calls if call.aggregate != hung], others) == []


async def test_one_that_swallows_its_cancellation_is_left_to_itself(
    database: Database, appender: Appender, brisk: Settings, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    """At its deadline, where its aggregate is parked and its turn is another's; and when its place is given back."""
    ended, begun = asyncio.Event(), Counter[str]()

    async def deaf(event: OrderCreated) -> None:
        begun[event.order_id] += 1
        while event.order_id in {"o-0", "o-1"} and not ended.is_set():
            with suppress(asyncio.CancelledError):
                await ended.wait()

    shop = Shop(database, appender, seed=46)
    await shop.place(1)
    options: dict[str, Any] = {"start": "first", "backoff_seconds": 0.1, "concurrency": 1}
    subscribe(OrderCreated, name="deaf", deadline_seconds=2.0, **options)(deaf)
    subscribe(OrderCreated, name="deaf-for-long", deadline_seconds=3600.0, **options)(deaf)
    short, long = subscriptions()
    try:
        async with working(brisk):
            async with reacting_to(brisk, short):
                await shop.place(20)
                await settled(database, shop.acknowledged)
                await caught_up(database, "deaf")
                parked = {entry.aggregate_id: entry async for entry in held.entries(database, None)}
                assert parked.keys() == {"o-0", "o-1"}
                assert all(entry.state == "parked" and "although" in entry.reason for entry in parked.values())
                assert (begun["o-0"], begun["o-1"]) == (1, 1)
            async with reacting_to(brisk, long):
                await eventually(lambda: _called(begun, "o-0", 2))
        assert not await database.reactions.find_one({"p": {"$exists": True}, "owner": {"$ne": None}})
        assert "it is left to itself" in caplog.text
    finally:
        ended.set()
        await eventually(_nothing_abandoned)


async def _called(begun: Counter[str], order_id: str, times: int) -> bool:
    return begun[order_id] == times


async def _nothing_abandoned() -> bool:
    return not calling._abandoned


async def test_what_cannot_be_read_is_parked_at_once(
    database: Database, appender: Appender, brisk: Settings, notes: Notes
) -> None:
    """An event that its class cannot hold never reaches the function; one that cancels itself, or ends, has failed."""
    shop = Shop(database, appender, seed=39)
    await sell(shop, database, brisk, orders=5, later=0)
    await database.journal.update_one({"aggregateId": "o-1"}, {"$set": {"payload.currency": 7}})
    failures: dict[str, BaseException] = {
        "o-2": asyncio.CancelledError(),
        "o-3": SystemExit(3),
        "o-4": ValueError("half of a character: \ud800"),
    }
    notes.failure = lambda envelope: failures.get(envelope.aggregate_id)
    async with reacting_to(brisk, notes.declare(attempts=1)):
        await caught_up(database)
        reasons = {entry.aggregate_id: entry.reason async for entry in held.entries(database, None)}
    assert set(reasons) == {"o-1", *failures}
    assert "currency" in reasons["o-1"]
    assert {call.aggregate for call in notes.calls} == {"o-0", *failures}


async def test_pauses() -> None:
    """They double up to a bound, with jitter; `Retryable` says how long at least."""

    async def handler(event: OrderCreated) -> None:
        """Do nothing."""

    subscribe(OrderCreated, name="pauses")(handler)
    (subscription,) = subscriptions()
    pause = calling.pause_of
    for attempts, most in ((1, 1.0), (2, 2.0), (5, 16.0), (40, 300.0)):
        some = [pause(subscription, attempts) for _ in range(50)]
        assert most / 2 <= min(some) < max(some) <= most
    assert Retryable("busy", retry_after_seconds=7.0).retry_after_seconds == 7.0


async def test_without_redis(database: Database, appender: Appender, brisk: Settings, notes: Notes) -> None:
    """Nothing but the journal is needed: with no Redis at all, and with one that is wiped in between."""
    shop = Shop(database, appender, seed=40)
    nowhere = msgspec.structs.replace(brisk, redis_url="redis://127.0.0.1:1/0")
    await sell(shop, database, brisk)
    subscription = notes.declare()
    async with reacting_to(nowhere, subscription):
        await caught_up(database)
        await sell(shop, database, brisk)
        await caught_up(database)
    assert calls.audit(notes.calls, orders_of(shop)) == []


@pytest.mark.parametrize(
    ("declare", "word"),
    [
        (lambda: subscribe(name="a"), "event classes"),
        (lambda: subscribe(Event, name="a"), "no name"),
        (lambda: subscribe(OrderCreated, name="Welcome mail"), "Welcome mail"),
        (lambda: subscribe(OrderCreated, name="a", attempts=0), "positive"),
        (lambda: subscribe(OrderCreated, name="a", start=_anything("yesterday")), "yesterday"),
        (lambda: subscribe(OrderCreated, name="a")(_anything(print)), "async"),
        (lambda: subscribe(OrderCreated, name="a")(_takes_nothing), "takes the event"),
        (lambda: subscribe(OrderCreated, name="a")(_takes_much), "takes the event"),
        (lambda: (subscribe(OrderCreated, name="a")(_fine), subscribe(OrderPaid, name="a")(_fine_too)), "twice"),
    ],
)
def test_declarations_that_make_no_sense(declare: Callable[[], object], word: str) -> None:
    """Refused when they are made, and named."""
    with pytest.raises(SetupError, match=word):
        declare()


def _anything(value: Any) -> Any:
    """What type checkers would have refused."""
    return value


async def _takes_nothing() -> None: ...
async def _takes_much(event: Event, envelope: Envelope, more: int) -> None: ...
async def _fine(event: Event, envelope: Envelope, more: int = 3) -> None: ...
async def _fine_too(event: Event) -> None: ...
