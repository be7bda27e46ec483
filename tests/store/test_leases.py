"""One owner a partition at any time, by the server's clock, and the one before it is fenced and ended."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from pymongo.errors import PyMongoError

from rushlight.errors import Fenced
from rushlight.settings import Settings
from rushlight.store.clock import server_time
from rushlight.store.database import Database
from rushlight.store.leases import Leases
from rushlight.store.positions import FIRST_ENTRY, Position, Positions

LONG_SECONDS = 600.0
PATIENCE_SECONDS = 20.0


async def expire(database: Database, partition: int) -> None:
    """Let a lease run out, as if its owner had been silent."""
    past = await server_time(database) - timedelta(seconds=1)
    await database.leases.update_one({"_id": partition}, {"$set": {"expiresAt": past}})


async def test_one_of_twenty(database: Database) -> None:
    """Twenty who want eight partitions at the same moment: each partition gets one owner, at epoch 1."""
    takers = [Leases(database, f"w{n}", LONG_SECONDS) for n in range(20)]
    for partition in range(8):
        epochs = await asyncio.gather(*[taker.take(partition, uuid4()) for taker in takers])
        assert sorted(epoch for epoch in epochs if epoch is not None) == [1]
    owners = [await taker.heartbeat() for taker in takers]
    assert sorted(partition for mine in owners for partition in mine) == list(range(8))


async def test_every_owner_has_a_higher_epoch(database: Database) -> None:
    """Released or expired, the next owner's epoch is higher; a release by somebody else changes nothing."""
    first, second = Leases(database, "a", LONG_SECONDS), Leases(database, "b", LONG_SECONDS)
    assert await first.take(0, uuid4()) == 1
    await second.release(0)
    assert await second.take(0, uuid4()) is None
    await first.release(0)
    assert await second.take(0, uuid4()) == 2
    await expire(database, 0)
    assert await first.take(0, uuid4()) == 3
    assert await second.heartbeat() == set()
    assert await first.heartbeat() == {0}


async def test_expiry_is_the_servers(database: Database) -> None:
    """A lease runs out by itself, by the server's clock, and one that is prolonged does not."""
    short, other = Leases(database, "a", 0.3), Leases(database, "b", LONG_SECONDS)
    await short.take(0, uuid4())
    document = await database.leases.find_one({"_id": 0})
    assert document is not None
    assert abs(document["expiresAt"] - await server_time(database)) < timedelta(seconds=5)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (epoch := await other.take(0, uuid4())) is None:  # noqa: ASYNC110 - a lease runs out elsewhere
            await asyncio.sleep(0.02)
    assert epoch == 2
    assert await server_time(database) > document["expiresAt"]


async def test_who_lives_and_what_is_held(database: Database) -> None:
    """The survey counts live workers and held partitions; who leaves is gone at once, who dies after its time."""
    first, second = Leases(database, "a", LONG_SECONDS), Leases(database, "b", LONG_SECONDS)
    await first.heartbeat()
    await second.heartbeat()
    await first.take(0, uuid4())
    await second.take(1, uuid4())
    await second.take(2, uuid4())
    await second.release(2)
    assert await first.survey() == (2, {0, 1})
    await second.leave()
    assert await first.survey() == (1, {0})
    await expire(database, 0)
    assert await second.survey() == (1, set())


async def test_the_former_owners_transaction_ends(database: Database, kept_settings: Settings) -> None:
    """An owner paused in mid-transaction does not hold up its successor: its session is killed at the takeover."""
    paused = await Database.connect(kept_settings, role="paused")
    session = paused.client.start_session()
    former, taker = Leases(paused, "a", LONG_SECONDS), Leases(database, "b", LONG_SECONDS)
    assert await former.take(0, session.session_id["id"].as_uuid()) == 1
    await Positions(database).claim(0, 1)
    await session.start_transaction()
    await paused.positions.update_one({"_id": 0, "epoch": 1}, {"$set": {"n": 1}}, session=session)
    await expire(database, 0)
    epoch = await taker.take(0, uuid4())
    assert epoch == 2
    position = await Positions(database).claim(0, epoch)
    assert (position.epoch, position.n) == (2, 0)
    with pytest.raises(PyMongoError):
        await session.commit_transaction()
    await session.end_session()
    await paused.close()


async def test_claims_only_rise(database: Database) -> None:
    """A position goes to the higher epoch, whoever claims first; the lower one is fenced and changes nothing."""
    positions = Positions(database)
    assert await positions.read(0) is None
    fresh = await positions.claim(0, 3)
    assert fresh == Position(partition=0, epoch=3, n=0, commit="", seq=0, generation="", entry=FIRST_ENTRY)
    for epoch in (1, 2, 3):
        with pytest.raises(Fenced, match="newer than epoch"):
            await positions.claim(0, epoch)
    results = await asyncio.gather(*[positions.claim(0, 4 + n) for n in range(10)], return_exceptions=True)
    granted = [result.epoch for result in results if isinstance(result, Position)]
    assert max(granted) == 13
    assert all(isinstance(result, Position | Fenced) for result in results)
    assert await positions.all() == {0: Position(partition=0, epoch=13)}


async def test_a_claim_keeps_the_place(database: Database) -> None:
    """The new owner starts from the very document that its claim returned."""
    await database.positions.insert_one(
        {"_id": 5, "epoch": 1, "n": 7, "commit": "c", "seq": 70, "generation": "g", "entry": "1-2"}
    )
    expected = Position(partition=5, epoch=2, n=7, commit="c", seq=70, generation="g", entry="1-2")
    assert await Positions(database).claim(5, 2) == expected
    assert await Positions(database).read(5) == expected


async def test_the_lease_of_a_dead_owner_ends_before_its_time(database: Database) -> None:
    """What is known to be dead is expired at once and no longer counted; everybody else keeps what they hold."""
    gone, alive, taker = (Leases(database, name, 60.0) for name in ("gone", "alive", "taker"))
    for owner, partition in ((gone, 0), (alive, 1)):
        await owner.heartbeat()
        assert await owner.take(partition, uuid4()) == 1
    assert await taker.take(0, uuid4()) is None
    await taker.expire(lambda name: name == "gone")
    assert await taker.survey() == (1, {1})
    assert await taker.take(0, uuid4()) == 2
    assert await taker.take(1, uuid4()) is None
