"""`rushlight parked` on a database whose worker has parked some events: what it prints, what it does, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest_asyncio

from rushlight.bus.appender import Appender
from rushlight.events.catalogue import OrderPaid
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.recount import verify
from tests.conftest import Launch
from tests.engine.aside import columns, old_code
from tests.engine.audit import audit, eventually, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop

DEADLINE_SECONDS = 120.0
HOSTILE = "\x1b[31mv-\u202e[bold]1"


@pytest_asyncio.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Opened for this test, with all collections and indexes."""
    opened = await Database.connect(settings, role="test")
    yield opened
    await opened.close()


async def set_aside(database: Database, settings: Settings) -> tuple[Shop, str, str]:
    """A shop with an order that can be retried, one that cannot, and a visitor with a name for terminals to obey."""
    appender = Appender(settings.redis_url or "")
    shop = Shop(database, appender, seed=51)
    good, bad = await shop.place(2)
    for name, amount in ((good, 1), (good, 2), (bad, -1), (bad, 3)):
        await shop.report(OrderPaid(order_id=name, payment_id=f"p{amount}", currency="EUR", amount=amount))
    await shop.send([shop.seen(HOSTILE, payload={"items": 1})])
    with old_code({"order_paid", "view_item", "add_to_cart"}):
        async with working(settings):
            await settled(database, shop.acknowledged)
    await appender.close()
    return shop, good, bad


async def run(settings: Settings, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `rushlight parked` on the servers of the test."""
    urls = {"RUSHLIGHT_REDIS_URL": settings.redis_url or "", "RUSHLIGHT_MONGO_URL": settings.mongo_url or ""}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rushlight", "parked", *arguments, "--data", settings.data),
        env={**os.environ, **urls, "RUSHLIGHT_DATABASE": settings.database},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        out, err = await process.communicate()
    done = subprocess.CompletedProcess(arguments, process.returncode or 0, out.decode(), err.decode())
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


async def test_list_retry_and_drop(database: Database, settings: Settings) -> None:
    """What is parked is listed, what can be is stored, what cannot says why, and is dropped; then nothing is left."""
    shop, good, bad = await set_aside(database, settings)
    listed = (await run(settings, "list")).stdout
    assert "this code does not know it" in listed
    assert "\x1b" not in listed
    assert "\u202e" not in listed
    assert "[bold]" in listed
    found = json.loads((await run(settings, "list", "--json")).stdout)
    assert (found["events"], found["total"], found["unreadableTotal"]) == (5, 3, 0)
    assert {each["aggregateId"]: each["events"] for each in found["aggregates"]} == {good: 2, bad: 2, HOSTILE: 1}
    assert json.loads((await run(settings, "list", "--json", "--shop", "other")).stdout)["total"] == 0

    retried = await run(settings, "retry", "--all", code=3)
    assert f"{good}: 2 stored\n" in retried.stdout
    assert f"{bad}: 2 stay parked: payload.amount" in retried.stdout
    queue = json.loads((await run(settings, "list", "--json", "--aggregate", bad)).stdout)["queue"]
    assert [(event["version"], event["attempts"]) for event in queue] == [(2, 1), (3, 0)]
    assert (await run(settings, "retry", good)).stdout == f"{good}: nothing is parked\n"

    refused = await run(settings, "retry", queue[0]["origin"], code=1)
    assert refused.stderr == f"rushlight: {queue[0]['origin']} is one event of {bad}: retry that, in its order\n"
    one = await run(settings, "drop", queue[0]["origin"], "--reason", "below zero", code=3)
    assert one.stdout == f"{queue[0]['origin']}: 1 dropped, 1 stays parked\n"
    assert (await run(settings, "retry", bad)).stdout == f"{bad}: 1 stored\n"
    rest = await run(settings, "drop", HOSTILE, "--reason", "no visitor", "--json")
    assert [answer["dropped"] for answer in json.loads(rest.stdout)] == [1]
    assert (await run(settings, "list")).stdout == "Nothing is parked.\n"

    assert await columns(database, "web") == {"dropped": 1}
    assert (await columns(database))["dropped"] == 1
    assert await audit(database, shop.acknowledged) == [f"versions of {bad}: [1, 3]"]
    assert (await verify(database)).differences == []


async def test_nobody_works(database: Database, settings: Settings, launch: Launch) -> None:
    """On an instance without a worker the command says so and ends with 3; a worker that comes does it."""
    shop, good, bad = await set_aside(database, settings)
    instance = launch(settings, "web")
    await asyncio.to_thread(instance.ready)
    done = await run(settings, "retry", good, code=3)
    assert done.stdout == f"{good}: nothing so far; not done yet\n"
    assert "no worker is running" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    async with working(settings):
        await eventually(lambda: _is_free(database, good))
    assert await database.outcomes.count_documents({"aggregateId": bad}) == 2
    assert await audit(database, shop.acknowledged) == []


async def _is_free(database: Database, aggregate: str) -> bool:
    return not await database.outcomes.count_documents({"aggregateId": aggregate})


async def test_wrong_usage(settings: Settings, database: Database) -> None:
    """Nothing named, a reason that says nothing, and what is not parked."""
    del database
    assert "--all" in (await run(settings, "retry", code=2)).stderr
    assert "--reason" in (await run(settings, "drop", "o-1", code=2)).stderr
    assert "--reason" in (await run(settings, "drop", "o-1", "--reason", " ", code=2)).stderr
    assert (await run(settings, "drop", "o-1", "--reason", "x")).stdout == "o-1: nothing is parked\n"
    assert (await run(settings, "retry", "--all")).stdout == "Nothing is parked.\n"
