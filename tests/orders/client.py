"""The order service as its callers meet it: a real server on a loopback port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
import uvicorn
from pymongo import MongoClient

from rushlight.orders import group_commit, service
from rushlight.orders.app import build
from rushlight.serving.connection import connections
from rushlight.settings import Settings

START_SECONDS = 60.0
INSIST_SECONDS = 60.0
JSON = "application/json"


class Reply(NamedTuple):
    """An answer: status, body as sent, headers."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """The body decoded."""
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The ``error`` of a refusal."""
        found: dict[str, Any] = self.json["error"]
        return found

    @property
    def replayed(self) -> bool:
        """Whether the answer is that of an earlier request."""
        return self.headers.get("idempotent-replay") == "true"


class Shop:
    """Sends requests to one order service and looks into its database."""

    def __init__(self, url: str, session: aiohttp.ClientSession, settings: Settings) -> None:
        self.url = url
        self.session = session
        self.settings = settings

    async def send(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
        """One request, byte for byte."""
        async with self.session.request(method, self.url + path, data=body or None, headers=headers) as answer:
            return Reply(answer.status, await answer.read(), {k.lower(): v for k, v in answer.headers.items()})

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> Reply:
        """POST a JSON body (None: an empty one), with an ``Idempotency-Key`` when one is given."""
        headers = {"Content-Type": JSON} | ({"Idempotency-Key": key} if key else {})
        return await self.send("POST", path, b"" if body is None else msgspec.json.encode(body), headers)

    async def place(self, key: str | None = None, **fields: Any) -> Reply:
        """Place an order; by default two pieces of one product at 10.00 USD."""
        return await self.post("/orders", order(**fields), key=key)

    async def paid(self, **fields: Any) -> str:
        """Place and pay an order; its id."""
        order_id: str = (await self.place(**fields)).json["orderId"]
        assert (await self.post(f"/orders/{order_id}/pay")).status == 200
        return order_id

    async def get(self, path: str) -> Reply:
        """GET."""
        return await self.send("GET", path)

    def stored(self, order_id: str) -> dict[str, Any]:
        """The order's document."""
        found = self.documents({"_id": order_id})
        assert len(found) == 1
        return found[0]

    def documents(self, match: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The documents of the orders."""
        with MongoClient[dict[str, Any]](self.settings.mongo_url, tz_aware=True) as client:
            return list(client[self.settings.database]["orders"].find(match or {}))

    def insert(self, document: dict[str, Any]) -> None:
        """Put a document beside the service's own."""
        with MongoClient[dict[str, Any]](self.settings.mongo_url) as client:
            client[self.settings.database]["orders"].insert_one(document)

    def events(self, order_id: str) -> list[dict[str, Any]]:
        """The envelopes in an order's outbox, by number."""
        return [msgspec.json.decode(entry["e"]) for entry in self.stored(order_id)["outbox"]]


async def insisted(ask: Callable[[], Awaitable[Reply]], seconds: float = INSIST_SECONDS) -> Reply:
    """Ask again while the answer is 503, as a client with an idempotency key does; the first other answer.

    Raises:
        TimeoutError: it stayed so.
    """
    async with asyncio.timeout(seconds):
        while (answer := await ask()).status == 503:
            assert float(answer.headers["retry-after"]) > 0
            await asyncio.sleep(0.1)
    return answer


def with_deadline(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let order services in this process answer within so many seconds, whatever became of the request."""
    for module in (group_commit, service):
        patch.setattr(module, "DEADLINE_SECONDS", seconds)


def order(**fields: Any) -> dict[str, Any]:
    """The body of an order, with these fields instead of the usual ones."""
    usual = {"currency": "USD", "lines": [{"productId": "p1", "quantity": 2, "unitPrice": "10.00"}]}
    return usual | fields


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Shop]:
    """Run an order service for as long as the block lasts."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        build(settings),
        loop="none",
        http=connections(lambda: None),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with asyncio.timeout(START_SECONDS):
            while not server.started:
                if task.done():
                    await task
                    raise RuntimeError("the order service did not start")
                await asyncio.sleep(0.01)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Shop(f"http://127.0.0.1:{listening.getsockname()[1]}", session, settings)
    finally:
        server.should_exit = True
        await task
        listening.close()
