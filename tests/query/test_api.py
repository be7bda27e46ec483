"""What goes wrong is told in one shape, and it is a 5xx only when a server that is needed is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

import httpx
import pytest
import pytest_asyncio

from rushlight.errors import Unavailable
from rushlight.local import Instance
from rushlight.query.api import build
from rushlight.query.figures import LEDGER_SECONDS, MAX_VIEWS, Figures
from rushlight.query.view import View
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.testing import Faults
from tests.query.eventually import eventually
from tests.query.world import client

Http = httpx.AsyncClient


@pytest_asyncio.fixture
async def http(database: Database, settings: Settings) -> AsyncIterator[Http]:
    """A client of the API over an empty shop."""
    async with client(build(database, settings)) as opened:
        yield opened


async def test_notices_need_a_secret_key(http: Http, database: Database) -> None:
    """A public key, a wrong one or none puts nothing on the board; a secret one does, on its own shop's."""
    keys = [("sk_right", "secret", "other"), ("pk_public", "public", "default")]
    await database.keys.insert_many(
        [{"_id": sha256(text.encode()).hexdigest(), "kind": kind, "shop": shop} for text, kind, shop in keys]
    )
    line = {"text": "Valkey is frozen", "kind": "fault"}
    for header in ({}, {"Authorization": "Bearer sk_wrong"}, {"Authorization": "Bearer pk_public"}):
        refused = await http.post("/api/v1/notices", json=line, headers=header)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
    posted = await http.post("/api/v1/notices", json=line, headers={"Authorization": "Bearer sk_right"})
    assert posted.status_code == 201
    assert (await http.get("/api/v1/notices?shop=other")).json()["notices"] == [posted.json()]
    assert (await http.get("/api/v1/notices")).json()["notices"] == []


BODIES = ["", "{", "[]", "null", "7", '{"text":1}', '{"text":""}', '{"text":"x","kind":"y"}', "[" * 9000, "x" * 40_000]


async def test_no_body_breaks_the_notices(http: Http, database: Database) -> None:
    """A malformed or oversized notice is refused."""
    await database.keys.insert_one({"_id": sha256(b"sk_right").hexdigest(), "kind": "secret", "shop": "default"})
    headers = {"Authorization": "Bearer sk_right", "Content-Type": "application/json"}
    for body in BODIES:
        answer = await http.post("/api/v1/notices", content=body, headers=headers)
        assert answer.status_code in (400, 413), (body, answer.text)
        assert answer.json()["error"]["message"]


async def test_an_unexpected_failure_tells_nothing(
    http: Http, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug is a 500 whose body holds no internals; the log has them."""
    monkeypatch.setattr("rushlight.query.routes.summary", None)
    answer = await http.get("/api/v1/summary")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "TypeError" not in answer.text
    assert "TypeError" in caplog.text


async def test_health(http: Http, database: Database, settings: Settings) -> None:
    """Live while the process answers, ready while all its parts do."""
    assert (await http.get("/health/live")).json()["status"] == "live"
    assert (await http.get("/health/ready")).status_code == 200
    assert (await http.head("/health/ready")).status_code == 200

    async def full() -> str:
        return "the write-ahead log is full"

    async with client(build(database, settings, checks={"ingest": full})) as other:
        answer = await other.get("/health/ready")
    assert (answer.status_code, answer.json()) == (
        503,
        {
            "status": "unready",
            "reason": "ingest: the write-ahead log is full",
            "reasons": ["ingest: the write-ahead log is full"],
        },
    )
    async with client(build(database, settings, concerns={"ingest": full})) as other:
        answer = await other.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


async def test_without_mongodb_it_is_unavailable(settings: Settings, database: Database) -> None:
    """Nobody answers where MongoDB should be: 503, when to come again, and not ready."""
    away = await Database.connect(settings, role="test")
    await away.close()
    async with client(build(away, settings)) as http:
        for path in ("api/v1/summary", "api/v1/ledger", "api/v1/events"):
            answer = await http.get(f"/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
            assert answer.headers["retry-after"] in ("1", "2")
        assert (await http.get("/health/ready")).status_code == 503
        assert (await http.get("/health/live")).status_code == 200


async def test_a_frozen_mongodb_holds_nobody_up(own_servers: Instance) -> None:
    """Whoever asks while MongoDB stands still is told so by the deadline; none waits for another's longer one."""
    settings = own_servers.settings
    database = await Database.connect(settings, role="test")
    async with client(build(database, settings)) as http:
        with Faults(own_servers).frozen("mongod"):
            async with asyncio.timeout(LEDGER_SECONDS / 2):
                answers = await asyncio.gather(
                    *(http.get(f"/api/v1/{path}") for path in ("ledger", "summary", "parked"))
                )
    await database.close()
    assert [answer.status_code for answer in answers] == [503, 503, 503]


async def test_a_query_that_takes_too_long_is_given_up(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline is told, and what to do."""
    monkeypatch.setattr("rushlight.query.routes.PRODUCTS_SECONDS", 0.001)
    answer = await http.get("/api/v1/products")
    assert answer.status_code == 503
    assert "ask for less" in answer.json()["error"]["message"]


async def test_only_so_many_queries_run_at_once(database: Database, settings: Settings) -> None:
    """Whoever finds no free place within the deadline is told to come again; other lanes are not held up."""
    figures = Figures(database, settings)
    release = asyncio.Event()

    async def long(_: View) -> None:
        await release.wait()

    async def short(_: View) -> str:
        return "done"

    busy = [asyncio.create_task(figures.read("default", long, lane="long")) for _ in range(MAX_VIEWS["long"])]
    await eventually(figures._slots["long"].locked)
    with pytest.raises(Unavailable, match="took longer"):
        await figures.read("default", short, lane="long", seconds=0.2)
    assert await figures.read("default", short) == "done"
    assert await figures.read("default", short, lane="live") == "done"
    release.set()
    await asyncio.gather(*busy)
