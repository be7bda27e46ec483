"""Whatever becomes of a shared insert, each order has its own true result, and an own duplicate is success."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from rushlight.errors import RushlightError, Unavailable
from rushlight.local import binaries
from rushlight.local.process import spawn
from rushlight.orders import group_commit, service
from rushlight.orders.group_commit import GroupCommit
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.engine.wire import wire
from tests.orders.client import Shop, insisted, serving, with_deadline
from tests.ports import free_ports

START_SECONDS = 60.0
HASTY_SECONDS = 0.5
Client = MongoClient[dict[str, Any]]


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB that fails on request; its URL."""
    folder = tmp_path_factory.mktemp("failing")
    (folder / "db").mkdir()
    port = free_ports()
    command = [str(binaries.mongod()), "--dbpath", str(folder / "db"), "--port", str(port), "--bind_ip", "127.0.0.1"]
    command += ["--replSet", "failing", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
    command += ["--setParameter", "enableTestCommands=1", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    mongod = spawn("mongod", command, log=folder / "log")
    try:
        _initiate(port, folder)
        yield f"mongodb://127.0.0.1:{port}/?directConnection=true"
    finally:
        mongod.kill()


def _initiate(port: int, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
    for command in ({"replSetInitiate": {"_id": "failing", "members": members}}, {"hello": 1}):
        while True:
            try:
                with Client(port=port, directConnection=True, serverSelectionTimeoutMS=500) as client:
                    if client.admin.command(command).get("isWritablePrimary", "hello" not in command):
                        break
            except PyMongoError:
                pass
            assert time.monotonic() < deadline, (folder / "log").read_text(errors="replace")[-2000:]
            time.sleep(0.05)


@pytest.fixture
async def shop(failing: str, request: pytest.FixtureRequest, patient: None) -> AsyncIterator[Shop]:
    """An order service on the failing MongoDB, without Redis."""
    name = f"test_{abs(hash(request.node.name))}"
    async with serving(Settings(mongo_url=failing, database=name)) as running:
        yield running


@contextmanager
def fault(shop: Shop, times: int, **data: Any) -> Iterator[None]:
    """The next commands of these kinds fail that often."""
    with Client(shop.settings.mongo_url) as client:
        point = {"configureFailPoint": "failCommand"}
        client.admin.command({**point, "mode": {"times": times}, "data": {"failInternalCommands": False, **data}})
        try:
            yield
        finally:
            client.admin.command({**point, "mode": "off"})


STORED_BUT_FAILED = {"writeConcernError": {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "timed out"}}
CONNECTION_BREAKS = {"closeConnection": True}
NOT_PRIMARY = {"errorCode": 10107}


@pytest.mark.parametrize("how", [STORED_BUT_FAILED, CONNECTION_BREAKS, NOT_PRIMARY])
async def test_an_unknown_result_is_found_out(shop: Shop, how: dict[str, Any]) -> None:
    """Stored though reported as failed, or never stored: after the fault each order is there once and answered 201."""
    with fault(shop, 3, failCommands=["insert"], **how):
        answers = await asyncio.gather(*(shop.place(orderId=f"o{n}") for n in range(20)))
    assert {answer.status for answer in answers} == {201}
    assert not any(answer.replayed for answer in answers)
    assert len(shop.documents()) == 20


async def test_a_foreign_duplicate_is_told_from_ones_own(shop: Shop) -> None:
    """After an unknown result, an order that somebody else had placed under the id before is still a conflict."""
    await shop.place(orderId="taken", country="DE")
    with fault(shop, 2, failCommands=["insert"], **STORED_BUT_FAILED):
        answers = await asyncio.gather(shop.place(orderId="taken"), shop.place(orderId="new"))
    assert [answer.status for answer in answers] == [409, 201]
    assert shop.stored("taken")["country"] == "DE"


async def test_a_result_that_stays_unknown_says_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the deadline passes the answer is 503 with the code unknown_outcome; the key finds the order afterwards."""
    with_deadline(monkeypatch, HASTY_SECONDS)
    with fault(shop, 10**6, failCommands=["insert"], **STORED_BUT_FAILED):
        answer = await shop.place(key="k")
    assert (answer.status, answer.error["code"]) == (503, "unknown_outcome")
    again = await insisted(partial(shop.place, key="k"))
    assert (again.status, again.replayed, len(shop.documents())) == (201, True, 1)


@pytest.mark.parametrize("how", [STORED_BUT_FAILED, CONNECTION_BREAKS, NOT_PRIMARY])
async def test_an_unknown_change_is_done_once(shop: Shop, how: dict[str, Any]) -> None:
    """A refund without a key whose write had an unknown result is found by its own mark and not done twice."""
    order_id = await shop.paid()
    with fault(shop, 3, failCommands=["update"], **how):
        answer = await shop.post(f"/orders/{order_id}/refund", {"amount": "5.00"})
    assert (answer.status, answer.replayed) == (200, False), answer.body
    assert answer.json["refunded"] == "5.00"
    stored = shop.stored(order_id)
    assert (stored["refunded"], stored["emitted"]) == (500, 3)


async def test_what_nobody_hears_of_is_done_once(failing: str, settings: Settings) -> None:
    """Answers to inserts and updates that were done get lost, once and twice: each order is there once, paid once."""
    here = Settings(mongo_url=failing, database=settings.database)
    async with wire(failing) as between, serving(msgspec.structs.replace(here, mongo_url=between.url)) as shop:
        shop.settings = here  # the test looks past the wire
        for times in (1, 2):
            between.lose("insert", times)
            names = [f"o{times}-{n}" for n in range(20)]
            placed = (insisted(partial(shop.place, key=name, orderId=name)) for name in names)
            assert {answer.status for answer in await asyncio.gather(*placed)} == {201}
            for kind in ("pay", "refund"):
                between.lose("update", 1)
                done = await insisted(partial(shop.post, f"/orders/{names[0]}/{kind}", {}, key=kind))
                assert done.status == 200, done.body
        assert between.lost == 1 + 2 + 2 * 2
        stored = shop.documents()
        assert sorted(order["emitted"] for order in stored) == [1] * 38 + [3] * 2
        assert {(order["paid"], order["refunded"]) for order in stored} == {(0, 0), (2000, 2000)}


async def test_what_comes_late_is_done_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that are done after their answer was 503 are found by a repeat, or find that it was quicker."""
    with_deadline(monkeypatch, HASTY_SECONDS)
    slow = {"blockConnection": True, "blockTimeMS": 2500}
    with fault(shop, 1, failCommands=["insert"], **slow):
        late = await shop.place(key="k", orderId="o")
        again = await insisted(partial(shop.place, key="k", orderId="o"))
    assert (late.status, again.status, len(shop.documents())) == (503, 201, 1)
    with fault(shop, 1, failCommands=["update"], **slow):
        late = await shop.post("/orders/o/pay", key="p")
        again = await insisted(partial(shop.post, "/orders/o/pay", key="p"))
        assert (late.status, again.status) == (503, 200)
        refunded = await insisted(partial(shop.post, "/orders/o/refund", {"amount": "5.00"}, key="r"))
        assert refunded.status == 200
    stored = shop.stored("o")
    assert (stored["paid"], stored["refunded"], stored["emitted"], len(stored["operations"])) == (2000, 500, 3, 2)


async def test_an_order_that_cannot_be_stored_fails_alone(settings: Settings) -> None:
    """A document that BSON cannot hold does not take along those that share its insert."""
    database = await Database.connect_orders(settings, role="test")
    commit = GroupCommit(database.orders)
    documents: list[dict[str, Any]] = [{"_id": n, "value": n} for n in range(5)]
    documents[2]["value"] = object()
    results = await asyncio.gather(*(commit.submit(d, 10) for d in documents), return_exceptions=True)
    assert isinstance(results[2], RushlightError)
    assert [results[n] for n in (0, 1, 3, 4)] == [None] * 4
    assert await database.orders.count_documents({}) == 4
    await commit.close()
    await database.close()


async def test_too_many_changes_are_refused_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads and changes that wait for the database have their bound too, and nothing was done beyond it."""
    async with serving(settings) as shop:
        await shop.place(orderId="o")
        with monkeypatch.context() as patched:
            patched.setattr(service, "MAX_WAITING", 0)
            answers = [await shop.post("/orders/o/pay"), await shop.get("/orders/o")]
            assert [(answer.status, answer.error["code"]) for answer in answers] == [(503, "unavailable")] * 2
            assert {answer.headers["retry-after"] for answer in answers} <= {"1", "2"}
        assert (await shop.post("/orders/o/pay")).status == 200


async def test_a_full_queue_refuses_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound the queue takes nothing more, and what is in it is stored."""
    monkeypatch.setattr(group_commit, "MAX_QUEUED_ORDERS", 3)
    database = await Database.connect_orders(settings, role="test")
    commit = GroupCommit(database.orders)
    waiting = [commit.submit({"_id": n}, 10) for n in range(3)]
    with pytest.raises(Unavailable):
        commit.submit({"_id": 3}, 10)
    assert await asyncio.gather(*waiting) == [None] * 3
    assert await commit.submit({"_id": 3}, 10) is None
    existing = await commit.submit({"_id": 3, "request": {"nonce": "another"}}, 10)
    assert existing == {"_id": 3}
    await commit.close()
    await database.close()
