"""What was accepted is delivered exactly once, in order, whatever Redis does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from rushlight.bus.stream import generation_key, stream_key
from rushlight.errors import Rejected, Unavailable
from rushlight.events.envelope import Envelope
from rushlight.ingest.intake import Intake
from rushlight.ingest.log import sender
from rushlight.ingest.log.settling import Settling
from rushlight.ingest.log.track import Track
from rushlight.local import Instance
from rushlight.settings import Settings
from rushlight.store.database import Database, Document
from tests.ingest.conftest import OpenIntake
from tests.ingest.making import ids, in_streams, missing, order, sent_order, stored_order, until, view, views, working

SETTLE_SECONDS = 60


async def settled(intake: Intake) -> None:
    """Wait for it, and fail when it does not come."""
    async with asyncio.timeout(SETTLE_SECONDS):
        await intake.settled()


async def ledger_of(database: Database, source: str) -> dict[str, int]:
    """What the commits counted for a source."""
    rows = await database.ledger.find({"source": source}).to_list()
    columns = ("stored", "duplicate", "parked", "dropped")
    return {column: total for column in columns if (total := sum(row.get(column, 0) for row in rows))}


async def published(database: Database, intake: Intake, sources: Document) -> None:
    """Wait until the log's document says so."""

    async def says_so() -> bool:
        document = await database.logs.find_one({"_id": intake.log_id})
        return document is not None and document["sources"] == sources

    await until(says_so)


async def test_accepted_events_are_in_the_stream(open_intake: OpenIntake, settings: Settings) -> None:
    """After the answer each event stands in the stream, with its origin and the time of its receipt."""
    intake = await open_intake()
    events = views(20)
    await intake.accept(events[:3])
    await asyncio.gather(*(intake.accept([event]) for event in events[3:]))
    await until_in_streams(settings, 20)
    found = {event.id: event for event in in_streams(settings.redis_url or "")}
    assert [found[event.id] for event in events] == events
    assert [event.origin for event in events] == [f"w:{intake.log_id}:{n}" for n in range(1, 21)]
    assert intake.pending == 20


async def until_in_streams(settings: Settings, count: int) -> None:
    """The stream is waited for only for an instant; a slow machine needs longer."""

    async def there() -> bool:
        return len(in_streams(settings.redis_url or "")) >= count

    await until(there)


async def test_a_hundred_events_wait_for_a_worker(
    open_intake: OpenIntake, settings: Settings, database: Database
) -> None:
    """Accepted while no worker runs: when one starts, exactly these are stored, in order, and nothing is pending."""
    intake = await open_intake()
    events = views(98)
    for event in events[:49]:
        await intake.accept([event])
    await intake.accept([order("o1"), *events[49:], order("o2")])
    assert intake.pending == 100
    async with working(settings):
        await settled(intake)
    assert intake.pending == 0
    assert await database.journal.count_documents({}) == 100
    assert await stored_order(database, events) == sent_order(events)
    assert await ledger_of(database, "web") == {"stored": 98}
    assert await ledger_of(database, "api") == {"stored": 2}
    web, api = {"acknowledged": 98, "pending": 0}, {"acknowledged": 2, "pending": 0}
    await published(database, intake, {"web": web, "api": api})


async def test_the_same_report_twice_counts_once(
    open_intake: OpenIntake, settings: Settings, database: Database
) -> None:
    """A retry is acknowledged again and settles as a duplicate: within one call, across calls and across logs."""
    first, second = await open_intake(), await open_intake()
    async with working(settings):
        await first.accept([view(message="m"), view(message="m")])
        await first.accept([view(message="m")])
        await second.accept([view(message="m")])
        await settled(first)
        await settled(second)
    assert await database.journal.count_documents({}) == 1
    assert await ledger_of(database, "web") == {"stored": 1, "duplicate": 3}
    assert first.log_id != second.log_id


@pytest.mark.parametrize(
    "lose",
    [
        lambda client: client.flushall(),
        lambda client: client.delete(*(generation_key(p) for p in range(8))),
        lambda client: client.delete(*(stream_key(p) for p in range(8))),
    ],
    ids=["everything", "generations", "streams"],
)
async def test_a_lost_stream_is_sent_again(
    open_intake: OpenIntake, settings: Settings, database: Database, lose: Callable[[redis.Redis], object]
) -> None:
    """Wiped with unsettled records in it, before and after the worker began: all of them are stored, once, in order."""
    intake = await open_intake()
    events = views(150)
    with redis.Redis.from_url(settings.redis_url or "") as client:
        await intake.accept(events[:50])
        lose(client)
        await intake.accept(events[50:100])
        lose(client)
        async with working(settings):
            await until(lambda: stored(database, 1))
            await intake.accept(events[100:])
            lose(client)
            await settled(intake)
    assert await missing(database, ids(events)) == set()
    assert await ledger_of(database, "web") == {"stored": 150}


