"""Keys and limits through the door: what a key may not do is told, so that also a page can read why."""

from __future__ import annotations

from typing import Any

import pytest

from rushlight.ingest import keys
from rushlight.ingest.admission import Admission
from rushlight.ingest.dialects.cloudevents import BATCH, CloudEvents
from rushlight.ingest.http import IngestApp
from rushlight.ingest.keys import Keyring, change, create
from rushlight.store.database import Database
from tests.ingest.conftest import OpenIntake
from tests.ingest.making import until
from tests.ingest.test_http import Answer, Door, event

ORDER = {"orderId": "o1", "currency": "EUR", "lines": [{"productId": "tea", "amount": "3.99"}]}


@pytest.fixture
async def door(open_intake: OpenIntake, database: Database) -> Door:
    """The app on a log of the test's own."""
    public, secret = await create(database, "public"), await create(database, "secret")
    return Door(await open_intake(), Keyring(database), public, secret)


async def test_where_a_key_may_be_used(door: Door, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public key by its origins, a secret one nowhere in a browser; both refusals are counted and say what to do."""
    bound = await create(database, "public", origins=["https://shop.example", "https://*.shop.example"])

    async def send(key: str, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await door.send(event(), key=key, headers=named)

    for origin in ("https://shop.example", "https://de.shop.example"):
        assert (await send(bound, origin=origin)).status == 202
        assert (await send(door.public, origin=origin)).status == 202
    assert (await send(door.public)).status == 202
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {}):
        refused = await send(bound, **headers)
        assert (refused.status, refused.body["error"]["code"]) == (403, "origin")
        assert headers.get("origin", "without an Origin") in refused.body["error"]["message"]
    assert (await send(door.secret)).status == 202
    assert (await send(door.secret, sec_fetch_mode="cors")).status == 202, "Node's fetch sends it too"
    for browser in ({"origin": "https://shop.example"}, {"sec_fetch_site": "cross-site"}):
        refused = await send(door.secret, **browser)
        assert (refused.status, refused.body["error"]["code"]) == (403, "secret_in_browser")
        assert "revoke it" in refused.body["error"]["message"]

    async def counted() -> bool:
        document = await database.logs.find_one({"_id": door.intake.log_id}) or {}
        return bool(document["rejected"] == {"web": {"origin": 3}, "api": {"secret_in_browser": 2}})

    await until(counted)
    monkeypatch.setattr(keys, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(keys, "STALE_SECONDS", 0.0)
    await change(database, bound, origins=[])
    assert (await send(bound)).status == 202


async def test_beyond_a_quota_and_beyond_the_limit(door: Door, database: Database) -> None:
    """429 and 503 say when to come again, before and after the body is decoded; the ledger counts both by class."""
    small = await create(database, "public", limit=2)
    many = [event(number) for number in range(60)]
    assert (await door.send(many, key=small, media_type=BATCH)).status == 202
    refused = await door.send(b"not even JSON", key=small)
    assert (refused.status, refused.body["error"]["code"]) == (429, "quota")
    assert int(refused.headers["retry-after"]) >= int(refused.headers["x-ratelimit-reset"]) >= 1
    assert refused.headers["x-ratelimit-limit"] == "2"
    assert "retry-after" in refused.headers["access-control-expose-headers"]
    assert (await door.send(event(4))).status == 202, "no other key is concerned"
    door.app = IngestApp(door.intake, Keyring(database), Admission(events_per_second=1))
    batch = [event(number, type="view_item", data={"items": [{"productId": "tea"}]}) for number in range(100)]
    assert (await door.send(batch, media_type=BATCH)).body["accepted"] == 100
    refused = await door.send(b"not even JSON")
    assert (refused.status, refused.body["error"]["code"], "retry-after" in refused.headers) == (503, "overload", True)
    order = event(type="order_created", data=ORDER)
    assert (await door.send(order, key=door.secret)).status == 202

    async def counted() -> bool:
        document = await database.logs.find_one({"_id": door.intake.log_id}) or {}
        return bool(document["rejected"] == {"web": {"quota_behaviour": 1, "overload_behaviour": 1}})

    await until(counted)


async def test_views_are_refused_unread(door: Door, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where views find no room a batch of them is turned away, and counted, by its events' names alone."""
    door.app = IngestApp(door.intake, Keyring(database), Admission(events_per_second=1))
    views = [event(number, type="view_item", data={"items": [{"productId": "tea"}]}) for number in range(50)]
    assert (await door.send(views, key=door.secret, media_type=BATCH)).status == 202
    decode = CloudEvents.decode
    monkeypatch.setattr(CloudEvents, "decode", None)
    refused = await door.send(views, key=door.secret, media_type=BATCH)
    assert (refused.status, refused.body["error"]["code"]) == (503, "overload")
    monkeypatch.setattr(CloudEvents, "decode", decode)
    order = event(type="order_created", data=ORDER)
    assert (await door.send([*views, order], key=door.secret, media_type=BATCH)).status == 202

    async def counted() -> bool:
        document = await database.logs.find_one({"_id": door.intake.log_id}) or {}
        return bool(document["rejected"] == {"api": {"overload_views": 50}})

    await until(counted)


async def test_an_upload_in_parts_is_counted(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies that come in parts may hold only so much memory together; a small one is not concerned."""
    monkeypatch.setattr("rushlight.ingest.admission.MAX_HELD_BYTES", 1000)
    large: dict[str, Any] = event(data={"page": "p" * 2000})
    refused = await door.send(large, parts=4)
    assert (refused.status, refused.body["error"]["code"]) == (503, "overload")
    assert (await door.send(large)).status == 202
    assert (await door.send(event(), parts=4)).status == 202
