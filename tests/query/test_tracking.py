"""``GET /api/v1/tracking`` and ``/rejected``: what was taken, repeated and turned away."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from rushlight.events.envelope import now
from rushlight.query.api import build
from rushlight.query.tracking import COUNTED, EVENTS
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.rejected import Sample, keep
from tests.query.eventually import eventually
from tests.query.world import client


def journalled(seq: int, name: str, shop: str = "default", **change: Any) -> dict[str, Any]:
    """An event of the first partition as the journal keeps it."""
    at = now() - timedelta(seconds=60 - seq)
    event = {"_id": f"{seq:032x}", "p": 0, "seq": seq, "eventName": name, "aggregateId": "v1", "visitorId": "v1"}
    stored = {"timestamp": at, "receivedAt": at, "schema": 1, "shop": shop, "source": "web", "origin": f"w:log:{seq}"}
    return {**event, **stored, "payload": {"items": [{"productId": "tea"}]}, **change}


async def test_the_last_events(database: Database, settings: Settings) -> None:
    """Taken, repeated and refused ones of this shop are told apart; what is old or another shop's is left out."""
    context = {"dialect": "segment", "library": "analytics.js/1", "key": "pk_abc", "original": "Added To Cart"}
    old = now() - timedelta(hours=1)
    await database.journal.insert_many(
        [
            journalled(1, "view_item", receivedAt=old),
            journalled(2, "view_item", shop="other"),
            journalled(3, "added_to_cart", context=context),
            journalled(4, "view_item"),
        ]
    )
    await database.positions.update_one({"_id": 0}, {"$set": {"seq": 4}}, upsert=True)
    repeat = {"_id": "w:log:9", "p": 0, "kind": "duplicate", "eventId": f"{4:032x}", "source": "web", "shop": "default"}
    await database.outcomes.insert_one(repeat | {"at": now() - timedelta(seconds=10)})
    refused = {"source": "web", "dialect": "ga4", "key": "pk_abc", "code": "missing", "field": "params.currency"}
    sample = Sample(shop="default", at=now(), reason="is required", sample='{"name":"purchase"}', **refused)
    await keep(database, [sample], {"default": {"web": {"missing": 3}}, "": {"unknown": {"key": 1}}})

    async with client(build(database, settings)) as http:

        async def told() -> bool:  # samples are there when a majority has them, which nobody waited for
            return len((await http.get("/api/v1/tracking")).json()["events"]) == 4

        await eventually(told)
        answer = (await http.get("/api/v1/tracking")).json()
        states = [(event["state"], event["name"]) for event in answer["events"]]
        assert states == [
            ("rejected", "purchase"),
            ("duplicate", "view_item"),
            ("accepted", "view_item"),
            ("accepted", "added_to_cart"),
        ]
        assert answer["events"][0]["reason"] == "is required"
        assert answer["events"][3]["original"] == "Added To Cart"
        assert answer["names"] == {"added_to_cart": 1, "view_item": 1}
        counted = datetime.fromisoformat(answer["present"]) - datetime.fromisoformat(answer["countedSince"])
        assert counted == COUNTED
        verdicts = {check["id"]: check["verdict"] for check in answer["checks"]}
        assert (verdicts["names"], verdicts["rejected"], verdicts["arriving"]) == ("bad", "bad", "good")
        rejected = (await http.get("/api/v1/rejected?limit=1")).json()
        assert (rejected["counts"], rejected["unknown"]) == ({"web": {"missing": 3}}, {"key": 1})
        assert [row["field"] for row in rejected["samples"]] == ["params.currency"]
        assert (await http.get("/api/v1/tracking?shop=Ä")).status_code == 400


async def test_more_events_than_are_looked_at(database: Database, settings: Settings) -> None:
    """The counts by name say from when on they are complete."""
    seconds = EVENTS + 50
    rows = [journalled(seq, "view_item") for seq in range(1, seconds + 1)]
    for row in rows:
        row["receivedAt"] = row["timestamp"] - timedelta(seconds=seconds)
    await database.journal.insert_many(rows)
    await database.positions.update_one({"_id": 0}, {"$set": {"seq": seconds}}, upsert=True)
    async with client(build(database, settings)) as http:
        answer = (await http.get("/api/v1/tracking")).json()
    present, since = (datetime.fromisoformat(answer[name]) for name in ("present", "countedSince"))
    assert answer["names"] == {"view_item": EVENTS}
    assert since == rows[-EVENTS]["receivedAt"] > present - COUNTED
