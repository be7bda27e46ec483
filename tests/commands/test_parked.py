"""`rushlight parked` on a database whose worker has parked some events: what it prints, what it does, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import click
import pytest
import pytest_asyncio

from rushlight.bus.appender import Appender
from rushlight.commands import NOT_WELL, parked
from rushlight.commands.parked import Misunderstood, drop, retry, show
from rushlight.events.catalogue import OrderPaid
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.conftest import Launch
from tests.engine.aside import columns, old_code, right
from tests.engine.audit import audit, eventually, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop

DEADLINE_SECONDS = 120.0
pytestmark = pytest.mark.timeout(300)
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


async def test_list_retry_and_drop(
    database: Database, settings: Settings, launch: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is parked is listed, what can be is stored, what cannot says why, and is dropped; then nothing is left."""
    shop, good, bad = await set_aside(database, settings)
    listed = (await run(settings, "list")).stdout
    assert "this code does not know it" in listed
    assert "\x1b" not in listed
    assert "\u202e" not in listed
    assert "[bold]" in listed
    # Nothing runs so far: the command brings a worker. The others find one.
    retried = await run(settings, "retry", "--all", code=3)
    assert f"{good}: 2 stored\n" in retried.stdout
    assert f"{bad}: 2 stay parked: payload.amount" in retried.stdout
    await asyncio.to_thread(launch(settings, "worker").ready)

    def said() -> str:
        return capsys.readouterr().out

    ours: dict[str, Any] = {"shop": "default", "as_json": False}
    await show(settings, shop="default", aggregate=bad, limit=9, as_json=True)
    queue = json.loads(said())["queue"]
    assert [(event["version"], event["attempts"]) for event in queue] == [(2, 1), (3, 0)]
    first = queue[0]["origin"]
    with pytest.raises(Misunderstood, match=f"nothing is parked of {good}"):
        await retry(settings, names=[good], everything=False, **ours)
    assert said() == ""
    with pytest.raises(Misunderstood, match=f"{first} is one event of {bad}: retry that, in its order"):
        await retry(settings, names=[first], everything=False, **ours)
    assert await drop(settings, names=[first], reason="below zero", **ours) == NOT_WELL
    assert said() == f"{first}: 1 dropped, 1 stays parked\n"
    assert await retry(settings, names=[bad, good], everything=False, **ours) == NOT_WELL
    assert tuple(capsys.readouterr()) == (f"{bad}: 1 stored\n", f"nothing is parked of {good}\n")
    assert await drop(settings, names=[HOSTILE], reason="no visitor", shop="default", as_json=True) == 0
    assert [answer["dropped"] for answer in json.loads(said())] == [1]
    await show(settings, shop="default", aggregate=None, limit=9, as_json=False)
    assert said() == "Nothing is parked.\n"

    assert await columns(database, "web") == {"dropped": 1}
    assert (await columns(database))["dropped"] == 1
    await right(database, shop.acknowledged)


async def test_a_list_for_programs(database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` holds what the API says, of one shop."""
    _, good, bad = await set_aside(database, settings)
    await show(settings, shop="default", aggregate=None, limit=9, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["events"], found["total"], found["unreadableTotal"]) == (5, 3, 0)
    assert {each["aggregateId"]: each["events"] for each in found["aggregates"]} == {good: 2, bad: 2, HOSTILE: 1}
    await show(settings, shop="other", aggregate=None, limit=9, as_json=True)
    assert json.loads(capsys.readouterr().out)["total"] == 0


async def test_nobody_works(
    database: Database,
    settings: Settings,
    launch: Launch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On an instance without a worker the command says so and ends with 3; a worker that comes does it."""
    shop, good, bad = await set_aside(database, settings)
    await asyncio.to_thread(launch(settings, "web").ready)
    monkeypatch.setattr(parked, "WORKER_SECONDS", 1.0)
    assert await retry(settings, names=[good], everything=False, shop="default", as_json=False) == NOT_WELL
    out, err = capsys.readouterr()
    assert out == f"{good}: nothing so far; not done yet\n"
    assert err.startswith("no worker is running, and only a worker can do this: start one with `rushlight worker`; 1 ")
    async with working(settings):
        await eventually(lambda: _is_free(database, good))
    assert await database.outcomes.count_documents({"aggregateId": bad}) == 2
    assert await audit(database, shop.acknowledged) == []


async def _is_free(database: Database, aggregate: str) -> bool:
    return not await database.outcomes.count_documents({"aggregateId": aggregate})


async def test_wrong_usage(settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing named, a reason that says nothing, and what is not parked."""
    del database
    assert "--reason" in (await run(settings, "drop", "o-1", code=2)).stderr
    with pytest.raises(click.UsageError, match="--all"):
        await retry(settings, names=[], everything=False, shop="default", as_json=False)
    with pytest.raises(click.UsageError, match="--reason"):
        await drop(settings, names=["o-1"], reason=" ", shop="default", as_json=False)
    assert "nothing is parked of o-1" in (await run(settings, "drop", "o-1", "--reason", "x", code=1)).stderr
    assert await retry(settings, names=[], everything=True, shop="default", as_json=False) == 0
    assert capsys.readouterr().out == "Nothing is parked.\n"
