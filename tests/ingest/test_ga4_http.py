"""The Measurement Protocol by a plain HTTP client: Google's answers, resends count once, checks store nothing."""

from __future__ import annotations

from typing import Any

import httpx

from rushlight.ingest.http import IngestApp
from rushlight.ingest.keys import Keyring, create
from rushlight.ingest.rejections import Rejections
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.rejected import KEPT, latest
from tests.ingest.conftest import OpenIntake
from tests.ingest.making import until, working

TEA = {"item_id": "tea", "item_name": "Tea", "price": 3.59, "discount": 0.4, "quantity": 3}
SOLD = {"transaction_id": "o1", "currency": "EUR", "value": 10.77, "tax": "2.05", "shipping": 4, "items": [TEA]}


def request(*events: dict[str, Any]) -> dict[str, Any]:
    """A body as a shop's server writes it."""
    return {"client_id": "v.1", "user_id": "c1", "events": list(events)}


async def test_orders_refunds_and_resends(open_intake: OpenIntake, database: Database, settings: Settings) -> None:
    """A purchase and a refund that are sent twice are one order, one purchase and one refund, to the cent."""
    intake, rejections = await open_intake(), Rejections(database)
    rejections.start()
    secret, public = await create(database, "secret"), await create(database, "public")
    app = IngestApp(intake, Keyring(database), rejections=rejections)
    sold, back = {"name": "purchase", "params": SOLD}, {"name": "refund", "params": {"transaction_id": "o1"}}
    seen = {"name": "view_item", "params": {"items": [TEA], "event_id": "e1"}}
    nameless = {"name": "view_item", "params": {"items": [{"quantity": 1}]}}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http:

        async def send(path: str, key: str, *events: dict[str, Any]) -> httpx.Response:
            parameters = {"measurement_id": "G-ABC1234567", "api_secret": key}
            return await http.post(path, params=parameters, json=request(*events))

        for _ in range(2):
            answer = await send("/mp/collect", secret, sold, seen, back)
            assert (answer.status_code, answer.content) == (204, b"")
        assert (await send("/mp/collect", public, sold)).status_code == 204
        partly = await send("/mp/collect", public, seen, nameless)
        assert (partly.status_code, partly.json()["accepted"]) == (200, 1)
        assert [row["field"] for row in partly.json()["rejected"]] == ["params.items[0].item_id"]
        checked = await send("/debug/mp/collect", secret, sold, nameless)
        assert [row["fieldPath"] for row in checked.json()["validationMessages"]] == [
            "events[1].params.items[0].item_id"
        ]
        assert (await send("/mp/collect", "AbCdEfGhIjKlMnOpQrStUv", sold)).status_code == 401
        assert (await http.post(f"/mp/collect?api_secret={secret}", content=b"{")).status_code == 400
    await rejections.stop()
    async with working(settings):
        await intake.settled()
    rows = await database.journal.find({}).sort("eventName").to_list()
    kinds = [(row["eventName"], row["source"]) for row in rows]
    assert sorted(kinds) == [
        ("order_created", "api"),
        ("order_refunded", "api"),
        ("purchase", "api"),
        ("purchase", "web"),
        ("view_item", "api"),
        ("view_item", "web"),
    ]
    order = next(row["payload"] for row in rows if row["eventName"] == "order_created")
    sums = tuple(order[name] for name in ("gross", "discounts", "tax", "shipping", "total"))
    assert sums == (1197, 120, 205, 400, 1682)
    assert await database.outcomes.count_documents({"kind": "duplicate"}) == 4

    async def noted() -> bool:
        counts, strangers, _ = await latest(database, "default", KEPT)
        return (counts, strangers) == ({"web": {"missing": 1}, "api": {"json": 1}}, {"unknown": {"key": 1}})

    await until(noted)
