"""Reactions in processes that are killed and frozen, beside a Redis that is wiped and a MongoDB that stumbles."""

from __future__ import annotations

import random
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import msgspec
import pytest
import redis

from rushlight.bus.appender import Appender
from rushlight.engine.subscription import Subscription
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.conftest import elsewhere
from tests.engine import calls
from tests.engine.audit import eventually, settled
from tests.engine.conftest import working
from tests.engine.failing import failing
from tests.engine.processes import Workers, workers
from tests.engine.shop import Shop
from tests.engine.test_reactions import Notes, caught_up, orders_of, reacting_to

ROOT = Path(__file__).resolve().parent.parent.parent
KILLS = 3


@pytest.fixture
def brisk(settings: Settings) -> Settings:
    """Short leases on a new database, for workers that run `tests.engine.calls`."""
    return msgspec.structs.replace(settings, lease_ttl_seconds=1.0, modules=("tests.engine.calls",))


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the workers note their calls, each of which takes a while."""
    file = tmp_path / "calls"
    monkeypatch.setenv("CALLS_FILE", str(file))
    monkeypatch.setenv("CALLS_SECONDS", "0.1")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'src'}")
    return file


async def test_killed_in_mid_handler(
    database: Database, appender: Appender, brisk: Settings, notes: Path, tmp_path: Path
) -> None:
    """Workers killed with -9 while calls run, the stream wiped: every event is handled, in order, cut calls again."""
    shop = Shop(database, appender, seed=51)

    async def caught_calling(pid: int) -> bool:
        await shop.place(3)
        return await _is_calling(notes, pid)

    with redis.Redis.from_url(brisk.redis_url or "") as client, workers(brisk, tmp_path / "log", count=2) as some:
        for number in range(KILLS):
            victim = some.running[0].pid
            await shop.place(15)
            await shop.go_on(15)
            await eventually(partial(caught_calling, victim))
            if number == 1:
                client.flushall()
            some.kill()
        await settled(database, shop.acknowledged)
        await caught_up(database)
    noted = calls.read(notes)
    assert calls.audit(noted, orders_of(shop)) == []
    begun, ended = (Counter(c.event_id for c in noted if c.what == what) for what in ("begin", "end"))
    assert any(begun[event] > ended[event] for event in begun)


async def _is_calling(notes: Path, pid: int) -> bool:
    noted = [call for call in calls.read(notes) if call.pid == pid]
    return sum(1 if call.what == "begin" else -1 for call in noted) > 0


async def test_a_position_saved_before_the_handler_is_found(
    database: Database,
    appender: Appender,
    brisk: Settings,
    notes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seeded bug: with the position moved before the call, the same kill loses events, and the audit says which."""
    monkeypatch.setenv("CALLS_BUG", "position before handler")
    monkeypatch.setenv("CALLS_SECONDS", "3600")
    shop = Shop(database, appender, seed=52)
    with workers(brisk, tmp_path / "log") as some:
        await shop.place(10)
        await settled(database, shop.acknowledged)
        await caught_up(database)
        await eventually(lambda: _is_calling(notes, some.running[0].pid))
        monkeypatch.setenv("CALLS_SECONDS", "0")
        some.kill()
        await shop.place(10)
        await settled(database, shop.acknowledged)
        await eventually(lambda: _has_ended(notes, 10))
    assert any(line.startswith("lost") for line in calls.audit(calls.read(notes), orders_of(shop)))


async def _has_ended(notes: Path, count: int) -> bool:
    return sum(call.what == "end" for call in calls.read(notes)) >= count


