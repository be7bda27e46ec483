"""Rebuilds and upgrades with real processes: killed in the middle, and of two versions of the code side by side."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rushlight.bus.appender import Appender
from rushlight.engine.rebuild import rebuild
from rushlight.errors import Unavailable
from rushlight.events.envelope import Envelope
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.money import Money
from rushlight.projections.projection import Projection
from rushlight.projections.registry import projections_of
from rushlight.query.reader import ProjectionReader
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.generations import Generations, live_generations
from tests.engine.audit import audit, eventually, settled
from tests.engine.processes import Workers, workers
from tests.engine.shop import Shop
from tests.engine.test_generations import live_bytes, until_only_live

DEATHS = 3
COMMAND_SECONDS = 150.0

pytestmark = pytest.mark.timeout(400)

# A shop's own module, as it was and as it will be.
OLD_CODE = """
from rushlight import Projection


class Sales(Projection):
    name = "sales"
    events = frozenset({"order_created"})

    def fold(self, state, event):
        state.add(f"{event.shop}/{event.payload['currency']}", {"gross": event.payload["gross"]})
"""
NEW_CODE = OLD_CODE.replace('name = "sales"', 'name = "sales"\n    version = 2').replace(
    '{"gross": event.payload["gross"]}', '{"gross": event.payload["gross"], "orders": 1}'
)


@pytest.fixture
def brisk(settings: Settings) -> Settings:
    """Settings with short leases on a new database: what is killed here may write for some moments yet."""
    return msgspec.structs.replace(settings, lease_ttl_seconds=1.0)


@pytest.mark.parametrize("place", ["replay.committed", "commit.projections"])
async def test_workers_killed_in_the_middle_of_a_rebuild(
    database: Database, appender: Appender, brisk: Settings, tmp_path: Path, place: str
) -> None:
    """Workers die again and again at one step of a rebuild while orders go on: all of it is right, to the byte."""
    mortal = msgspec.structs.replace(
        brisk, failpoints=f"{place}=die@{9 if place.startswith('commit') else 3}", testing=True
    )
    shop = Shop(database, appender, seed=71)
    with workers(brisk, tmp_path / "log") as some:
        await shop.place(40)
        await shop.visit(80)
        await settled(database, shop.acknowledged)
        some.running.pop().kill()
        some.settings = mortal
        rebuilding = asyncio.create_task(rebuild(database, Money()))
        deaths = 0
        while deaths < DEATHS and not rebuilding.done():
            worker = some.start()
            while worker.code is None and not rebuilding.done():
                await shop.place(1)
                await shop.go_on(1)
                await asyncio.sleep(0.1)
            if worker.code is not None:
                some.running.remove(worker)
                deaths += 1
        assert deaths
        some.settings = brisk
        some.start()
        assert (await rebuilding).flipped
        await settled(database, shop.acknowledged)
        before = await live_bytes(database)
        assert (await rebuild(database, Behaviour())).flipped
        assert (await rebuild(database, Money())).generation == 3
        assert await live_bytes(database) == before
        await until_only_live(database)
    assert await audit(database, shop.acknowledged) == []


async def test_workers_killed_while_they_clean_up(
    database: Database, appender: Appender, brisk: Settings, tmp_path: Path
) -> None:
    """What a retired generation leaves behind goes, however often the worker that deletes it dies."""
    shop = Shop(database, appender, seed=72)
    await shop.place(30)
    mortal = msgspec.structs.replace(brisk, failpoints="replay.deleted=die@3 replay.deleting=die@5", testing=True)
    with workers(mortal, tmp_path / "log") as some:
        await settled(database, shop.acknowledged)
        assert await _until_rebuilt(database, some) >= 1
        await until_only_live(database)
    assert await audit(database, shop.acknowledged) == []


async def _until_rebuilt(database: Database, some: Workers) -> int:
    """Rebuild, and start each worker that dies anew; how many did."""
    rebuilding = asyncio.create_task(rebuild(database, Money()))
    deaths = 0
    while True:
        if some.running[0].code is not None:
            some.running.pop(0)
            some.start()
            deaths += 1
        if rebuilding.done() and rebuilding.result().flipped:
            known = await Generations(database).read()
            left = await database.positions.find_one({"projections.money_1": {"$exists": True}})
            if len(known.of("money")) == 1 and left is None and deaths:
                return deaths
        await asyncio.sleep(0.05)


def command(settings: Settings, *words: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """``rushlight rebuild …`` on the test's servers."""
    arguments = [sys.executable, "-m", "rushlight", "rebuild", *words, "--data", settings.data]
    arguments += ["--redis-url", settings.redis_url or "", "--mongo-url", settings.mongo_url or ""]
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**_environment(), "RUSHLIGHT_DATABASE": settings.database, **(environment or {})},
    )


