"""Every role is stopped and started again in the middle of traffic: clients that try again see no failure at all."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from typing import Any

import aiohttp
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from rushlight.ingest.keys import create
from rushlight.local.instance import Instance
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.recount import verify
from tests.conftest import Launch
from tests.engine.audit import eventually

ORDER = {"currency": "USD", "visitorId": "v-1", "lines": [{"productId": "p", "quantity": 1, "unitPrice": "2.00"}]}
EVENT = {"specversion": "1.0", "source": "shop", "type": "view_item", "data": {"items": [{"productId": "p"}]}}
CLIENTS = 3


class Traffic:
    """Clients that send without a pause, and send again what got no answer, until they are told to stop."""

    def __init__(self, instance: Instance, key: str) -> None:
        self.statuses: Counter[int] = Counter()
        self.orders: list[str] = []
        self.events = 0
        self._urls = instance.urls
        self._key = key
        self._enough = asyncio.Event()

    async def run(self) -> None:
        """Send until `stop`."""
        async with aiohttp.ClientSession() as session:
            clients = [self._orders(session) for _ in range(CLIENTS)] + [self._events(session) for _ in range(CLIENTS)]
            await asyncio.gather(*clients)

    def stop(self) -> None:
        """What is on its way comes to its end."""
        self._enough.set()

    async def _orders(self, session: aiohttp.ClientSession) -> None:
        while not self._enough.is_set():
            headers = {"idempotency-key": uuid.uuid4().hex}
            answer = await self._insist(session, f"{self._urls['orders']}/orders", ORDER, headers)
            self.orders.append(answer["orderId"])

    async def _events(self, session: aiohttp.ClientSession) -> None:
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/cloudevents+json"}
        while not self._enough.is_set():
            event = {**EVENT, "id": uuid.uuid4().hex, "subject": f"v-{self.events % 7}"}
            await self._insist(session, f"{self._urls['board']}/events", event, headers)
            self.events += 1

    async def _insist(self, session: aiohttp.ClientSession, url: str, body: Any, headers: dict[str, str]) -> Any:
        while True:
            try:
                async with session.post(url, json=body, headers=headers) as answer:
                    self.statuses[answer.status] += 1
                    if answer.status < 300:
                        return await answer.json()
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                pass
            await asyncio.sleep(0.01)


@pytest.mark.timeout(240)
async def test_every_role_in_turn(settings: Settings, launch: Launch) -> None:
    """Stopped by SIGTERM and started again under load: no 5xx, and all that was acknowledged is stored once."""
    brisk = msgspec.structs.replace(settings, workers=2, lease_ttl_seconds=2.0)
    launched = launch(brisk, "web", "worker", "orders")
    instance = launched.ready()
    database = await Database.connect(settings, role="test")
    try:
        traffic = Traffic(instance, await create(database, "public"))
        running = asyncio.create_task(traffic.run())
        for child in ("worker-1", "orders", "web", "worker-2"):
            sent = sum(traffic.statuses.values())
            await eventually(lambda sent=sent: _more_than(traffic, sent + 20))  # type: ignore[misc]
            await instance.stop(child)
            await instance.start(child)
        sent = sum(traffic.statuses.values())
        await eventually(lambda: _more_than(traffic, sent + 50))
        traffic.stop()
        await running
        assert {status for status in traffic.statuses if status >= 300} == set(), traffic.statuses

        async def all_there() -> bool:
            stored = await database.journal.count_documents({"eventName": "order_created"})
            seen = await database.journal.count_documents({"eventName": "view_item"})
            return stored == len(traffic.orders) and seen == traffic.events

        await eventually(all_there)
        assert len(set(traffic.orders)) == len(traffic.orders) == await database.orders.count_documents({})
        recount = await verify(database)
        assert recount.differences == []
        assert recount.ledger.total.duplicate == 0
        assert launched.stop() == 0
    finally:
        await database.close()


async def _more_than(traffic: Traffic, count: int) -> bool:
    return sum(traffic.statuses.values()) > count


async def test_boards_are_let_go(settings: Settings, launch: Launch) -> None:
    """A stopped web closes sockets as one that is about to come back, and answers a poll that waits; it ends with 0."""
    instance = launch(msgspec.structs.replace(settings, workers=0), "web").ready()
    url = instance.urls["board"]
    async with aiohttp.ClientSession() as session:
        polling = f"{url}/socket.io/?EIO=4&transport=polling"
        async with session.get(polling) as answer:
            sid = json.loads((await answer.text())[1:])["sid"]
        poll = asyncio.create_task(_status_of_poll(session, f"{polling}&sid={sid}"))
        async with connect(f"ws{url.removeprefix('http')}/socket.io/?EIO=4&transport=websocket") as socket:
            await socket.recv()
            await socket.send("40/live,{}")
            await socket.recv()
            await instance.stop("web")
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(_last_of(socket), 60)
        assert await asyncio.wait_for(poll, 60) == 200
        await instance.start("web")
        async with session.get(f"{url}/health/ready") as answer:
            assert answer.status == 200
    log = (instance.settings.path / "log" / "web.log").read_text()
    assert "Traceback" not in log
    assert "graceful shutdown exceeded" not in log


async def _last_of(socket: ClientConnection) -> None:
    while True:
        await socket.recv()


async def _status_of_poll(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        await answer.read()
        return answer.status
