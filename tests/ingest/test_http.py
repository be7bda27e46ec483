"""POST /events answers every request with what happened to it, and a 2xx only when it is on disk."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from rushlight.ingest import asgi
from rushlight.ingest.dialects.cloudevents import BATCH, STRUCTURED
from rushlight.ingest.http import IngestApp
from rushlight.ingest.intake import Intake
from rushlight.ingest.keys import Keyring, create
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.ingest.conftest import OpenIntake
from tests.ingest.making import in_streams, until, working
from tests.ingest.test_wal import largest_file

LARGE = {"url": "u" * 2000, "referrer": "r" * 2000}
LOGIN = {"specversion": "1.0", "id": "m1", "source": "/shop", "type": "login", "subject": "v1"}


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: dict[str, str]
    body: Any


class Door:
    """The app with a public and a secret key."""

    def __init__(self, intake: Intake, keyring: Keyring, public: str, secret: str) -> None:
        self.intake = intake
        self.app = IngestApp(intake, keyring)
        self.public = public
        self.secret = secret

    async def send(
        self,
        body: Any,
        *,
        method: str = "POST",
        key: str | None = None,
        media_type: str = STRUCTURED,
        headers: Mapping[str, str] | None = None,
        parts: int = 1,
    ) -> Answer:
        """One request; ``parts`` cuts the body as a network does."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": media_type, "authorization": f"Bearer {key or self.public}", **(headers or {})}
        size = -(-len(raw) // parts) or 1
        pieces = [raw[start : start + size] for start in range(0, len(raw), size)] or [b""]
        messages = [
            {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1}
            for index, piece in enumerate(pieces)
        ]
        return await self.call(method, sent, messages)

    async def call(self, method: str, headers: Mapping[str, str], messages: list[dict[str, Any]]) -> Answer:
        """One request as the server hands it over."""
        scope = {
            "type": "http",
            "method": method,
            "path": "/events",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        }
        waiting = iter(messages)
        answered: list[Any] = []

        async def receive() -> dict[str, Any]:
            message = next(waiting, None)
            if message is None:
                await asyncio.Event().wait()
            return message or {}

        async def send(message: Any) -> None:
            answered.append(message)

        await self.app(scope, receive, send)
        if not answered:
            return Answer(0, {}, None)
        start, content = answered
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        assert found["access-control-allow-origin"] == "*"
        assert found["content-length"] == str(len(content["body"]))
        return Answer(start["status"], found, json.loads(content["body"]) if content["body"] else None)


@pytest.fixture
async def door(open_intake: OpenIntake, database: Database) -> Door:
    """The app on a log of the test's own."""
    public, secret = await create(database, "public"), await create(database, "secret")
    return Door(await open_intake(cap_bytes=1 << 20), Keyring(database), public, secret)


def event(number: int = 1, **change: Any) -> dict[str, Any]:
    """A good CloudEvent."""
    return LOGIN | {"id": f"m{number}"} | change


async def test_one_event(door: Door, settings: Settings, database: Database) -> None:
    """202 says that it is on disk; a worker stores it."""
    answer = await door.send(event())
    assert (answer.status, answer.body) == (202, {"accepted": 1, "rejected": []})
    assert door.intake.pending == 1
    async with working(settings):
        await door.intake.settled()
    row = await database.journal.find_one({})
    assert row is not None
    assert (row["eventName"], row["aggregateId"], row["source"], row["shop"]) == ("login", "v1", "web", "default")


async def test_a_batch_with_bad_events(door: Door, database: Database) -> None:
    """The good ones are accepted, each bad one is told what is wrong, and counted by its reason."""
    batch = [event(1), event(2, type="order_paid"), event(3, time="x"), event(4), event(5, type="order_created")]
    answer = await door.send(batch, media_type=BATCH)
    assert answer.status == 202
    assert answer.body["accepted"] == 2
    rejected = [(row["index"], row["field"], row["code"]) for row in answer.body["rejected"]]
    assert rejected == [
        (1, "type", "money_needs_secret_key"),
        (2, "time", "invalid"),
        (4, "type", "money_needs_secret_key"),
    ]
    assert all(row["reason"] for row in answer.body["rejected"])

    async def counted() -> bool:
        document = await database.logs.find_one({"_id": door.intake.log_id}) or {}
        return bool(document["rejected"] == {"web": {"money_needs_secret_key": 2, "invalid": 1}})

    await until(counted)


async def test_nothing_accepted_is_no_202(door: Door) -> None:
    """When all were turned away the answer says so, and is no promise."""
    answer = await door.send(event(type="order_paid"))
    assert (answer.status, answer.body["accepted"]) == (400, 0)
    assert (await door.send([], media_type=BATCH)).body == {"accepted": 0, "rejected": []}
    assert door.intake.pending == 0


async def test_keys(door: Door, database: Database) -> None:
    """A key is taken from Bearer, Basic or X-Write-Key; without one, or with a wrong one, it is 401."""
    basic = base64.b64encode(f"{door.public}:".encode()).decode()
    for headers in (
        {"authorization": f"bearer {door.public}"},
        {"authorization": f"Basic {basic}"},
        {"authorization": "", "x-write-key": door.public},
    ):
        assert (await door.send(event(), headers=headers)).status == 202
    for wrong in ("", "Bearer ", "Bearer pk_wrong", "Basic !", "Basic " + "é", f"Bearer {door.public}x", "Digest a"):
        answer = await door.send(event(), headers={"authorization": wrong})
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.body["error"]["code"] == "key"
    other = await create(database, "public", "north")
    assert (await door.send(event(9), key=other)).status == 202


async def test_only_secret_keys_report_money(door: Door, settings: Settings) -> None:
    """The same report with the secret key is accepted, and counted under its own source."""
    order = {"orderId": "o1", "currency": "EUR", "lines": [{"productId": "tea", "amount": "3.99"}]}
    assert (await door.send(event(type="order_created", data=order))).body["accepted"] == 0
    assert (await door.send(event(type="order_created", data=order), key=door.secret)).status == 202
    await until(lambda: _in_streams(settings, 1))
    (found,) = in_streams(settings.redis_url or "")
    assert (found.source, found.payload["total"]) == ("api", 399)


async def _in_streams(settings: Settings, count: int) -> bool:
    return len(in_streams(settings.redis_url or "")) >= count


async def test_gzip(door: Door) -> None:
    """Packed bodies are unpacked, whatever they are labelled; a bomb is refused before it is unpacked."""
    packed = gzip.compress(json.dumps(event()).encode())
    assert (await door.send(packed, headers={"content-encoding": "gzip"})).status == 202
    assert (await door.send(packed)).status == 202
    bomb = gzip.compress(bytes(100 << 20))
    assert (await door.send(bomb)).status == 413
    for broken in (packed[:-10], b"\x1f\x8b", b"\x1f\x8bnothing"):
        answer = await door.send(broken)
        assert (answer.status, answer.body["error"]["code"]) == (400, "gzip")


async def test_too_large(door: Door) -> None:
    """A megabyte is the most that one request may be, whether it says its length or not; a batch has 2,500 events."""
    body = b" " * ((1 << 20) + 1)
    for headers in ({}, {"content-length": str(len(body))}, {"content-length": "9" * 5000}):
        answer = await door.send(body, headers=headers, parts=7)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert (await door.send([{}] * 2501, media_type=BATCH)).status == 413
    assert (await door.send(event(), parts=5)).status == 202


async def test_slow_bodies_and_lost_clients(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come is given up; a client that goes away gets no answer and leaves nothing behind."""
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)
    headers = {"authorization": f"Bearer {door.public}", "content-type": STRUCTURED}
    begun: dict[str, Any] = {"type": "http.request", "body": b"{", "more_body": True}
    assert (await door.call("POST", headers, [begun])).status == 408
    assert (await door.call("POST", headers, [begun, {"type": "http.disconnect"}])).status == 0
    assert door.intake.pending == 0


async def test_preflight_and_methods(door: Door) -> None:
    """A page may ask, without a key; other methods are refused."""
    answer = await door.call("OPTIONS", {"origin": "https://shop.example"}, [])
    assert answer.status == 204
    assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    for method in ("GET", "PUT", "DELETE"):
        assert (await door.send(b"", method=method)).status == 405


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[1", 400),
        (b"nonsense", 400),
        (b"[" * 20_000, 400),
        (b"{}", 400),
        (b'{"id":1e400}', 400),
        (b'{"id":NaN}', 400),
        (b'{"id":"\xff"}', 400),
        (b'{"id":"\\ud800"}', 400),
        (json.dumps(LOGIN | {"time": "9999-12-31T23:59:59-23:59"}).encode(), 400),
        (json.dumps(LOGIN | {"type": "own", "data": {"a": 2**63}}).encode(), 400),
        (json.dumps(LOGIN | {"type": "$where", "data": {}}).encode(), 400),
        (json.dumps(LOGIN | {"subject": "\0"}).encode(), 400),
    ],
)
async def test_bad_input_is_never_our_error(door: Door, body: bytes, status: int) -> None:
    """Each is answered with what is wrong, and nothing of it is kept."""
    answer = await door.send(body, key=door.secret)
    assert answer.status == status
    assert answer.body.get("accepted", 0) == 0
    assert door.intake.pending == 0


async def test_media_types(door: Door) -> None:
    """What is in no known format is 415."""
    assert (await door.send(event(), media_type="application/xml")).status == 415
    assert (await door.send(event(), media_type="text/plain")).status == 202


async def test_no_room_is_503(door: Door) -> None:
    """A full log answers 503 with a time to come back; money still finds the room that is reserved for it."""
    number = 0
    while (answer := await door.send(event(number, type="page_view", data=LARGE))).status == 202:
        number += 1
    assert answer.status == 503
    assert 5 <= int(answer.headers["retry-after"]) <= 10
    assert answer.body["error"]["code"] == "unavailable"
    order = {"orderId": "o1", "currency": "EUR", "lines": [{"productId": "tea", "amount": "3.99"}]}
    assert (await door.send(event(type="order_created", data=order), key=door.secret)).status == 202


async def test_a_disk_that_refuses_is_503(door: Door) -> None:
    """Nothing is acknowledged that is not on disk; when the disk takes writes again so does the door."""
    with largest_file(50):
        answer = await door.send(event())
    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert door.intake.pending == 0
    assert (await door.send(event())).status == 202
