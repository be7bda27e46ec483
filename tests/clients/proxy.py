"""Stands between a client and Rushlight and spoils some requests: refuses them, or loses or forges the answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

import aiohttp
from aiohttp import web

FAULTS = ("refused", "limited", "lost", "forged")
"""503 or 429 before it was delivered; the answer lost, or replaced by a 503, after it was."""
SHARE = 0.01
# Of a run that is too short for its share, each fault still spoils one of the first requests.
EARLY = 24
TAKEN = (200, 204)
CALL_SECONDS = 60.0
CORS = {"access-control-allow-origin": "*", "access-control-expose-headers": "retry-after"}
OWN = frozenset({"connection", "content-length", "transfer-encoding", "date", "server"})


def of_segment(body: Any) -> dict[str, dict[str, Any]]:
    """The messages of a request by their ids."""
    return {message["messageId"]: message for message in body.get("batch", [body])}


class Proxy:
    """An HTTP proxy in a thread of its own.

    Args:
        messages_in: what a request's JSON says, by what tells one message from another.

    Attributes:
        url: where clients send to. injected: how often each fault was. messages: what was sent, by message id.
        delivered: ids of messages whose sender was told so. resent: how many times a message came again.
    """

    def __init__(
        self, target: str, seed: int, messages_in: Callable[[Any], dict[str, dict[str, Any]]] = of_segment
    ) -> None:
        self.url = ""
        self.injected: Counter[str] = Counter()
        self.messages: dict[str, dict[str, Any]] = {}
        self.delivered: set[str] = set()
        self.resent = 0
        self._target = target
        self._messages_in = messages_in
        self._chance = random.Random(seed)
        self._planned = dict(zip(self._chance.sample(range(1, EARLY), len(FAULTS)), FAULTS, strict=True))
        self._requests = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(CALL_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(CALL_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._client = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._client.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault, ids = None, set[str]()
        if request.method == "POST":
            fault, ids = self._fault(), self._seen(body)
        if fault == "refused":
            return web.Response(status=503, headers=CORS)
        if fault == "limited":
            return web.Response(status=429, headers={**CORS, "retry-after": self._chance.choice("01")})
        answer = await self._forward(request, body)
        if fault == "lost" and request.transport is not None:
            request.transport.abort()
        if fault == "forged":
            return web.Response(status=503, headers=CORS)
        if answer.status in TAKEN and fault is None:
            self.delivered |= ids
        return answer

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in OWN}
        url = f"{self._target}{request.raw_path}"
        async with self._client.request(request.method, url, data=body, headers=headers) as answer:
            content = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in OWN}
            return web.Response(status=answer.status, body=content, headers=kept)

    def _fault(self) -> str | None:
        number, self._requests = self._requests, self._requests + 1
        fault = self._planned.get(number)
        if fault is None and self._chance.random() < SHARE:
            fault = self._chance.choice(FAULTS)
        if fault is not None:
            self.injected[fault] += 1
        return fault

    def _seen(self, body: bytes) -> set[str]:
        plain = json.loads(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)
        messages = self._messages_in(plain)
        self.resent += len(messages.keys() & self.messages.keys())
        self.messages |= messages
        return set(messages)