async def test_frozen_past_its_lease(
    database: Database,
    appender: Appender,
    brisk: Settings,
    notes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker frozen in mid-call: another goes on in its place, and when it wakes it begins no call there."""
    monkeypatch.setenv("CALLS_SECONDS", "0.5")
    shop = Shop(database, appender, seed=53)
    with workers(brisk, tmp_path / "log") as some:
        await shop.place(30)
        await shop.go_on(60)
        frozen = some.running[0]
        await eventually(lambda: _is_calling(notes, frozen.pid))
        frozen.signal(signal.SIGSTOP)
        await eventually(lambda: _stands_still(frozen.pid))
        before = len([call for call in calls.read(notes) if call.pid == frozen.pid])
        some.start()
        await settled(database, shop.acknowledged)
        await caught_up(database)
        finished = {c.event_id for c in calls.read(notes) if c.what == "end"}
        assert finished == {event.id for event in orders_of(shop)}
        frozen.signal(signal.SIGCONT)
        await _owns_something(database, frozen.pid)
        after = [call for call in calls.read(notes) if call.pid == frozen.pid][before:]
        assert [call for call in after if call.what == "begin"] == []
        await caught_up(database)
        assert {worker.code for worker in some.running} == {None}
    assert calls.audit([c for c in calls.read(notes) if c.pid != frozen.pid or c.what == "end"], orders_of(shop)) == []


async def _stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def _owns_something(database: Database, pid: int) -> None:
    async def owns() -> bool:
        return bool(await database.reactions.find_one({"owner": {"$regex": f":{pid}:"}}))

    await eventually(owns)


async def test_fair_shares(
    database: Database, appender: Appender, brisk: Settings, notes: Path, tmp_path: Path
) -> None:
    """Two workers run four partitions each; one leaves and comes back in mid-work; all in order, none twice by one."""
    calm = msgspec.structs.replace(brisk, lease_ttl_seconds=8.0)
    shop = Shop(database, appender, seed=54)
    with workers(calm, tmp_path / "log", count=2) as some:
        await _shared(database, some, 4)
        await shop.place(40)
        await shop.go_on(40)
        leaving = some.running.pop(0)
        leaving.signal(signal.SIGTERM)
        assert await leaving.wait() == 0
        await _shared(database, some, 8)
        some.start()
        await shop.place(20)
        await _shared(database, some, 4)
        await settled(database, shop.acknowledged)
        await caught_up(database)
        assert "Traceback" not in some.words()
    noted = calls.read(notes)
    assert calls.audit(noted, orders_of(shop)) == []
    # Whoever takes a place over begins at the first event that was not handled there; later ones may have been.
    assert set(Counter((call.event_id, call.what, call.pid) for call in noted).values()) == {1}


async def _shared(database: Database, some: Workers, each: int) -> None:
    async def shared() -> bool:
        owners = Counter(
            [p["owner"] async for p in database.reactions.find({"owner": {"$ne": None}, "name": calls.NAME})]
        )
        pids = {int(owner.split(":")[1]): count for owner, count in owners.items()}
        return pids == {worker.pid: each for worker in some.running}

    await eventually(shared)


async def test_a_mongodb_that_stumbles(
    failing_url: str, brisk: Settings, appender: Appender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands fail at random, by closed connections, refusals and lost replies: every event is handled, in order."""
    monkeypatch.setattr(Subscription, "declared", {})
    fragile = elsewhere(brisk, mongo_url=failing_url)
    database = await Database.connect(fragile, role="test")
    chance = random.Random(55)
    shop = Shop(database, appender, seed=55)
    notes = Notes(tmp_path / "calls")
    notes.failure = lambda _: OSError("now and then") if chance.random() < 0.05 else None
    subscription = notes.declare(attempts=1000)
    commands = ["update", "find", "findAndModify", "commitTransaction", "aggregate", "delete"]
    ways: list[dict[str, object]] = [{"closeConnection": True}, {"errorCode": 262}, {"errorCode": 112}]
    async with working(fragile), reacting_to(fragile, subscription, ttl_seconds=1.0):
        for _ in range(12):
            chosen = chance.sample(commands, 3)
            times = {"times": chance.randrange(1, 6)}
            name = "rushlight reactions of a test"
            async with failing(database, times, failCommands=chosen, appName=name, **chance.choice(ways)):
                await shop.place(5)
                await shop.go_on(5)
        await settled(database, shop.acknowledged)
        await caught_up(database)
    noted = [call._replace(pid=0) for call in notes.calls]
    assert calls.audit(noted, orders_of(shop)) == []
    await database.client.drop_database(database.name)
    await database.close()
