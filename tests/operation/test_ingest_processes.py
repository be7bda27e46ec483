"""One port that several processes take events in on: everything is served at it, whichever process a caller meets."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
import redis
from pymongo import MongoClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from rushlight.errors import SetupError
from rushlight.ingest.keys import create, revoke
from rushlight.local import Instance, running
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.recount import verify
from tests.conftest import Launched
from tests.engine.audit import eventually
from tests.operation.scrape import read
from tests.operation.test_rolling import Traffic

EVENT = {"specversion": "1.0", "source": "shop", "type": "view_item", "data": {"items": [{"productId": "p"}]}}
CALLERS = 36  # so many that each of three processes has met some, but for about one time in a million
NAMES = ("web", "ingest-1", "ingest-2")


@pytest.fixture(scope="module")
def _running(servers: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    settings = Settings(
        data=str(tmp_path_factory.mktemp("several") / "data"),
        port=0,
        redis_url=servers.redis_url,
        mongo_url=servers.mongo_url,
        database=f"test_{uuid.uuid4().hex[:12]}",
        ingest_processes=2,
        orders=True,
    )
    with redis.Redis.from_url(servers.redis_url) as valkey:
        valkey.flushall()  # what tests before have left in the streams belongs to their databases
    launched = Launched(settings, ("web", "worker", "orders"))
    try:
        launched.ready()
        yield launched
        assert launched.stop() == 0
        assert not list(launched.settings.path.glob("run/*.sock"))
    finally:
        launched.end()
        with MongoClient[dict[str, Any]](servers.mongo_url) as client:
            client.drop_database(settings.database)


@pytest.fixture
def instance(_running: Launched) -> Instance:
    """The instance of this module, whole again after the test before."""
    return _running.ready()


@pytest.fixture
async def database(instance: Instance) -> AsyncIterator[Database]:
    """Its database."""
    connected = await Database.connect(instance.settings, role="test")
    yield connected
    await connected.close()


@asynccontextmanager
async def callers(count: int = CALLERS) -> AsyncIterator[list[aiohttp.ClientSession]]:
    """Clients with one connection each."""
    sessions = [aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) for _ in range(count)]
    try:
        yield sessions
    finally:
        await asyncio.gather(*(session.close() for session in sessions))


async def send(session: aiohttp.ClientSession, instance: Instance, key: str, count: int = 1) -> int:
    """The status of the answer to events of a visitor."""
    events = [{**EVENT, "id": uuid.uuid4().hex, "subject": f"v-{n % 7}"} for n in range(count)]
    headers = {"authorization": f"Bearer {key}", "content-type": "application/cloudevents-batch+json"}
    async with session.post(f"{instance.urls['board']}/events", json=events, headers=headers) as answer:
        await answer.read()
        return answer.status


async def look(session: aiohttp.ClientSession, instance: Instance, path: str) -> tuple[int, str]:
    """Status and text of an answer."""
    async with session.get(instance.urls["board"] + path) as answer:
        return answer.status, await answer.text()


def settled(database: Database) -> Callable[[], Awaitable[bool]]:
    """Whether everything has a terminal record and the ledger balances."""

    async def told() -> bool:
        recount = await verify(database)
        return not recount.differences and recount.ledger.balanced and recount.ledger.total.pending == 0

    return told


async def test_every_route_on_every_connection(instance: Instance, database: Database) -> None:
    """Events and everything else, in turn on connections that are kept: one address, whoever accepted."""
    assert set(NAMES) <= instance.children.keys()
    assert instance.urls.keys() == {"board", "orders"}
    key = await create(database, "public")
    before = {log["_id"] for log in await database.logs.find({"closed": False}).to_list()}
    assert len(before) == len(NAMES)
    paths = ["/", "/docs", "/health/live", "/api/v1/summary", "/metrics", f"/v1/projects/{key}/settings"]
    async with callers() as sessions:

        async def talk(session: aiohttp.ClientSession, turn: int) -> list[int]:
            told = []
            for path in paths[turn % len(paths) :] + paths[: turn % len(paths)]:
                told += [await send(session, instance, key), (await look(session, instance, path))[0]]
            return told

        told = await asyncio.gather(*(talk(session, turn) for turn, session in enumerate(sessions)))
        assert {status for each in told for status in each} == {202, 200}

    async def all_have_taken() -> bool:
        logs = await database.logs.find({"_id": {"$in": list(before)}}).to_list()
        taken = [sum(source["acknowledged"] for source in log["sources"].values()) for log in logs]
        return bool(min(taken) > 0) and sum(taken) == CALLERS * len(paths)

    await eventually(all_have_taken)
    await eventually(settled(database))


async def test_sockets_from_anywhere(instance: Instance) -> None:
    """A WebSocket of the board opens and lives on every connection, and one to an ingest path is refused."""
    url = f"ws{instance.urls['board'].removeprefix('http')}"

    async def hears() -> str:
        async with connect(f"{url}/socket.io/?EIO=4&transport=websocket") as socket:
            return str(await _greeted(socket))

    heard = await asyncio.gather(*(hears() for _ in range(CALLERS)))
    assert {text[:2] for text in heard} == {"40"}


async def _greeted(socket: ClientConnection) -> str | bytes:
    await socket.recv()
    await socket.send("40/live,{}")
    return await socket.recv()


async def test_all_are_told_of(instance: Instance, database: Database) -> None:
    """`/metrics` and `/health/ready` tell of each process; one that is away is a concern, no reason to route away."""
    key = await create(database, "public")
    async with callers(8) as sessions:
        assert {await send(session, instance, key) for session in sessions} == {202}

        async def reported() -> bool:
            shown = read((await look(sessions[0], instance, "/metrics"))[1])
            names = {name.rpartition("/")[2] for name in shown.labels("rushlight_ingest_report_age_seconds", "ingest")}
            memory = [v for (name, _), v in shown.samples.items() if name == "rushlight_ingest_resident_memory_bytes"]
            answered = shown.total("rushlight_ingest_requests_total", status="202")
            passed = shown.total("rushlight_ingest_passed_on_total")
            return names == {"ingest-1", "ingest-2"} and min(memory) > 1 << 20 and min(answered, passed) > 0

        await eventually(reported)

        async def says(status: str, reason: str) -> bool:
            code, text = await look(sessions[0], instance, "/health/ready")
            return code == 200 and json.loads(text)["status"] == status and reason in json.loads(text)["reason"]

        # A connection that web has already: a new one might wait for the one that is away.
        await eventually(lambda: says("ready", ""))
        await instance.stop("ingest-2")
        await eventually(lambda: says("degraded", "other processes: ingest-2: does not answer"))
        await instance.start("ingest-2")
        await eventually(lambda: says("ready", ""))


async def test_keys_in_all_of_them(instance: Instance, database: Database) -> None:
    """A new key is taken at once by each, and a revoked one by none of them after the time that is documented."""
    key = await create(database, "public")
    async with callers() as sessions:
        assert {await send(session, instance, key) for session in sessions} == {202}
        await revoke(database, key[:9])

        async def refused() -> bool:
            return {await send(session, instance, key) for session in sessions} == {401}

        await eventually(refused)


async def test_killed_one_after_another(instance: Instance, database: Database) -> None:
    """With traffic on the port each is killed and each is restarted in order: clients that try again see no failure,
    and everything that was acknowledged is stored once.
    """
    traffic = Traffic(instance, await create(database, "public"))
    await eventually(settled(database))
    seen = await database.journal.count_documents({"eventName": "view_item"})
    running_ = asyncio.create_task(traffic.run())
    url = f"ws{instance.urls['board'].removeprefix('http')}/socket.io/?EIO=4&transport=websocket"
    try:
        for name in ("ingest-1", "web"):
            former = instance.pid_of(name)
            async with connect(url) as socket:
                await _greeted(socket)
                await eventually(_more(traffic, 30))
                instance.kill(name)
                if name == "web":
                    with pytest.raises(ConnectionClosed):
                        await _listen(socket)
                await eventually(_again(instance, name, former))
        for name in ("ingest-2", "web"):
            await eventually(_more(traffic, 30))
            await instance.stop(name)
            await instance.start(name)
        await eventually(_more(traffic, 50))
    finally:
        traffic.stop()
        await running_
    assert {status for status in traffic.statuses if status >= 300} == set(), traffic.statuses

    async def all_there() -> bool:
        return await database.journal.count_documents({"eventName": "view_item"}) == seen + traffic.events

    await eventually(settled(database))
    await eventually(all_there)


async def _listen(socket: ClientConnection) -> None:
    while True:
        await socket.recv()


def _more(traffic: Traffic, count: int) -> Callable[[], Awaitable[bool]]:
    aim = traffic.events + count

    async def come() -> bool:
        return traffic.events > aim

    return come


def _again(instance: Instance, name: str, former: int) -> Callable[[], Awaitable[bool]]:
    async def come() -> bool:
        return instance.pid_of(name) != former

    return come


async def test_a_busy_port_is_one_sentence(instance: Instance, settings: Settings) -> None:
    """Ports are shared between the processes of one instance, and with nobody else."""
    for count in (0, 2):
        other = msgspec.structs.replace(settings, port=instance.settings.port, ingest_processes=count)
        with pytest.raises(SetupError, match=r"port \d+ on 127\.0\.0\.1 is in use by another program"):
            async with running(other, ("web",)):
                pass
