"""The ledger counts every column by itself, and says whether they agree, also while logs and workers are at work."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from rushlight.bus.stream import FIRST_ENTRY, StreamReader
from rushlight.events.catalogue import OrderCreated, PageView, Purchase
from rushlight.events.envelope import Envelope, decode, now
from rushlight.events.ids import partition_of
from rushlight.ingest.intake import Intake
from rushlight.settings import Settings
from rushlight.store import ledger as ledger_module
from rushlight.store.clock import server_time
from rushlight.store.database import Database
from rushlight.store.journal import to_document
from rushlight.store.ledger import Counts, Ledger, LedgerReader, read
from rushlight.store.outbox import Outbox
from rushlight.store.recount import verify
from tests.query.pipeline import running
from tests.query.world import seal

LOG = "log-1"


async def place(database: Database, settings: Settings, *names: str) -> list[Envelope]:
    """Save orders with their two events each, as the order service does; returns the events."""
    events: list[Envelope] = []
    for name in names:
        order = Outbox.attach(
            {"_id": name},
            OrderCreated(order_id=name, currency="USD", lines=[], gross=0),
            Purchase(visitor_id=f"v-{name}", transaction_id=name),
            partitions=settings.partitions,
        )
        await database.orders.insert_one(order)
        events += [decode(data) for _, data in Outbox.entries(order)]
    return events


async def clear(database: Database) -> None:
    """Empty all outboxes, as the worker does some time after its commits."""
    await database.orders.update_many({}, {"$set": {"outbox": []}})


async def publish_log(database: Database, **said: Any) -> None:
    """What a write-ahead log says of itself."""
    present = await server_time(database)
    document = {"startedAt": present, "heartbeatAt": present, "checkedAt": present, "closed": False} | said
    await database.logs.replace_one({"_id": LOG}, {"_id": LOG, **document}, upsert=True)


async def raise_counters(database: Database, source: str, partition: int = 0, **columns: int) -> None:
    """What commits do to the counters."""
    await database.ledger.update_one(
        {"_id": f"{partition:02d}/{source}"},
        {"$inc": columns, "$set": {"p": partition, "source": source}},
        upsert=True,
    )


def web(acknowledged: int, pending: int) -> dict[str, dict[str, int]]:
    """A log's count of one source."""
    return {"web": {"acknowledged": acknowledged, "pending": pending}}


async def test_an_empty_ledger_balances(database: Database) -> None:
    """Nothing was acknowledged, nothing is missing."""
    ledger = await read(database)
    assert ledger == Ledger(balanced=True, as_of=ledger.as_of, total=Counts(), sources={})


async def test_orders_are_pending_until_they_have_a_terminal_record(database: Database, settings: Settings) -> None:
    """Pending is what has no terminal record, whether or not it was cleared from its order."""
    events = await place(database, settings, "o1", "o2", "o3")
    waiting = await read(database)
    async with running(database, settings) as pipeline:
        await pipeline.send(events)
    settled = await read(database)
    await clear(database)
    cleared = await read(database)
    assert waiting.sources == {"orders": Counts(acknowledged=6, pending=6)}
    assert settled.sources == cleared.sources == {"orders": Counts(acknowledged=6, stored=6)}
    assert waiting.balanced
    assert settled.balanced
    assert cleared.balanced
    assert cleared.total == cleared.sources["orders"]


async def test_the_json_is_the_contracts(database: Database, settings: Settings) -> None:
    """Names and shape as programs read them."""
    await place(database, settings, "o1")
    await publish_log(database, rejected={"web": {"schema": 2}}, closed=True)
    said = msgspec.json.decode(msgspec.json.encode(await read(database)))
    orders = {"acknowledged": 2, "stored": 0, "duplicate": 0, "parked": 0, "dropped": 0, "pending": 2, "rejected": 0}
    assert said.pop("asOf").endswith("Z")
    assert said == {
        "balanced": True,
        "total": orders | {"rejected": 2},
        "sources": {"orders": orders, "web": dict.fromkeys(orders, 0) | {"rejected": 2}},
        "unreachable": [],
        "rejectedBy": {"schema": 2},
    }


async def test_a_lost_order_event_is_missed(database: Database, settings: Settings) -> None:
    """Seeded bug: an outbox entry is cleared although it was never settled."""
    await place(database, settings, "o1", "o2")
    await database.orders.update_one({"_id": "o2"}, {"$set": {"outbox": []}})
    ledger = await read(database)
    assert not ledger.balanced
    assert ledger.sources == {"orders": Counts(acknowledged=4, pending=2)}


