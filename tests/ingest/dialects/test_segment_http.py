"""Segment's routes over HTTP: keys and packing wherever a client puts them, its status codes, a browser's questions."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest

from rushlight.events.envelope import Envelope
from rushlight.ingest.dialects.segment import PATHS
from rushlight.ingest.http import IngestApp
from rushlight.ingest.keys import Keyring, create
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.ingest.conftest import OpenIntake
from tests.ingest.making import in_streams, until

VIEW = {"event": "Product Viewed", "type": "track", "anonymousId": "a1", "messageId": "m1", "properties": {"sku": "t"}}


class Door(NamedTuple):
    """A client of the app, and its keys."""

    client: httpx.AsyncClient
    public: str
    secret: str


@pytest.fixture
async def door(open_intake: OpenIntake, database: Database) -> AsyncIterator[Door]:
    """The app on a log of the test's own."""
    app = IngestApp(await open_intake(cap_bytes=1 << 20), Keyring(database))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.example:8000") as client:
        yield Door(client, await create(database, "public"), await create(database, "secret"))


async def test_every_route_however_labelled(door: Door) -> None:
    """Basic, Bearer or a key in the body; JSON under any content type; gzip under any label: 200, and one event."""
    ways: list[dict[str, Any]] = []
    for path, kind in PATHS.items():
        message = VIEW | {"type": kind or "track", "userId": "u1", "groupId": "g1", "previousId": "a1"}
        content: dict[str, Any] = message if kind else {"batch": [message]}
        ways.append({"url": path, "content": json.dumps(content | {"writeKey": door.public}).encode()})
    body = json.dumps(VIEW).encode()
    ways += [
        {"url": "/v1/track", "content": body, "auth": (door.public, "")},
        {"url": "/v1/track", "content": body, "headers": {"authorization": f"Bearer {door.public}"}},
    ]
    labels: list[dict[str, str]] = [
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "text/plain", "content-encoding": "gzip"},
        {},
    ]
    ways += [
        {"url": "/v1/t", "content": gzip.compress(body), "auth": (door.public, ""), "headers": label}
        for label in labels
    ]
    for way in ways:
        answer = await door.client.post(**way)
        assert (answer.status_code, answer.json()) == (200, {"success": True, "accepted": 1, "rejected": []}), way
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_codes(door: Door) -> None:
    """400 for what is no JSON, 401 for no key, 413 for too much; whatever else is wrong with an event is a 200."""
    client, auth = door.client, (door.public, "")
    for content, status in ((b"{", 400), (json.dumps({"event": "x" * 70_000}).encode(), 413), (b"[]", 200)):
        assert (await client.post("/v1/track", content=content, auth=auth)).status_code == status
    assert (await client.post("/v1/batch", content=b"{}", auth=auth)).status_code == 400
    ways: list[dict[str, Any]] = [{}, {"auth": ("pk_nobody", "")}, {"auth": ("pk_nobody", "")}]
    for sent in ways:
        nobody = await client.post("/v1/track", json=VIEW, **sent)
        assert nobody.status_code == 401
        # There SDKs look for the reason; without it some take the refusal for a broken network.
        assert (nobody.json()["code"], nobody.json()["message"]) == ("key", nobody.json()["error"]["message"])
    assert (await client.post("/v1/track", json=VIEW | {"writeKey": "pk_nobody"})).status_code == 401
    assert (await client.get("/v1/track", auth=auth)).status_code == 405
    order = {"event": "Order Cancelled", "userId": "u1", "properties": {"order_id": "o1"}}
    answer = await client.post("/v1/track", json=order, auth=auth)
    assert answer.status_code == 200
    (rejection,) = answer.json()["rejected"]
    assert (rejection["field"], rejection["code"]) == ("event", "money_needs_secret_key")


async def test_a_browsers_questions(door: Door) -> None:
    """A preflight allows the key's header; the settings name this server as the browser calls it."""
    preflight = await door.client.options("/v1/t", headers={"access-control-request-headers": "authorization"})
    assert preflight.status_code == 204
    # The second is what it sends again with: without it no browser would.
    assert {"authorization", "x-retry-count"} <= set(preflight.headers["access-control-allow-headers"].split(", "))
    path = f"/v1/projects/{door.public}/settings"
    answer = await door.client.get(path)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
    here = answer.json()["integrations"]["Segment.io"]
    assert here == here | {"apiKey": door.public, "apiHost": "shop.example:8000/v1", "protocol": "http"}
    behind = await door.client.get(path, headers={"x-forwarded-proto": "https"})
    assert behind.json()["integrations"]["Segment.io"]["protocol"] == "https"
    assert (await door.client.get("/v1/projects/pk_nobody/settings")).status_code == 404
    assert (await door.client.post(path)).status_code == 405
    assert (await door.client.options(path)).status_code == 204


async def test_an_order_under_a_secret_key(door: Door, settings: Settings) -> None:
    """The money and the visitor's purchase are in the streams, a resend of it under the same ids."""
    properties = {"order_id": "o1", "currency": "EUR", "products": [{"sku": "t", "price": 3.99}]}
    message = VIEW | {"event": "Order Completed", "properties": properties}
    for path in ("/v1/track", "/v1/t"):
        answer = await door.client.post(path, json=message, auth=(door.secret, ""))
        assert answer.json()["accepted"] == 1
    envelopes: list[Envelope] = []

    async def delivered() -> bool:
        envelopes[:] = in_streams(settings.redis_url or "")
        return len(envelopes) == 4

    await until(delivered)
    assert sorted(envelope.name for envelope in envelopes) == ["order_created"] * 2 + ["purchase"] * 2
    assert len({envelope.id for envelope in envelopes}) == 2