def _environment() -> dict[str, str]:
    return dict(os.environ)


async def answer(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """What a command says in the end."""
    out, err = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
    assert process.returncode == code, err
    return out, err


async def test_the_command_killed_and_repeated(
    database: Database, appender: Appender, brisk: Settings, tmp_path: Path
) -> None:
    """Killed with -9 while it builds, the same command goes on; beside one that runs another is refused."""
    shop = Shop(database, appender, seed=73)
    with workers(brisk, tmp_path / "log") as some:
        await shop.place(30)
        await settled(database, shop.acknowledged)
        frozen = some.running[0]
        frozen.signal(signal.SIGSTOP)
        # The command's own worker would be done before anybody could kill it: it rests before the first step it takes.
        still = {"RUSHLIGHT_FAILPOINTS": "replay.read=pause:300", "RUSHLIGHT_TESTING": "true"}
        first = command(brisk, "money", environment=still)
        await eventually(lambda: _building(database, "money"))
        second = command(brisk, "money", environment=still)
        _, err = await answer(second, code=1)
        assert err.count("is rebuilding money already") == 1
        first.kill()
        await asyncio.to_thread(first.communicate)
        frozen.signal(signal.SIGCONT)
        out, _ = await answer(command(brisk, "money", "--json"))
        told = json.loads(out)
        assert (told["projection"], told["generation"], told["resumed"], told["flipped"]) == ("money", 2, True, True)
        out, _ = await answer(command(brisk, "behaviour", "--diff"))
        assert "the same bytes" in out
        out, _ = await answer(command(brisk, "behaviour", "--discard"))
        assert "No generation of behaviour" in out
        _, err = await answer(command(brisk, "behaviour", "--diff", "--discard"), code=2)
        assert "one of the two" in err
        # What was begun by code that is no longer there can be given up without it.
        await Generations(database).begin("gone", 1)
        out, _ = await answer(command(brisk, "gone", "--discard"))
        assert "Gave up generation 1 of gone" in out
        _, err = await answer(command(brisk, "gone", "--discard"), code=1)
        assert "there is no projection 'gone'" in err
        _, err = await answer(command(brisk, "nothing"), code=1)
        assert err.startswith("rushlight: there is no projection 'nothing'; there are behaviour, money")
        await until_only_live(database)
    assert await audit(database, shop.acknowledged) == []


async def _building(database: Database, name: str) -> bool:
    return (await Generations(database).read()).building(name) is not None


@pytest.fixture
def code(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Puts the shop's module on the path of processes that get this environment."""

    def write(text: str) -> dict[str, str]:
        place = tmp_path / f"code{len(list(tmp_path.glob('code*')))}"
        place.mkdir()
        (place / "shop_figures.py").write_text(text)
        return {"PYTHONPATH": f"{place}:{_environment().get('PYTHONPATH', '')}"}

    return write


async def test_two_versions_of_the_code_side_by_side(
    database: Database,
    appender: Appender,
    brisk: Settings,
    tmp_path: Path,
    code: Callable[[str], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rolling upgrade of a shop's own projection, and back, and forth again: readers see the old figures until the
    new ones are complete; older code leaves the newer generation behind and does not harm it.
    """
    own = msgspec.structs.replace(brisk, modules=("shop_figures",))
    old_code, new_code = code(OLD_CODE), code(NEW_CODE)
    shop = Shop(database, appender, seed=74)
    with (
        workers(own, tmp_path / "old", environment=old_code) as old,
        workers(own, tmp_path / "new", count=0, environment=new_code) as new,
    ):
        await _more(database, shop, 40)
        await eventually(lambda: _is_live(database, "sales", 1))
        assert await figures(brisk) == expected(shop.acknowledged, orders=False)
        new.start()
        await eventually(lambda: _some_partition_has(database, "sales_2"))
        await _more(database, shop, 20)
        assert await _is_live(database, "sales", 1)
        old.running[0].signal(signal.SIGTERM)
        assert await old.running.pop(0).wait() == 0
        await eventually(lambda: _is_live(database, "sales", 2))
        await eventually(lambda: _has_folded_all(database, "sales", 2))
        assert await figures(brisk) == expected(shop.acknowledged, orders=True)
        new.running.pop(0).kill()
        old.start()
        at_the_flip = await figures(brisk)
        await _more(database, shop, 10)
        assert await figures(brisk) == at_the_flip
        new.start()
        old.running.pop(0).kill()
        await eventually(lambda: _has_folded_all(database, "sales", 2))
        assert await figures(brisk) == expected(shop.acknowledged, orders=True)
        for some in (old, new):
            assert "Traceback" not in some.words()
    assert await audit(database, shop.acknowledged) == []


async def _more(database: Database, shop: Shop, orders: int) -> None:
    await shop.place(orders)
    await settled(database, shop.acknowledged)


async def _is_live(database: Database, name: str, number: int) -> bool:
    return (await live_generations(database)).get(name) == number


async def _has_folded_all(database: Database, name: str, number: int) -> bool:
    return all(folded == end for folded, end in (await Generations(database).progress(name, number)).values())


async def _some_partition_has(database: Database, key: str) -> bool:
    return await database.positions.find_one({f"projections.{key}": {"$gt": 0}}) is not None


async def figures(settings: Settings) -> dict[str, Any]:
    """The shop's own sales as a program reads them."""

    class Sales(Projection):
        name = "sales"

    async with await ProjectionReader.connect(settings.mongo_url or "", database=settings.database) as reader:
        page = await reader.read(Sales)
        return page.documents


def expected(acknowledged: list[Envelope], *, orders: bool) -> dict[str, Any]:
    """The same from what was acknowledged."""
    sums: dict[str, Counter[str]] = {}
    for event in acknowledged:
        if event.name == "order_created":
            of_currency = sums.setdefault(event.payload["currency"], Counter())
            of_currency["gross"] += event.payload["gross"]
            of_currency["orders"] += orders
    return {name: {field: n for field, n in of.items() if orders or field == "gross"} for name, of in sums.items()}


async def test_pages_and_a_projection_that_is_not_there_yet(
    database: Database, appender: Appender, brisk: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents come page by page, merged; before its first figures are complete a projection is not readable."""
    (tmp_path / "own_pages.py").write_text(OLD_CODE.replace("'currency'", "'orderId'"))
    monkeypatch.syspath_prepend(str(tmp_path))
    own = msgspec.structs.replace(brisk, modules=("own_pages",))
    sales = projections_of(own.modules)["sales"]
    async with await ProjectionReader.connect(brisk.mongo_url or "", database=brisk.database) as reader:
        with pytest.raises(Unavailable, match="being built"):
            await reader.read(sales)
        shop = Shop(database, appender, seed=75)
        with workers(
            own, tmp_path / "log", environment={"PYTHONPATH": f"{tmp_path}:{_environment().get('PYTHONPATH', '')}"}
        ):
            await _more(database, shop, 25)
            await eventually(lambda: _is_live(database, "sales", 1))
        pages, after = [], ""
        while True:
            page = await reader.read(sales, after=after, limit=7)
            pages.append(page.documents)
            if page.next is None:
                break
            after = page.next
        assert [len(each) for each in pages] == [7, 7, 7, 4]
        keys = [key for each in pages for key in each]
        assert keys == sorted(f"o-{n}" for n in range(25))
        assert list((await reader.read(sales, prefix="o-1")).documents) == sorted(
            k for k in keys if k.startswith("o-1")
        )