async def test_a_settled_event_that_was_never_acknowledged_is_noticed(database: Database, settings: Settings) -> None:
    """Seeded bug: an order with settled events is gone from the orders' own collection."""
    events = await place(database, settings, "o1", "o2")
    async with running(database, settings) as pipeline:
        await pipeline.send(events)
    await database.orders.delete_one({"_id": "o2"})
    assert not (await read(database)).balanced


async def test_a_counter_that_counts_twice_is_noticed(database: Database, settings: Settings) -> None:
    """Seeded bug: a commit raised its counter twice; the recount says which."""
    events = await place(database, settings, "o1")
    async with running(database, settings) as pipeline:
        await pipeline.send(events)
    await raise_counters(database, "orders", partition=3, stored=1)
    recount = await verify(database)
    assert not recount.ledger.balanced
    assert not recount.verified
    assert recount.differences == ["orders: the counter of stored says 3, and there are 2"]


async def test_duplicates_and_parked_events_have_their_columns(database: Database, settings: Settings) -> None:
    """The same order twice, an order that no code can read, and a later event of it, all through the worker."""
    events = await place(database, settings, "o1", "o2")
    again = msgspec.structs.replace(events[0], origin="w:log-1:1")
    poison = msgspec.structs.replace(
        events[2],
        id="f" * 32,
        origin="w:log-1:2",
        source="web",
        payload={"orderId": 7},
        aggregate_id="p1",
        version=None,
    )
    later = msgspec.structs.replace(poison, id="e" * 32, origin="w:log-1:3", name="order_paid")
    async with running(database, settings) as pipeline:
        await pipeline.send(events)
        await pipeline.send([again, poison, later])
    sources = {"orders": {"acknowledged": 1, "pending": 0}, "web": {"acknowledged": 2, "pending": 0}}
    await publish_log(database, sources=sources)
    recount = await verify(database)
    assert recount.verified
    assert recount.ledger.sources == {
        "orders": Counts(acknowledged=5, stored=4, duplicate=1),
        "web": Counts(acknowledged=2, parked=2),
    }


async def test_an_acknowledgement_that_ended_twice_is_found(database: Database, settings: Settings) -> None:
    """Seeded bug: an event is stored, and its origin has an outcome as well."""
    events = await place(database, settings, "o1")
    async with running(database, settings) as pipeline:
        await pipeline.send(events)
    first = await database.journal.find_one({"_id": events[0].id})
    assert first is not None
    await database.outcomes.insert_one({"_id": events[0].origin, "eventId": events[0].id, "kind": "parked", "p": 0})
    await raise_counters(database, "orders", parked=1)
    assert (await verify(database)).differences == [f"{events[0].origin} ended as parked, stored as well"]


async def test_a_hole_in_the_journal_is_found(database: Database, settings: Settings) -> None:
    """Seeded bug: an event is gone from the journal."""
    events = await place(database, settings, "o1")
    async with running(database, settings) as pipeline:
        await pipeline.send(events)
    gone = await database.journal.find_one_and_delete({"_id": events[0].id})
    assert gone is not None
    differences = (await verify(database)).differences
    assert f"partition {gone['p']}: position" in "\n".join(differences)
    assert "orders: the counter of stored says 2, and there are 1" in differences


async def test_a_log_that_lags_is_compared_with_what_was_settled_when_it_looked(database: Database) -> None:
    """Commits went on after the log had looked: it knows of fewer, and the books agree all the same."""
    reader = LedgerReader(database)
    await raise_counters(database, "web", stored=50)
    await publish_log(database, sources=web(100, 50))
    assert (await reader.read(wait=True)).balanced
    await publish_log(database, sources=web(100, 50))
    await raise_counters(database, "web", stored=30)
    ledger = await reader.read(wait=True)
    assert ledger.balanced
    assert ledger.sources == {"web": Counts(acknowledged=100, pending=50, stored=50)}


async def test_a_log_that_missed_what_was_settled_before_it_looked_is_wrong(database: Database) -> None:
    """What was settled when the log looked and is pending for it nevertheless was settled twice, or not at all."""
    reader = LedgerReader(database)
    await raise_counters(database, "web", stored=60)
    await publish_log(database, sources=web(100, 40))
    assert (await reader.read(wait=True)).balanced
    await raise_counters(database, "web", stored=10)
    await reader.read()
    await publish_log(database, checkedAt=await server_time(database) + timedelta(seconds=1), sources=web(100, 40))
    assert not (await reader.read(wait=True)).balanced


