"""Every role says whether it can do its work, and why not: servers frozen, servers back, a log that fills."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from rushlight.ingest.keys import create
from rushlight.local.instance import Instance
from rushlight.local.process import spawn
from rushlight.settings import ENV_WHOLE, Settings
from rushlight.store.database import Database
from tests.conftest import Launch
from tests.engine.audit import eventually
from tests.ports import free_ports

ORDER = {"currency": "USD", "lines": [{"productId": "p", "quantity": 1, "unitPrice": "2.00"}]}


async def ready(url: str) -> tuple[int, dict[str, Any]]:
    """Status and body of ``/health/ready``; 0 when nobody answers."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/health/ready") as answer:
            return answer.status, json.loads(await answer.text())
    except aiohttp.ClientConnectionError:
        return 0, {}


def says(url: str, status: int, state: str, reason: str = "") -> Callable[[], Awaitable[bool]]:
    """Whether a role has come to say this."""

    async def asked() -> bool:
        found, body = await ready(url)
        return (found, body.get("status")) == (status, state) and reason in str(body.get("reasons"))

    return asked


@pytest.mark.timeout(240)
async def test_servers_that_hang(own_servers: Instance, launch: Launch, tmp_path: Path) -> None:
    """Redis away: degraded, and orders are taken; MongoDB away: unready; both back: ready, by themselves."""
    status = free_ports(2)
    settings = msgspec.structs.replace(
        own_servers.settings, data=str(tmp_path / "roles"), port=0, workers=2, status_port=status, lease_ttl_seconds=2.0
    )
    instance = launch(settings, "web", "worker", "orders").ready()
    board, orders, worker = instance.urls["board"], instance.urls["orders"], f"http://127.0.0.1:{status}"
    for url in (board, orders, worker, f"http://127.0.0.1:{status + 1}"):
        await eventually(says(url, 200, "ready"))
    own_servers.freeze("valkey")
    async with aiohttp.ClientSession() as session:

        async def placed_without() -> bool:
            async with session.post(f"{orders}/orders", json=ORDER) as answer:
                assert answer.status == 201
            return await says(orders, 200, "degraded", "Redis")()

        await eventually(says(board, 200, "degraded", "Redis"))
        await eventually(says(worker, 200, "degraded", "Redis"))
        await eventually(placed_without)
        own_servers.thaw("valkey")
        for url in (board, worker, orders):
            await eventually(says(url, 200, "ready"))
        own_servers.freeze("mongod")
        await eventually(says(board, 503, "unready", "MongoDB"))
        await eventually(says(orders, 503, "unready", "MongoDB"))
        await eventually(says(worker, 503, "unready", "leases"))
        for url in (board, orders, worker):
            async with session.get(f"{url}/health/live") as answer:
                assert answer.status == 200
        async with session.get(f"{board}/metrics") as answer:
            assert "rushlight_mongodb_up 0" in await answer.text()
        async with session.get(f"{worker}/metrics") as answer:
            assert answer.status == 404
        own_servers.thaw("mongod")
    for url in (board, orders, worker):
        await eventually(says(url, 200, "ready"))


async def test_a_log_that_fills(settings: Settings, launch: Launch) -> None:
    """With nobody to settle them events fill the log: first views are turned away, in the end it is unready."""
    instance = launch(msgspec.structs.replace(settings, workers=0, wal_bytes=1 << 20), "web").ready()
    board = instance.urls["board"]
    database = await Database.connect(settings, role="test")
    key = await create(database, "secret")
    await database.close()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/cloudevents-batch+json"}
    async with aiohttp.ClientSession() as session:
        number = 0

        async def refused(kind: str, **data: str) -> bool:
            nonlocal number
            number += 1
            batch = [
                {
                    "specversion": "1.0",
                    "id": f"m-{number}-{index}",
                    "source": "s",
                    "type": kind,
                    "subject": f"{kind}-{number}-{index}",
                    "data": data,
                }
                for index in range(60)
            ]
            async with session.post(f"{board}/events", json=batch, headers=headers) as answer:
                assert answer.status in {202, 503}
                return answer.status == 503

        await eventually(lambda: refused("search", searchTerm="s" * 200))
        await eventually(says(board, 200, "degraded", "log"))
        await eventually(lambda: refused("order_shipped", shipmentId="s" * 100))
        await eventually(says(board, 503, "unready", "ingest: the write-ahead log is full"))


async def test_a_relay(settings: Settings, tmp_path: Path) -> None:
    """A relay answers on its own port."""
    port = free_ports()
    relaying = msgspec.structs.replace(
        settings, orders_mongo_url=settings.mongo_url, relay_from=f"{settings.database}.shop", status_port=port
    )
    command = [sys.executable, "-P", "-m", "rushlight.app", "relay"]
    child = spawn("relay", command, log=tmp_path / "log", environment={ENV_WHOLE: relaying.to_json()})
    try:
        await eventually(says(f"http://127.0.0.1:{port}", 200, "ready"))
    finally:
        child.kill()
