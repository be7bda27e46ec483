"""`rushlight erase`: nothing that names the person stays anywhere, every figure stays, and a kill does no harm."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import click
import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from rushlight.bus.appender import Appender
from rushlight.commands import NOT_WELL
from rushlight.commands import erase as module
from rushlight.commands.erase import erase
from rushlight.engine.rebuild import rebuild
from rushlight.events.envelope import now
from rushlight.failpoints import EXIT_CODE
from rushlight.ingest.keys import create
from rushlight.local.instance import Instance
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.money import Money
from rushlight.settings import ENV_WHOLE, Settings
from rushlight.settings import Shop as Books
from rushlight.store.database import Database
from rushlight.store.recount import verify
from rushlight.store.subjects import Subjects
from tests.conftest import Launch
from tests.engine.aside import asked, old_code, right, wish
from tests.engine.audit import eventually, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop
from tests.engine.test_people import as_stored, bought, holding, person, told

MAIL, NAME, PHONE = "c4n4ry-mail@customers.example", "C4n4ry Lovelace", "+49 30 42c4n4ry"
CANARIES = (MAIL, NAME, PHONE)
CLOUD = "application/cloudevents+json"
DEADLINE_SECONDS = 120.0
pytestmark = pytest.mark.timeout(300)

# A command as the shell runs it, with the failpoints of its settings armed, as only a test does.
ARMED = """
import os, sys
from rushlight import failpoints
from rushlight.cli import main
from rushlight.settings import Settings
failpoints.arm(Settings.load())
main()
"""


@pytest_asyncio.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Opened for this test, with all collections and indexes."""
    opened = await Database.connect(settings, role="test")
    yield opened
    await opened.close()


def ga4(visitor: str, customer: str | None, *names: str, **user_data: str) -> dict[str, Any]:
    """A request of GA4's Measurement Protocol."""
    params = {"items": [{"item_id": "p-1", "price": 2.5, "quantity": 1}], "currency": "EUR"}
    body = {"client_id": visitor, "events": [{"name": name, "params": params} for name in names]}
    body |= {"user_id": customer} if customer else {}
    return body | ({"user_data": user_data} if user_data else {})


def order(number: int, customer: str, visitor: str) -> dict[str, Any]:
    """An order as a server reports it."""
    data = {"orderId": f"o-{number}", "currency": "EUR", "customerId": customer, "visitorId": visitor}
    lines = [{"productId": "p-1", "quantity": 1, "unitPrice": "2.50"}]
    event = {"specversion": "1.0", "id": f"m-{number}", "source": "shop", "type": "order_created"}
    return {**event, "data": data | {"lines": lines}}


def identify(visitor: str, customer: str, **traits: str) -> dict[str, Any]:
    """What Segment's SDKs say of who somebody is."""
    return {"anonymousId": visitor, "userId": customer, "messageId": f"i-{visitor}", "traits": traits}


async def send(board: str, key: str, *bodies: dict[str, Any]) -> None:
    """Send each of them; all are taken."""
    async with aiohttp.ClientSession() as session:
        for body in bodies:
            cloud = "specversion" in body
            url = f"{board}/events" if cloud else f"{board}/mp/collect?measurement_id=G-1&api_secret={key}"
            url = f"{board}/v1/identify" if "traits" in body else url
            headers = {"authorization": f"Bearer {key}"} | ({"content-type": CLOUD} if cloud else {})
            async with session.post(url, json=body, headers=headers) as answer:
                assert answer.status in (200, 202, 204), await answer.text()


async def figures(board: str) -> dict[str, Any]:
    """Everything that the API says of sales, funnel, products and the customer's value, but not who that is."""
    found = {}
    async with aiohttp.ClientSession() as session:
        for path in ("summary", "funnel", "products", "customers/ada", "customers/eve"):
            async with session.get(f"{board}/api/v1/{path}") as answer:
                body = await answer.json()
                assert answer.status == 200, body
                found[path] = {k: v for k, v in body.items() if k not in ("completeTo", "visitors", "firstSeen")}
    return found


async def seen_as(board: str, customer: str) -> list[str]:
    """The visitors that the API says a customer was."""
    async with aiohttp.ClientSession() as session, session.get(f"{board}/api/v1/customers/{customer}") as answer:
        visitors: list[str] = (await answer.json())["visitors"]
        return visitors


async def on_disk(settings: Settings, *directories: Path) -> list[str]:
    """Where a canary stands: collections, keys of Valkey, and files: write-ahead logs, programs' logs, Valkey's own."""
    database = await Database.connect(settings, role="search")
    try:
        found = [name for canary in CANARIES for name in await holding(database, canary)]
    finally:
        await database.close()
    async with Redis.from_url(settings.redis_url or "") as client:
        async for key in client.scan_iter():
            kind = await client.type(key)
            value = await client.xrange(key) if kind == b"stream" else await client.get(key)
            if any(canary in str(value) for canary in CANARIES):
                found.append(key.decode())
    for file in [file for directory in directories for file in directory.rglob("*") if file.is_file()]:
        with suppress(FileNotFoundError):  # it was replaced meanwhile
            words = file.read_bytes()
            found += [file.name for canary in CANARIES if canary.encode() in words]
    return sorted(set(found))


