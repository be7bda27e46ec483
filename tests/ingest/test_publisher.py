"""Publishing from Python keeps the promise that its docstring makes, with and without a write-ahead directory."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
import redis

from rushlight import Event, EventBus
from rushlight.errors import Rejected, SetupError, Unavailable
from rushlight.events.catalogue import Item, Line, OrderCancelled, OrderCreated, OrderPaid, ViewItem
from rushlight.events.envelope import Envelope
from rushlight.events.ids import money_id
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.ingest.making import in_streams, until, working


class GiftWrapped(Event, name="gift_wrapped_in_a_test", aggregate="parcel_id"):
    """An event of a shop's own."""

    parcel_id: str
    ribbon: str = "red"


def connect(settings: Settings, **options: object) -> object:
    """Connect to the test's servers."""
    return EventBus.connect(
        redis_url=settings.redis_url or "",
        mongo_url=settings.mongo_url,
        database=settings.database,
        **options,  # type: ignore[arg-type]
    )


def viewed(visitor: str) -> ViewItem:
    """A product's page seen."""
    return ViewItem(visitor_id=visitor, items=[Item(product_id="tea")])


async def bus_of(settings: Settings, **options: object) -> EventBus:
    """An open bus."""
    bus = await connect(settings, **options)  # type: ignore[misc]
    assert isinstance(bus, EventBus)
    return bus


async def test_with_a_directory_publishing_is_a_promise(settings: Settings, database: Database, tmp_path: Path) -> None:
    """A hundred events, Redis wiped afterwards, and only then a worker: all hundred are stored, and in the ledger."""
    async with await bus_of(settings, wal=tmp_path / "wal", source="shop") as bus:
        for number in range(99):
            await bus.publish(viewed(f"v{number % 5}"))
        published = await bus.publish(GiftWrapped(parcel_id="p1"), customer_id="c1", correlation_id="flow")
        assert bus.pending == 100
        with redis.Redis.from_url(settings.redis_url or "") as client:
            client.flushall()
        async with working(settings):
            async with asyncio.timeout(60):
                await bus.settled()
        assert bus.pending == 0
    assert await database.journal.count_documents({}) == 100
    rows = await database.ledger.find({"source": "shop"}).to_list()
    assert sum(row["stored"] for row in rows) == 100
    row = await database.journal.find_one({"_id": published.id})
    assert row is not None
    assert (row["eventName"], row["payload"]) == ("gift_wrapped_in_a_test", {"parcelId": "p1"})
    assert (row["aggregateId"], row["customerId"], row["correlationId"]) == ("p1", "c1", "flow")
    document = await database.logs.find_one({})
    assert document is not None
    assert document["closed"] is True
    assert document["sources"] == {"shop": {"acknowledged": 100, "pending": 0}}


async def test_without_a_directory_the_stream_has_it(settings: Settings, database: Database) -> None:
    """When it returns the event is in the stream, of no log and no outbox; a worker stores it."""
    async with await bus_of(settings) as bus:
        published = await bus.publish(viewed("v1"))
        assert in_streams(settings.redis_url or "") == [published]
        assert published.origin == f"d:{published.id}"
        assert bus.pending == 0
        await bus.settled()
        async with working(settings):
            await until(lambda: _stored(database, published))
    assert await database.logs.count_documents({}) == 0


async def _stored(database: Database, event: Envelope) -> bool:
    return await database.journal.count_documents({"_id": event.id}) == 1


async def test_without_redis(settings: Settings, tmp_path: Path) -> None:
    """With a directory it is accepted; without one it is Unavailable."""
    nowhere = "redis://127.0.0.1:1"
    async with await EventBus.connect(redis_url=nowhere) as bus:
        with pytest.raises(Unavailable):
            await bus.publish(viewed("v1"))
    async with await EventBus.connect(
        redis_url=nowhere, mongo_url=settings.mongo_url, database=settings.database, wal=tmp_path / "wal"
    ) as bus:
        await bus.publish(viewed("v1"))
        assert bus.pending == 1


async def test_ids(settings: Settings) -> None:
    """A message id makes a retry the same event; money goes by what it is about."""
    async with await bus_of(settings, source="shop") as bus:
        first, again = [await bus.publish(viewed("v1"), message_id="m1") for _ in range(2)]
        other = await bus.publish(viewed("v1"))
        assert first.id == again.id != other.id
        line = Line(product_id="tea", quantity=1, amount=399)
        placed = OrderCreated(order_id="o1", currency="EUR", lines=[line], gross=399, total=399)
        paid = OrderPaid(order_id="o1", payment_id="p1", currency="EUR", amount=399)
        assert (await bus.publish(placed)).id == money_id("default", "shop", "o1", "order_created")
        assert (await bus.publish(paid)).id == money_id("default", "shop", "o1", "order_paid", "p1")
        cancelled = OrderCancelled(order_id="o1")
        ids = {(await bus.publish(cancelled, message_id=message)).id for message in ("a", "a", "b")}
        assert len(ids) == 2


async def test_what_does_not_fit_its_declaration_is_refused(settings: Settings) -> None:
    """Python does not check the fields of a typed event; publishing does, and names the field."""
    async with await bus_of(settings) as bus:
        with pytest.raises(Rejected, match=r"payload\.items\[0\]\.productId"):
            await bus.publish(ViewItem(visitor_id="v1", items=[Item(product_id="")]))
        assert in_streams(settings.redis_url or "") == []


async def test_listening(settings: Settings) -> None:
    """Committed events of the names that one listens to come by, as envelopes."""
    async with await bus_of(settings) as bus, working(settings):
        heard: dict[str, Envelope] = {}

        async def listen() -> None:
            async with aclosing(bus.listen(GiftWrapped, "login")) as events:
                async for event in events:
                    heard[event.id] = event

        listening = asyncio.create_task(listen())

        async def heard_something() -> bool:
            await bus.publish(viewed("v1"))
            await bus.publish(GiftWrapped(parcel_id="p1"))
            await asyncio.sleep(0.2)
            return bool(heard)

        await until(heard_something)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert {event.name for event in heard.values()} == {"gift_wrapped_in_a_test"}
    assert {GiftWrapped.open(event) for event in heard.values()} == {GiftWrapped(parcel_id="p1")}


async def test_the_number_of_partitions_is_the_databases(settings: Settings, tmp_path: Path) -> None:
    """A publisher need not know it."""
    few = Settings(redis_url=settings.redis_url, mongo_url=settings.mongo_url, database=settings.database, partitions=2)
    await (await Database.connect(few, role="tests")).close()
    async with await bus_of(settings, wal=tmp_path / "wal") as bus:
        for number in range(20):
            await bus.publish(viewed(f"v{number}"))
        await until(lambda: _all_in_two(settings))


async def _all_in_two(settings: Settings) -> bool:
    return len(in_streams(settings.redis_url or "", partitions=2)) == 20


async def test_a_directory_needs_mongodb(settings: Settings, tmp_path: Path) -> None:
    """Logs are registered there; a file in the directory's place is told in a sentence, too."""
    with pytest.raises(SetupError, match="mongo_url"):
        await EventBus.connect(redis_url=settings.redis_url or "", wal=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot hold a write-ahead log"):
        await bus_of(settings, wal=tmp_path / "file")
