"""The metrics of a whole instance: every name is there, the figures are right, and they stay few."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from pymongo import MongoClient

from rushlight.ingest.keys import create
from rushlight.metrics import CATALOGUE, Exposition, Histogram
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.conftest import Launch
from tests.engine.audit import eventually
from tests.operation.scrape import Scrape, documented, read

OPERATE = Path(__file__).resolve().parents[2] / "docs" / "operate.md"
ORDER = {"currency": "USD", "visitorId": "v-1", "lines": [{"productId": "p", "quantity": 1, "unitPrice": "2.00"}]}
# Nothing is refused in these tests, and neither a relay nor a process that only takes events in runs.
WITHOUT_SAMPLES = {
    "rushlight_rejected_events",
    "rushlight_ingest_turned_away_total",
    "rushlight_relay_waiting_events",
    "rushlight_relay_heartbeat_age_seconds",
    "rushlight_ingest_report_age_seconds",
    "rushlight_ingest_start_time_seconds",
    "rushlight_ingest_cpu_seconds_total",
    "rushlight_ingest_resident_memory_bytes",
    "rushlight_ingest_requests_total",
    "rushlight_ingest_passed_on_total",
}
EVENT = {"specversion": "1.0", "source": "shop", "type": "view_item", "subject": "v-1"}


async def scraped(session: aiohttp.ClientSession, url: str) -> Scrape:
    """One scrape."""
    async with session.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return read(await answer.text())


async def test_a_whole_instance(settings: Settings, launch: Launch) -> None:
    """Orders and events in, and their number, their commits, their requests and who did it are all there to be read."""
    instance = launch(msgspec.structs.replace(settings, workers=2), "web", "worker", "orders").ready()
    board, orders = instance.urls["board"], instance.urls["orders"]
    database = await Database.connect(settings, role="test")
    key = await create(database, "public")
    try:
        async with aiohttp.ClientSession() as session:
            for number in range(5):
                async with session.post(f"{orders}/orders", json=ORDER) as answer:
                    assert answer.status == 201
                headers = {"authorization": f"Bearer {key}", "content-type": "application/cloudevents+json"}
                event = {**EVENT, "id": f"m-{number}", "data": {"items": [{"productId": "p"}]}}
                async with session.post(f"{board}/events", json=event, headers=headers) as answer:
                    assert answer.status == 202
            async with session.post(f"{orders}/orders/none/pay", json={}) as answer:
                assert answer.status == 404

            scrapes: list[Scrape] = []

            async def all_told() -> bool:
                scrapes[:] = [await scraped(session, board), await scraped(session, orders)]
                return _is_told(scrapes[0], settings) and documented().keys() - _names(scrapes) == WITHOUT_SAMPLES

            await _leave_a_reaction(database)
            await eventually(all_told)
    finally:
        await database.close()
    web, shop = scrapes
    assert web.value("rushlight_http_requests_total", part="ingest", status="202") == 5
    assert shop.value("rushlight_http_requests_total", part="create", status="201") == 5
    assert shop.value("rushlight_http_requests_total", part="pay", status="404") == 1
    assert web.value("rushlight_reaction_pending_events", reaction="mail") == 15
    assert web.value("rushlight_reaction_handled_total", reaction="mail") == 2 * settings.partitions
    assert web.value("rushlight_reaction_held_aggregates", reaction="mail", state="parked") == 1
    assert web.value("rushlight_reaction_workers", reaction="mail") == 0
    assert {**web.kinds, **shop.kinds}.items() <= documented().items()
    assert key not in str(web)


def _is_told(web: Scrape, settings: Settings) -> bool:
    """Whether everything is settled, and at rest, in one scrape."""
    expected = {
        "rushlight_partition_events_total": 15,
        "rushlight_commit_events_total": 15,
        "rushlight_wal_pending_events": 0,
        "rushlight_outbox_orders": 0,
        "rushlight_reaction_pending_events": 15,
        "rushlight_partition_lag_events": 0,
        "rushlight_lease_held": settings.partitions,
        "rushlight_ledger_balanced": 1,
        "rushlight_mongodb_up": 1,
        "rushlight_redis_up": 1,
    }
    stored = web.total("rushlight_ledger_events", source="orders", column="stored")
    both = len(web.labels("rushlight_lease_owner", "worker")) == 2
    return both and stored == 10 and {name: web.total(name) for name in expected} == expected


def _names(scrapes: list[Scrape]) -> set[str]:
    return {name for scrape in scrapes for name in scrape.kinds}


async def _leave_a_reaction(database: Database) -> None:
    """The documents of one that ran a while ago, and that no worker has any more."""
    places = [
        {"_id": f"mail/{p:02d}", "name": "mail", "p": p, "seq": 0, "epoch": 1, "owner": None, "handled": 2}
        for p in range(8)
    ]
    await database.reactions.insert_many(places)
    await database.held.insert_one({"_id": "mail/00/default/A-1", "name": "mail", "p": 0, "state": "parked"})


async def test_behind_without_workers(settings: Settings, launch: Launch) -> None:
    """With nobody to commit, what waits is counted and its age grows; with MongoDB's databases gone from the answer,
    the process still tells of itself.
    """
    instance = launch(msgspec.structs.replace(settings, workers=0), "web", "orders").ready()
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.post(f"{instance.urls['orders']}/orders", json=ORDER) as answer:
                assert answer.status == 201

        async def waits() -> bool:
            web = await scraped(session, instance.urls["board"])
            lag = web.total("rushlight_partition_lag_events")
            ages = [v for (name, _), v in web.samples.items() if name == "rushlight_partition_lag_seconds"]
            return lag == 6 and max(ages) > 0 and web.total("rushlight_outbox_orders") >= 3

        await eventually(waits)
        shop = await scraped(session, instance.urls["orders"])
    assert shop.value("rushlight_orders_outbox") == 3


async def test_names_that_others_choose_are_few(settings: Settings, launch: Launch) -> None:
    """A thousand sources and logs make a hundred series at most, and a day-old worker none."""
    instance = launch(msgspec.structs.replace(settings, workers=0), "web").ready()
    with MongoClient[dict[str, Any]](settings.mongo_url, tz_aware=True) as client:
        now = client.admin.command("hello")["localTime"]
        database = client[settings.database]
        database.ledger.insert_many(
            {"_id": f"00/s{n}", "p": 0, "source": f"s{n}", "parked": 1, "new": True} for n in range(1000)
        )
        database.logs.insert_many({"_id": f"l{n}", "startedAt": now, "closed": False} for n in range(1000))
        database.reports.insert_one({"_id": "gone", "role": "worker", "label": "gone", "at": now.replace(year=2020)})
    async with aiohttp.ClientSession() as session:
        web = await scraped(session, instance.urls["board"])
    assert len(web.labels("rushlight_wal_bytes", "log")) <= 100
    assert len(web.labels("rushlight_ledger_events", "source")) == 100
    assert web.value("rushlight_parked_events", partition="0") == 1000
    assert ("rushlight_worker_report_age_seconds", (("worker", "gone"),)) not in web.samples


async def test_generations_that_are_behind(settings: Settings, launch: Launch) -> None:
    """Of each generation it is told how far it is behind the journal."""
    instance = launch(msgspec.structs.replace(settings, workers=0), "web").ready()
    with MongoClient[dict[str, Any]](settings.mongo_url, tz_aware=True) as client:
        position = {"epoch": 1, "n": 9, "seq": 50, "generation": "", "entry": "0-0"}
        client[settings.database].positions.insert_many(
            [{"_id": p, **position, "projections": {"money_1": 50, "money_2": 20}} for p in range(2)]
        )
    async with aiohttp.ClientSession() as session:
        web = await scraped(session, instance.urls["board"])
    assert web.value("rushlight_projection_behind_events", projection="money_1") == 0
    assert web.value("rushlight_projection_behind_events", projection="money_2") == 60


def test_the_text_format() -> None:
    """Labels are escaped, whole numbers are whole, buckets add up, and an unknown name is a mistake."""
    exposition = Exposition()
    exposition.add("rushlight_wal_bytes", 12.0, log='a"b\\c\nd', host="h")
    seconds = Histogram()
    for value in (0.0001, 0.001, 0.3, 99):
        seconds.observe(value)
    exposition.histogram("rushlight_commit_seconds", seconds, worker="w")
    text = exposition.text()
    assert 'rushlight_wal_bytes{log="a\\"b\\\\c\\nd",host="h"} 12\n' in text
    found = read(text)
    assert found.value("rushlight_commit_seconds_bucket", worker="w", le="0.001") == 2
    assert found.value("rushlight_commit_seconds_bucket", worker="w", le="+Inf") == 4
    with pytest.raises(KeyError):
        exposition.add("rushlight_unheard_of", 1)


def test_the_page_names_every_metric_and_no_other() -> None:
    """What docs/operate.md tells to watch exists, and what exists is told there."""
    text = OPERATE.read_text("utf-8")
    named = set(re.findall(r"\b(?:rushlight|process)_[a-z0-9_]+\b", text))
    families = {re.sub(r"_(bucket|sum|count)\Z", "", name) if name not in CATALOGUE else name for name in named}
    assert families == CATALOGUE.keys()
