"""What a killed publisher acknowledged is delivered by whoever is on the host."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import redis

from rushlight.ingest.adopter import Adopter
from rushlight.ingest.log.registry import host
from rushlight.local.process import Child, spawn
from rushlight.settings import Settings
from rushlight.store.database import Database, Document
from tests.ingest.conftest import OpenIntake
from tests.ingest.making import by_aggregate, missing, until, views, working
from tests.ingest.publishing import Configuration, acknowledged

NOWHERE = "redis://127.0.0.1:1"


@asynccontextmanager
async def adopting(database: Database, settings: Settings, root: Path) -> AsyncIterator[Adopter]:
    """An adopter for as long as the block runs."""
    adopter = Adopter(database, settings.redis_url or "", root)
    adopter.start()
    try:
        yield adopter
    finally:
        await adopter.stop()


class Publisher:
    """A publisher process and its log of what was acknowledged."""

    def __init__(self, settings: Settings, place: Path, *, count: int, redis_url: str | None = None, bug: str = ""):
        self.wal = place / "wal"
        self.acknowledged = place / "acknowledged"
        configuration = Configuration(
            redis_url=redis_url or settings.redis_url or "",
            mongo_url=settings.mongo_url or "",
            database=settings.database,
            wal=str(self.wal),
            acknowledged=str(self.acknowledged),
            count=count,
            bug=bug,
        )
        command = [sys.executable, "-m", "tests.ingest.publishing", msgspec.json.encode(configuration).decode()]
        self.process: Child = spawn("publisher", command, log=place / "publisher.log")

    async def killed_after(self, count: int) -> list[tuple[str, str]]:
        """Kill -9 when so many are acknowledged; what was acknowledged by then."""

        async def so_many() -> bool:
            assert self.process.code is None, self.process.last_words()
            return len(acknowledged(self.acknowledged)) >= count

        await until(so_many)
        self.process.kill()
        await until(self._gone)
        return acknowledged(self.acknowledged)

    async def _gone(self) -> bool:
        return self.process.code is not None


async def all_closed(database: Database) -> bool:
    """Whether every log has come to rest."""
    return not await database.logs.count_documents({"closed": False})


async def test_a_killed_publisher_loses_nothing(settings: Settings, database: Database, tmp_path: Path) -> None:
    """Killed with -9 in mid-publishing, then everything in Redis wiped, and only then a worker: each acknowledged event
    is stored once, in order, and the log is closed with nothing pending.
    """
    publisher = Publisher(settings, tmp_path, count=100_000)
    events = await publisher.killed_after(150)
    with redis.Redis.from_url(settings.redis_url or "") as client:
        client.flushall()
    async with working(settings), adopting(database, settings, publisher.wal):
        await until(lambda: all_closed(database))
    assert await missing(database, (event for event, _ in events)) == set()
    rows = await database.journal.find({"source": "shop"}).sort([("p", 1), ("seq", 1)]).to_list()
    stored = by_aggregate((row["aggregateId"], row["_id"]) for row in rows)
    # The event in flight when the end came may be stored or not; nobody was told.
    for aggregate, sent in by_aggregate((aggregate, event) for event, aggregate in events).items():
        assert stored[aggregate][: len(sent)] == sent
    assert len(events) <= len(rows) <= len(events) + 1
    document = await database.logs.find_one({})
    assert document is not None
    assert document["sources"] == {"shop": {"acknowledged": len(rows), "pending": 0}}


async def test_the_oracle_fires(settings: Settings, database: Database, tmp_path: Path) -> None:
    """Seeded bug: a publisher answers although nothing reached the disk, with Redis away. The check finds the loss."""
    publisher = Publisher(settings, tmp_path, count=40, redis_url=NOWHERE, bug="answers-unwritten")
    events = await publisher.killed_after(40)
    async with working(settings), adopting(database, settings, publisher.wal):
        await asyncio.sleep(5)
    assert await missing(database, (event for event, _ in events)) == {event for event, _ in events}


async def test_logs_are_found_wherever_they_are(
    settings: Settings, database: Database, open_intake: OpenIntake, tmp_path: Path
) -> None:
    """A log outside of the instance's own directory is found through its document; the adopter leaves living ones."""
    left, alive = await open_intake(), await open_intake(redis_url=NOWHERE)
    await left.accept(views(10))
    await alive.accept(views(3))
    await left.close(settle_seconds=0)
    async with working(settings), adopting(database, settings, tmp_path / "elsewhere") as adopter:
        await until(lambda: is_closed(database, left.log_id))
        assert alive.log_id not in adopter.adopted
    assert await database.journal.count_documents({}) == 10
    assert alive.pending == 3


