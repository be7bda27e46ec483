"""One port for ingest, query API and live board: each path goes to the part that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec

from rushlight.errors import RushlightError
from rushlight.ingest.adopter import Adopter
from rushlight.ingest.http import IngestApp
from rushlight.ingest.intake import Intake
from rushlight.ingest.keys import Keyring
from rushlight.live.board import Board
from rushlight.live.gateway import Gateway
from rushlight.query.api import build as build_api
from rushlight.query.figures import Figures
from rushlight.settings import Settings
from rushlight.store.database import Database

INGEST, LIVE = "ingest", "live"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
API_PATHS = ("/api/", "/docs", "/health/")

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def build(settings: Settings, parts: Collection[str] = (INGEST, LIVE)) -> Web:
    """The application; its lifespan connects and closes.

    Args:
        parts: ``ingest`` takes events in, ``live`` serves board and query API.
    """
    return Web(settings, parts)


class Web:
    """The ASGI application."""

    def __init__(self, settings: Settings, parts: Collection[str]) -> None:
        self._settings = settings
        self._parts = parts
        self._hosts = LOOPBACK_HOSTS | set(settings.hosts)
        self._apps: dict[str, Asgi] = {}
        self._closers: list[Callable[[], Awaitable[None]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        name = _part(scope["path"])
        if name != INGEST and not self._is_addressed(scope):
            await _refuse(scope, send, 421, "this host name is not served here; add it to the setting `hosts`")
            return
        app = self._apps.get(name)
        if app is None:
            await _refuse(scope, send, 404, "this process does not serve that path")
            return
        await app(scope, receive, send)

    def _is_addressed(self, scope: Scope) -> bool:
        """A page of another site that has its name point at loopback (DNS rebinding) must not read figures."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        host, _, port = hosts[0].rpartition(":")
        return (host if port.isdigit() and host else hosts[0]).lower() in self._hosts

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except RushlightError as error:
            await self._stop()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        settings = self._settings
        database = await Database.connect(settings, role="web")
        self._closers.append(database.close)
        figures = Figures(database, settings)
        self._apps["api"] = build_api(database, settings, figures=figures)
        if INGEST in self._parts:
            await self._start_ingest(database)
        if LIVE in self._parts:
            gateway = Gateway(figures, settings.redis_url or "")
            await gateway.start()
            self._closers.append(gateway.stop)
            self._apps["socket"] = gateway.asgi
            self._apps["board"] = Board()

    async def _start_ingest(self, database: Database) -> None:
        settings = self._settings
        directory = settings.path / "wal"
        redis_url = settings.redis_url or ""
        intake = await Intake.open(
            database, redis_url, directory, cap_bytes=settings.wal_bytes, partitions=settings.partitions
        )
        self._closers.append(intake.close)
        adopter = Adopter(database, redis_url, directory)
        adopter.start()
        self._closers.append(adopter.stop)
        self._apps[INGEST] = IngestApp(intake, Keyring(database))

    async def _stop(self) -> None:
        while self._closers:
            await asyncio.gather(self._closers.pop()(), return_exceptions=True)


def _part(path: str) -> str:
    if path == "/events":
        return INGEST
    if path.startswith("/socket.io/"):
        return "socket"
    return "api" if path.startswith(API_PATHS) else "board"


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    body = msgspec.json.encode({"error": {"code": "host" if status == 421 else "path", "field": "", "message": reason}})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