async def test_more_settled_than_there_are_records_is_wrong(database: Database) -> None:
    """A log that believes something settled of which there is no record has lost it."""
    await raise_counters(database, "web", stored=40)
    await publish_log(database, sources=web(100, 50))
    assert not (await read(database)).balanced


async def test_a_log_that_never_looks_cannot_be_vouched_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last look was before our first reading, and stays so: after some patience the answer is no."""
    monkeypatch.setattr(ledger_module, "PATIENCE_SECONDS", 0.5)
    await raise_counters(database, "web", stored=70)
    await publish_log(database, sources=web(100, 50))
    ledger = await read(database)
    assert not ledger.balanced
    assert ledger.unreachable == []


async def test_a_silent_log_is_unreachable(database: Database) -> None:
    """Nobody speaks for a log: its last figures are shown, and no balance is claimed, though the sums agree."""
    long_ago = await server_time(database) - timedelta(minutes=1)
    await raise_counters(database, "web", stored=100)
    await publish_log(database, sources=web(100, 0), heartbeatAt=long_ago, checkedAt=long_ago, startedAt=long_ago)
    ledger = await read(database)
    assert (ledger.balanced, ledger.unreachable) == (False, ["log-1"])
    assert ledger.sources == {"web": Counts(acknowledged=100, stored=100)}


async def test_a_closed_log_is_done(database: Database) -> None:
    """A log that left in good order needs nobody to speak for it, however long ago."""
    long_ago = now() - timedelta(days=30)
    await raise_counters(database, "web", stored=100)
    said: dict[str, Any] = dict.fromkeys(("heartbeatAt", "checkedAt", "startedAt"), long_ago)
    await publish_log(database, **said, sources=web(100, 0), closed=True)
    ledger = await read(database)
    assert (ledger.balanced, ledger.unreachable) == (True, [])


async def test_orders_and_logs_of_one_source_are_one_account(database: Database, settings: Settings) -> None:
    """History that was imported as the source of record stands in the same books as the orders."""
    events = await place(database, settings, "o1")
    async with running(database, settings) as pipeline:
        await pipeline.send(events)
    await raise_counters(database, "orders", stored=10, duplicate=5)
    await publish_log(database, sources={"orders": {"acknowledged": 15, "pending": 0}}, closed=True)
    ledger = await read(database)
    assert ledger.balanced
    assert ledger.sources == {"orders": Counts(acknowledged=17, stored=12, duplicate=5)}


async def test_what_nobody_acknowledged_stands_beside_the_ledger(database: Database, settings: Settings) -> None:
    """Events that were published without a log are in the journal and in no column; the recount knows."""
    event = seal(PageView(visitor_id="v1"), now(), source="script")
    async with running(database, settings) as pipeline:
        await pipeline.send([msgspec.structs.replace(event, origin="d:1")])
    recount = await verify(database)
    assert recount.verified
    assert recount.ledger.sources == {}


async def test_counting_orders_rests_in_proportion(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again and again, the reader counts the orders only as often as their share allows."""
    counted: list[datetime] = []
    count = ledger_module._count_orders

    async def counting(of: Database) -> Any:
        counted.append(await server_time(of))
        return await count(of)

    monkeypatch.setattr(ledger_module, "_count_orders", counting)
    monkeypatch.setattr(ledger_module, "ORDERS_INTERVAL_SECONDS", 60.0)
    reader = LedgerReader(database)
    for _ in range(5):
        await reader.read()
    assert len(counted) == 1


async def test_a_worker_that_stands_still_in_the_middle_of_a_log_unbalances_nothing(
    database: Database, settings: Settings
) -> None:
    """A log knows what is settled also while the worker is between two of its marks, however long it stays there."""
    events = [seal(PageView(visitor_id="v1"), now(), source="web", number=number) for number in range(20)]
    intake = await Intake.open(database, settings.redis_url or "", settings.path / "wal")
    await intake.accept(events)
    partition = partition_of("default", "v1", settings.partitions)
    reader = StreamReader(settings.redis_url or "", partition)
    page = await reader.read(FIRST_ENTRY, count=20, block_seconds=0)
    await reader.close()
    documents = [to_document(event, partition, seq) for seq, event in enumerate(events[:10], 1)]
    await database.journal.insert_many(documents)
    await raise_counters(database, "web", partition, stored=10)
    position = {"n": 1, "seq": 10, "epoch": 1, "generation": page.generation, "entry": page.entries[9].id}
    await database.positions.update_one({"_id": partition}, {"$set": position}, upsert=True)
    ledger = await read(database)
    await intake.close(settle_seconds=0)
    assert ledger.balanced
    assert ledger.sources == {"web": Counts(acknowledged=20, stored=10, pending=10)}
