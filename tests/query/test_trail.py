"""The audit trail, page by page: every event once, each partition and aggregate in its own order."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from rushlight.events.catalogue import OrderPaid, OrderShipped, PageView
from rushlight.events.envelope import Envelope
from rushlight.events.event import Event
from rushlight.events.ids import event_id, partition_of
from rushlight.query import trail as trail_module
from rushlight.query.api import build
from rushlight.settings import Settings
from rushlight.store.database import Database, Document
from rushlight.store.journal import to_document
from tests.query.world import client, moment

START = moment("2026-11-27T10:00")
EVENTS = 300


def stored(number: int, chance: random.Random) -> Envelope:
    """An event of one of a few aggregates, received at about its turn."""
    choices: list[Event] = [
        OrderPaid(order_id=f"o{number % 7}", payment_id="p", currency="USD", amount=2**40),
        OrderShipped(order_id=f"o{number % 7}", shipment_id="s"),
        PageView(visitor_id=f"v{number % 5}"),
    ]
    at: datetime = START + timedelta(seconds=number + chance.randint(-3, 3))
    return chance.choice(choices).seal(
        id=event_id("default", "trusted", "test", str(number)),
        shop="default" if number % 10 else "other",
        source="test",
        origin=f"w:test:{number}",
        received_at=at,
    )


@pytest_asyncio.fixture
async def journal(database: Database, settings: Settings) -> list[Document]:
    """The journal's documents, in the order in which they were stored."""
    chance = random.Random(5)
    seqs = dict.fromkeys(range(settings.partitions), 0)
    documents = []
    for number in range(EVENTS):
        event = stored(number, chance)
        partition = partition_of(event.shop, event.aggregate_id, settings.partitions)
        seqs[partition] += 1
        documents.append(to_document(event, partition, seqs[partition]))
    await database.journal.insert_many(documents)
    for partition, seq in seqs.items():
        await database.positions.update_one({"_id": partition}, {"$set": {"seq": seq}}, upsert=True)
    return documents


@pytest_asyncio.fixture
async def http(database: Database, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API."""
    async with client(build(database, settings)) as opened:
        yield opened


async def pages(http: httpx.AsyncClient, query: str) -> list[list[Document]]:
    """All pages, following ``next`` to the end."""
    found: list[list[Document]] = []
    after = ""
    while True:
        answer = await http.get(f"/api/v1/events?{query}&after={after}")
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["events"])
        if (following := answer.json()["next"]) is None:
            return found
        after = following


def ids(documents: list[Document], **wanted: Any) -> set[str]:
    """Ids of the shop's documents that have these fields."""
    return {
        document["_id"]
        for document in documents
        if document["shop"] == "default" and all(document[name] == value for name, value in wanted.items())
    }


@pytest.mark.parametrize("limit", [1, 7, 500])
async def test_pages_hold_every_event_once(http: httpx.AsyncClient, journal: list[Document], limit: int) -> None:
    """Whatever the length of a page; only the shop's own; places ascend in each partition."""
    events = [event for page in await pages(http, f"limit={limit}") for event in page]
    assert len(events) == len(ids(journal))
    assert {event["id"] for event in events} == ids(journal)
    last: dict[int, int] = {}
    for event in events:
        assert last.get(event["p"], 0) < event["seq"]
        last[event["p"]] = event["seq"]


@pytest.mark.parametrize("limit", [2, 100])
async def test_an_aggregates_events_come_in_order(http: httpx.AsyncClient, journal: list[Document], limit: int) -> None:
    """Only its own, page by page."""
    events = [event for page in await pages(http, f"aggregate=o3&limit={limit}") for event in page]
    assert {event["id"] for event in events} == ids(journal, aggregateId="o3")
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)


async def test_rare_events_are_found_in_bounded_steps(
    http: httpx.AsyncClient, journal: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page looks through a bounded window, may be empty, and the pages together are complete."""
    monkeypatch.setattr(trail_module, "WINDOW_EVENTS", 3)
    found = await pages(http, "name=order_shipped&limit=500")
    assert len(found) > 5
    assert {event["id"] for page in found for event in page} == ids(journal, eventName="order_shipped")


async def test_the_cursor_goes_on_where_the_end_was(
    http: httpx.AsyncClient, database: Database, settings: Settings, journal: list[Document]
) -> None:
    """Asked again later with the last cursor, only what is new comes."""
    last = (await http.get("/api/v1/events?limit=500")).json()
    assert last["next"] is None
    nothing = (await http.get(f"/api/v1/events?after={last['cursor']}")).json()
    assert (nothing["events"], nothing["cursor"]) == ([], last["cursor"])
    event = stored(999, random.Random(1))
    partition = partition_of(event.shop, event.aggregate_id, settings.partitions)
    position = await database.positions.find_one_and_update({"_id": partition}, {"$inc": {"seq": 1}})
    assert position is not None
    await database.journal.insert_one(to_document(event, partition, position["seq"] + 1))
    new = (await http.get(f"/api/v1/events?after={last['cursor']}")).json()["events"]
    assert [each["id"] for each in new] == [event.id]


async def test_an_event_is_shown_as_the_journal_keeps_it(
    http: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    """The original names, amounts as decimal strings to the last cent, and nothing that is not there."""
    event = OrderPaid(order_id="o1", payment_id="p", currency="USD", amount=2**52).seal(
        id="a" * 32, shop="default", source="orders", origin="o:o1:1", received_at=START, version=1
    )
    partition = partition_of("default", "o1", settings.partitions)
    await database.journal.insert_one(to_document(event, partition, 1))
    await database.positions.update_one({"_id": partition}, {"$set": {"seq": 1}}, upsert=True)
    assert (await http.get("/api/v1/events")).json()["events"] == [
        {
            "id": "a" * 32,
            "eventName": "order_paid",
            "aggregateId": "o1",
            "payload": {"orderId": "o1", "paymentId": "p", "currency": "USD", "amount": "45035996273704.96"},
            "timestamp": "2026-11-27T10:00:00Z",
            "receivedAt": "2026-11-27T10:00:00Z",
            "shop": "default",
            "source": "orders",
            "origin": "o:o1:1",
            "schema": 1,
            "p": partition,
            "seq": 1,
            "version": 1,
        }
    ]