async def same(database: Database) -> None:
    """Rebuilt figures are the live ones, byte by byte, and the books are right."""
    for projection in (Money(), Behaviour()):
        comparison = (await rebuild(database, projection, look=True)).comparison
        assert comparison is not None
        assert (comparison.is_equal, comparison.documents > 0) == (True, True), comparison


async def test_no_trace_stays_and_no_figure_moves(
    database: Database,
    settings: Settings,
    launch: Launch,
    servers: Instance,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Sent through the front door: known to the subjects only, then to nobody; every figure is as it was."""
    settings = msgspec.structs.replace(settings, shops={"default": Books(source_of_record="api")})
    instance = await asyncio.to_thread(launch(settings, "web", "worker").ready)
    board, key = instance.urls["board"], await create(database, "secret")
    traits = {"email": MAIL, "name": NAME, "phone": PHONE}
    await send(board, key, ga4("v-1", None, "view_item", **traits), ga4("v-1", "ada", "add_to_cart", "login", **traits))
    await send(board, key, identify("v-4", "ada", **traits))
    await send(board, key, order(1, "ada", "v-1"), order(2, "eve", "v-2"), order(3, "ada", "v-3"))

    async def stored() -> bool:
        return await database.journal.count_documents({}) == 10

    await eventually(stored)
    for canary in CANARIES:
        assert await holding(database, canary) == ["subjects"]
    before = await figures(board)
    assert before["customers/ada"]["currencies"]["EUR"]["orders"] == 2
    assert await seen_as(board, "ada") == ["v-1", "v-3", "v-4"]

    ours: dict[str, Any] = {"yes": True, "listed": False, "shop": "default"}
    erasing = erase(settings, customer="ada", as_json=True, **ours)
    code, rebuilt = await asyncio.gather(erasing, rebuild(database, Behaviour(), look=True))
    assert (code, rebuilt.comparison and rebuilt.comparison.is_equal) == (0, True)
    done = json.loads(capsys.readouterr().out)
    counts = {name: done[name] for name in ("ids", "visitors", "behaviour", "money", "waiting", "trouble")}
    assert counts == {"ids": 1, "visitors": 3, "behaviour": 5, "money": 2, "waiting": 0, "trouble": ""}
    assert done["subjects"] >= 2

    async def gone() -> bool:
        return not await on_disk(settings, instance.settings.path, servers.settings.path / "valkey")

    await eventually(gone)
    assert await figures(board) == before
    assert await seen_as(board, "ada") == []
    await same(database)
    assert (await verify(database)).differences == []
    journal = await database.journal.find().to_list()
    seen = [d for d in journal if d["aggregateId"] in ("v-1", "v-3", "v-4")]
    assert "'ada'" not in repr(seen)
    assert "o-1" not in repr([{**d, "origin": ""} for d in seen])
    assert "v-1" not in repr([d for d in journal if d.get("customerId") == "ada"])
    assert (await Subjects(database, settings.partitions).person("default", "ada"))[1:] == ([], {}, {}, None)

    assert await erase(settings, customer="ada", as_json=False, **ours) == 0
    assert capsys.readouterr().out == "ada: nothing is held any more\n"
    await erase(settings, customer=None, yes=False, listed=True, shop="default", as_json=True)
    records = json.loads(capsys.readouterr().out)
    assert {record["kind"] for record in records} == {"c", "v"}
    assert all(record["done"] and "@" in record["by"] and "ada" not in record["id"] for record in records)

    # A new relation is one like any other.
    await send(board, key, order(4, "ada", "v-1"), ga4("v-1", "ada", "login", email="new@customers.example"))
    await eventually(lambda: _knows(database, "ada"))
    assert (await Subjects(database, settings.partitions).person("default", "ada")).visitors == ["v-1"]


async def _knows(database: Database, customer: str) -> bool:
    return "email" in await person(database, customer)


async def run(
    settings: Settings, *arguments: str, failpoints: str = "", code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run the command on the servers of the test, dying where it is told to."""
    environment = {"RUSHLIGHT_REDIS_URL": settings.redis_url or "", "RUSHLIGHT_MONGO_URL": settings.mongo_url or ""}
    environment |= {"RUSHLIGHT_DATABASE": settings.database}
    if failpoints:
        environment |= {"RUSHLIGHT_FAILPOINTS": failpoints, "RUSHLIGHT_TESTING": "true"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ARMED, "erase", *arguments, "--data", settings.data),
        env={**{k: v for k, v in os.environ.items() if k != ENV_WHOLE}, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        out, err = await process.communicate()
    done = subprocess.CompletedProcess(arguments, process.returncode or 0, out.decode(), err.decode())
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


async def test_killed_in_the_middle(database: Database, settings: Settings, launch: Launch) -> None:
    """Wherever it dies, running it again does the rest; parked and aliased parts go as well; others keep theirs."""
    appender = Appender(settings.redis_url or "")
    shop = Shop(database, appender, seed=71)
    events = [
        told(shop, "v-1", "ada", mail=MAIL),
        told(shop, "v-2", "former", name=NAME),
        shop.seen(
            "v-1", name="alias", payload={"visitorId": "v-1", "previousId": "former"}, customer_id="ada", source="api"
        ),
        bought("o-71", "ada", "v-3", phone=PHONE),
        told(shop, "v-9", "eve", mail="kept"),
    ]
    aside = [shop.seen("v-4", name="add_to_cart", customer_id="ada", personal={"mail": MAIL})]
    try:
        with old_code({"add_to_cart"}):
            for event in events[:2] + events[4:]:
                event.name = "view_item"
            async with working(settings):
                await shop.send([*events, *aside])
                await settled(database, [*events, *aside])
        assert await holding(database, MAIL) == ["subjects"]
        samples = [{"raw": f'{{"email": "{MAIL}"}}'}, {"raw": f"{NAME} of others", "shop": "default"}, {"raw": "kept"}]
        await database.rejected.insert_many([*samples, {"raw": "somebody else is former", "shop": "other"}])
        await asyncio.to_thread(launch(settings, "worker").ready)
        words = ("--customer", "former", "--yes")
        for name in ("erase.marked", "erase.journal", "erase.subjects"):
            await run(settings, *words, failpoints=f"{name}=die", code=EXIT_CODE)
            assert await database.erased.count_documents({"done": False}) > 0
        done = await run(settings, *words)
        assert done.stdout.startswith("former: erased, under 2 ids, with 3 visitors; received until ")
        for canary in CANARIES:
            assert await holding(database, canary) == []
        assert await database.rejected.count_documents({}) == 2
        assert await database.erased.count_documents({"done": False}) == 0
        assert await person(database, "eve") == {"mail": '"kept"'}
        held = await database.outcomes.find_one({"_id": aside[0].origin})
        assert held is not None
        assert "ada" not in held["event"]
        assert [answer.stored for answer in await asked(database, wish("v-4"))] == [1]
        assert await person(database, "ada") == {}
        assert "customerId" not in (await database.journal.find_one({"_id": aside[0].id}) or {})
        alias = await database.journal.find_one({"eventName": "alias"})
        assert alias is not None
        assert alias["payload"] == {"visitorId": "v-1", "previousId": "erased"}
        await same(database)
        assert (await verify(database)).differences == []
        assert "former" in (await run(settings, *words)).stdout
    finally:
        await appender.close()


async def test_what_is_still_on_its_way(
    database: Database,
    settings: Settings,
    launch: Launch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a worker the command says that something waits, and ends with 3; later it comes without the person."""
    appender = Appender(settings.redis_url or "")
    shop = Shop(database, appender, seed=72)
    visit, waiting = [told(shop, "v-5")], [told(shop, "v-1", "ada", mail=MAIL)]
    waiting[0].received_at = now()
    try:
        async with working(settings):
            await shop.send(visit)
            await settled(database, visit)
        await shop.send(waiting)
        await asyncio.to_thread(launch(settings, "web").ready)
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.5)
        ours: dict[str, Any] = {"customer": "ada", "yes": True, "listed": False, "shop": "default", "as_json": False}
        assert await erase(settings, **ours) == NOT_WELL
        assert "1 events of this person wait in the streams" in capsys.readouterr().err
        async with working(settings):
            await settled(database, waiting)
        assert await holding(database, MAIL) == []
        assert await erase(settings, **ours) == 0
        assert "1 entries taken out of the streams" in capsys.readouterr().out
        stored = await database.journal.find_one({"_id": waiting[0].id})
        assert stored is not None
        assert "customerId" not in stored
        waiting[0].customer_id = None
        await right(database, as_stored([*visit, *waiting]))
    finally:
        await appender.close()


async def test_wrong_usage(database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody named, two things at once, and a list of nobody."""
    del database
    for customer, listed in ((None, False), ("ada", True), ("", False)):
        with pytest.raises(click.UsageError, match="--customer"):
            await erase(settings, customer=customer, yes=True, listed=listed, shop="default", as_json=False)
    await erase(settings, customer=None, yes=False, listed=True, shop="default", as_json=False)
    assert capsys.readouterr().out == "Nobody was erased.\n"


async def test_nobody_to_ask(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody answers, nothing is erased, and how to go on is said."""
    for answer in ("", "n\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        with pytest.raises(click.ClickException, match="nothing was erased: answer y, or give --yes"):
            await erase(settings, customer="1042", yes=False, listed=False, shop="default", as_json=False)
        assert "cannot be undone" in capsys.readouterr().err