async def stored(database: Database, count: int) -> bool:
    """Whether so many events are in the journal."""
    return await database.journal.count_documents({}) >= count


async def test_the_order_survives_an_outage(
    open_intake: OpenIntake, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Redis refuses what is sent, new records queue behind old ones; none overtakes when it takes them again."""
    monkeypatch.setattr("rushlight.ingest.log.feed.MAX_FRESH_BYTES", 4000)  # most of them come from the disk
    intake = await open_intake()
    events = views(300)
    with redis.Redis.from_url(settings.redis_url or "") as client:
        before = client.config_get("maxmemory")["maxmemory"]
        try:
            client.config_set("maxmemory", 1)
            for start in range(0, 200, 10):
                await intake.accept(events[start : start + 10])
            assert in_streams(settings.redis_url or "") == []
        finally:
            client.config_set("maxmemory", before)
    for event in events[200:]:
        await intake.accept([event])
    async with working(settings):
        await settled(intake)
    assert await stored_order(database, events) == sent_order(events)
    assert await ledger_of(database, "web") == {"stored": 300}


async def test_servers_frozen_and_absent(own_servers: Instance, tmp_path: Path) -> None:
    """Redis frozen, then gone, and MongoDB frozen too: events are accepted, and later all are stored, in order."""
    settings = own_servers.settings
    database = await Database.connect(settings, role="tests")
    intake = await Intake.open(database, own_servers.redis_url, tmp_path / "wal")
    events = views(120)
    await intake.accept(events[:40])
    own_servers.freeze("valkey")
    for event in events[40:80]:
        await intake.accept([event])
    own_servers.thaw("valkey")
    await own_servers.stop("valkey")
    own_servers.freeze("mongod")
    for event in events[80:]:
        await intake.accept([event])
    await own_servers.start("valkey")
    own_servers.thaw("mongod")
    async with working(settings):
        await settled(intake)
    assert await stored_order(database, events) == sent_order(events)
    assert await ledger_of(database, "web") == {"stored": 120}
    await intake.close()
    document = await database.logs.find_one({"_id": intake.log_id})
    assert document is not None
    assert (document["closed"], document["oldest"]) == (True, {})
    await database.close()


async def test_a_full_log_refuses_and_money_still_finds_room(
    open_intake: OpenIntake, settings: Settings, database: Database
) -> None:
    """At its cap the intake is Unavailable for views, then for all; when the worker has settled it accepts again."""
    intake = await open_intake(cap_bytes=1 << 20)
    accepted = []
    while await accepts(intake, event := view(name="x" * 500)):
        accepted.append(event)
    with pytest.raises(Unavailable, match="full"):
        await intake.accept([view(name="x" * 500)])
    last = order("o1")
    await intake.accept([last])
    accepted.append(last)
    async with working(settings):
        await settled(intake)
        await until(lambda: accepts(intake, view(message="finally")))
        await settled(intake)
    assert await missing(database, ids(accepted)) == set()
    assert await database.journal.count_documents({}) == len(accepted) + 1


async def accepts(intake: Intake, event: Envelope) -> bool:
    """Whether there is room."""
    try:
        await intake.accept([event])
    except Unavailable:
        return False
    return True


async def test_a_log_is_registered_before_it_acknowledges(open_intake: OpenIntake, database: Database) -> None:
    """Its document is there as soon as it is open, with a heartbeat, and says what is pending and since when."""
    intake = await open_intake(cap_bytes=2 << 20)
    document = await database.logs.find_one({"_id": intake.log_id})
    assert document is not None
    assert (document["closed"], document["capBytes"], document["sources"]) == (False, 2 << 20, {})
    event, money = view(), order("o1")
    intake.reject("web", "amount", 2)
    await intake.accept([event, money])
    one = {"acknowledged": 1, "pending": 1}
    await published(database, intake, {"web": one, "api": one})
    document = await database.logs.find_one({"_id": intake.log_id})
    assert document is not None
    assert document["rejected"] == {"web": {"amount": 2}}
    assert document["oldest"] == {"money": money.received_at, "behaviour": event.received_at}
    assert document["checkedAt"] <= document["heartbeatAt"]


async def test_a_log_is_resumed(open_intake: OpenIntake, settings: Settings, database: Database) -> None:
    """Opened again after a close with records pending: the same log, its numbers go on and its counts stay."""
    first = await open_intake()
    events = views(6)
    await first.accept(events[:3])
    first.reject("web", "payload")
    await first.close(settle_seconds=0)
    second = await open_intake()
    assert (second.log_id, second.pending) == (first.log_id, 3)
    await second.accept(events[3:])
    assert [event.origin for event in events] == [f"w:{first.log_id}:{n}" for n in range(1, 7)]
    async with working(settings):
        await settled(second)
    assert await ledger_of(database, "web") == {"stored": 6}
    await second.close()
    document = await database.logs.find_one({"_id": second.log_id})
    assert document is not None
    assert (document["closed"], document["rejected"]) == (True, {"web": {"payload": 1}})
    third = await open_intake()
    assert (third.log_id, third.pending) == (first.log_id, 0)
    await published(database, third, {"web": {"acknowledged": 6, "pending": 0}})


async def test_a_log_of_another_database_is_left_alone(
    open_intake: OpenIntake, settings: Settings, database: Database
) -> None:
    """When the database was made anew, old records are not delivered into it, and not thrown away."""
    first = await open_intake()
    await first.accept(views(2))
    await first.close(settle_seconds=0)
    await database.meta.delete_one({"_id": "identity"})
    second = await open_intake()
    assert (second.log_id != first.log_id, second.pending) == (True, 0)


async def test_a_log_put_back_to_an_older_state_is_noticed(open_intake: OpenIntake, database: Database) -> None:
    """MongoDB knows of more acknowledged records than the log has: the difference stays pending, and damage is told."""
    first = await open_intake()
    await first.accept(views(2))
    await first.close(settle_seconds=0)
    change: Document = {"$set": {"sources.web": {"acknowledged": 5, "pending": 5}}}
    await database.logs.update_one({"_id": first.log_id}, change)
    second = await open_intake()
    assert (second.log_id, second.pending) == (first.log_id, 5)

    async def told() -> bool:
        document = await database.logs.find_one({"_id": first.log_id})
        return document is not None and "3 acknowledged records of web are gone" in document.get("damage", [""])[0]

    await until(told)


async def test_malformed_envelopes_are_refused(open_intake: OpenIntake) -> None:
    """An id or source that the ledger could not hold, and an event that is too large, are refused unwritten."""
    intake = await open_intake()
    ids = ["x", "", "a" * 31, "a" * 33, f" {'a' * 31}", "a" * 16 + " " + "a" * 16]
    sources = ["a.b", ""]
    changes: list[tuple[dict[str, Any], str]] = [({"id": each}, "id") for each in ids] + [
        ({"source": each}, "source") for each in sources
    ]
    for change, field in [*changes, ({"payload": {"a": "x" * 300_000}}, "")]:
        event = view()
        for name, value in change.items():
            setattr(event, name, value)
        with pytest.raises(Rejected) as refusal:
            await intake.accept([view(), event])
        assert refusal.value.field == field
        with pytest.raises(Rejected):
            await intake.accept([event])
    assert intake.pending == 0
    await intake.accept([view()])
    assert intake.pending == 1


async def test_the_check_for_lost_events_fires(
    open_intake: OpenIntake, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded bug: records count as settled without being looked up. After a wipe the check finds what is gone."""

    async def believe(self: Settling, numbers: list[int]) -> list[int]:
        for number in numbers:
            self._log.settle(number)
        return []

    intake = await open_intake()
    events = views(20)
    await intake.accept(events)
    with redis.Redis.from_url(settings.redis_url or "") as client:
        client.flushall()
    monkeypatch.setattr(Settling, "look_up", believe)
    async with working(settings):
        await settled(intake)
    assert await missing(database, ids(events)) == ids(events)


async def test_the_check_for_unsettled_events_fires(
    open_intake: OpenIntake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded bug: a lost stream is not noticed. After a wipe the records stay pending, and waiting for them fails."""
    monkeypatch.setattr(Track, "is_lost", lambda *_: False)
    intake = await open_intake()
    await intake.accept(views(20))
    await until_in_streams(settings, 20)  # on a slow machine they are acknowledged before
    with redis.Redis.from_url(settings.redis_url or "") as client:
        client.flushall()
    async with working(settings):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await intake.settled()
    assert intake.pending == 20


async def test_the_check_of_the_order_fires(
    open_intake: OpenIntake, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded bug: records are sent newest first. The check of the order finds it."""
    right = sender._pack
    monkeypatch.setattr(sender, "_pack", lambda partition, group: right(partition, group[::-1]))
    intake = await open_intake()
    events = views(40)
    await intake.accept(events)
    async with working(settings):
        await settled(intake)
    assert await stored_order(database, events) != sent_order(events)