async def is_closed(database: Database, log_id: str) -> bool:
    """Whether the log has come to rest."""
    return bool(await database.logs.count_documents({"_id": log_id, "closed": True}))


async def test_logs_of_other_hosts_are_left_alone(
    settings: Settings, database: Database, open_intake: OpenIntake, tmp_path: Path
) -> None:
    """A document of another machine names a path that means something else here."""
    left = await open_intake()
    await left.accept(views(2))
    await left.close(settle_seconds=0)
    await database.logs.update_one({"_id": left.log_id}, {"$set": {"host": f"not {host()}"}})
    async with adopting(database, settings, tmp_path / "elsewhere") as adopter:
        await asyncio.sleep(1)
        assert adopter.adopted == set()


async def test_damage_is_delivered_around_and_stays_in_sight(
    settings: Settings, database: Database, open_intake: OpenIntake, tmp_path: Path
) -> None:
    """A damaged log is not written to again; what can be read of it is delivered, and the rest stays pending."""
    left = await open_intake(redis_url=NOWHERE)
    events = views(3)
    for event in events:
        await left.accept([event])
    await left.close(settle_seconds=0)
    (segment,) = (tmp_path / "wal" / left.log_id).glob("*.wal")
    content = bytearray(segment.read_bytes())
    content[content.index(events[1].id.encode())] ^= 1
    segment.write_bytes(content)
    other = await open_intake()
    assert other.log_id != left.log_id
    async with working(settings), adopting(database, settings, tmp_path / "wal"):

        async def rest_is_pending() -> bool:
            document: Document = await database.logs.find_one({"_id": left.log_id}) or {}
            return bool(document["sources"].get("web", {}).get("pending") == 1 and document.get("damage"))

        await until(rest_is_pending)
    assert await missing(database, [event.id for event in events]) == {events[1].id}


async def test_adopters_take_turns(
    settings: Settings, database: Database, open_intake: OpenIntake, tmp_path: Path
) -> None:
    """Several adopters on a host: each left log is delivered once, by one of them."""
    lefts = [await open_intake() for _ in range(3)]
    for left in lefts:
        await left.accept(views(20))
    for left in lefts:
        await left.close(settle_seconds=0)
    async with (
        working(settings),
        adopting(database, settings, tmp_path / "wal"),
        adopting(database, settings, tmp_path / "wal"),
    ):
        await until(lambda: all_closed(database))
    stored = await database.ledger.find({"source": "web"}).to_list()
    assert sum(row["stored"] for row in stored) == 60
    assert sum(row.get("duplicate", 0) for row in stored) == 0


async def test_a_log_whose_headers_are_gone_is_told(
    settings: Settings, database: Database, open_intake: OpenIntake, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Records of which nobody can say where they belong are neither delivered nor thrown away, and not passed over."""
    left = await open_intake(redis_url=NOWHERE)
    await left.accept(views(2))
    await left.close(settle_seconds=0)
    (segment,) = (tmp_path / "wal" / left.log_id).glob("*.wal")
    content = segment.read_bytes()
    segment.write_bytes(b"?" + content[1:])
    async with adopting(database, settings, tmp_path / "wal"):
        await until(lambda: told(caplog, "no file of it says to which database it belongs"))
    assert segment.exists()


async def told(caplog: pytest.LogCaptureFixture, what: str) -> bool:
    """Whether an operator was told."""
    return what in caplog.text
