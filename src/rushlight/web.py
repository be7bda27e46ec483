"""One port for ingest, query API and live board: each path goes to the part that serves it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from rushlight.bus.link import Link
from rushlight.errors import RushlightError, Unavailable
from rushlight.ingest import openapi
from rushlight.ingest.admission import Admission
from rushlight.ingest.adopter import Adopter
from rushlight.ingest.context.device import warm
from rushlight.ingest.context.surroundings import Surroundings
from rushlight.ingest.http import IngestApp, is_door
from rushlight.ingest.intake import Intake
from rushlight.ingest.keys import Keyring
from rushlight.ingest.rejections import Rejections
from rushlight.ingest.segment_settings import SETTINGS
from rushlight.ingest.together import Together
from rushlight.metrics import Exposition
from rushlight.operation import process
from rushlight.operation.requests import Requests
from rushlight.operation.siblings import Siblings
from rushlight.operation.status import answering
from rushlight.serving.direct import Direct
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.primary import mongodb
from rushlight.store.reports import Reporter, label_of_this_process

if TYPE_CHECKING:
    from rushlight.live.gateway import Gateway

INGEST, LIVE = "ingest", "live"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
API_PATHS = ("/api/", "/docs", "/health/")
METRICS_PATH = "/metrics"
NO_DOOR = "nothing is taken here: send to /events (CloudEvents), /v1/track and the like (Segment) or /mp/collect (GA4)"
PING_SECONDS = 1.0

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]
Reasons = dict[str, Callable[[], Awaitable[str | None]]]


class Beside(NamedTuple):
    """What a process has of others that serve the same port.

    Attributes:
        siblings: where those that only take events in tell how they are; for the one that serves the rest.
        health: where this one tells it, being one of them. passed: how many connections it has given away.
        together: where all of them keep the limits of what is let in.
    """

    siblings: tuple[Path, ...] = ()
    health: socket.socket | None = None
    passed: Callable[[], int] = int
    together: Together | None = None


def build(settings: Settings, parts: Collection[str] = (INGEST, LIVE), beside: Beside | None = None) -> Web:
    """The application; its lifespan connects and closes.

    Args:
        parts: ``ingest`` takes events in, ``live`` serves board and query API.
    """
    return Web(settings, parts, beside or Beside())


def is_for_ingest(path: str) -> bool:
    """Whether the ingest serves a path."""
    return _part(path) == INGEST


class Web:
    """The ASGI application."""

    def __init__(self, settings: Settings, parts: Collection[str], beside: Beside) -> None:
        self._settings = settings
        self._parts = parts
        self._beside = beside
        self._hosts = LOOPBACK_HOSTS | set(settings.hosts)
        self._apps: dict[str, Asgi] = {}
        self._requests = Requests()
        self._direct: Direct | None = None
        self._gateway: Gateway | None = None
        self._admission: Admission | None = None
        self._closers: list[Callable[[], Awaitable[None]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        name = _part(scope["path"])
        if scope["type"] == "http":
            await self._requests.serve(_shown(name, scope["path"]), self._route, scope, receive, send)
        else:
            await self._route(scope, receive, send)

    def direct(self) -> Direct | None:
        """What the server may answer without ASGI: the ingest, once it is open."""
        return self._direct

    async def drain(self) -> None:
        """Let go of the sockets, so that their clients connect again while requests on their way are answered."""
        if self._gateway is not None:
            await self._gateway.drain()

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = _part(scope["path"])
        if name != INGEST and not self._is_addressed(scope):
            await _refuse(scope, send, 421, "this host name is not served here; add it to the setting `hosts`")
            return
        if scope["type"] == "websocket" and name != "socket":
            await _refuse(scope, send, 404, "no WebSocket is spoken here")
            return
        if name == "board" and scope["method"] == "POST":
            await _refuse(scope, send, 404, NO_DOOR)
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
        database = await Database.connect(settings, role=self._role)
        self._closers.append(database.close)
        redis = Link(settings.redis_url or "")
        self._closers.append(redis.close)
        checks: Reasons = {}
        concerns: Reasons = {"Redis": lambda: _redis(redis)}
        # Events are safe in the log while MongoDB is away; figures cannot be read without it.
        (checks if LIVE in self._parts else concerns)["MongoDB"] = mongodb(database)
        if INGEST in self._parts:
            intake = await self._start_ingest(database)
            checks["ingest"], concerns["log"] = intake.full, intake.crowded
        if self._beside.siblings:
            siblings = Siblings(self._beside.siblings)
            checks["other processes"], concerns["other processes"] = siblings.refusing, siblings.unwell
        if LIVE not in self._parts:
            self._start_reports(database)
        if self._beside.health is None:
            await self._start_answers(database, checks, concerns)
        else:
            page = AsyncExitStack()
            await page.enter_async_context(answering(self._beside.health, checks, concerns))
            self._closers.append(page.aclose)

    async def _start_answers(self, database: Database, checks: Reasons, concerns: Reasons) -> None:
        """Everything that is asked for; whoever is beside another process leaves it to that."""
        from rushlight.live.board import Board
        from rushlight.live.gateway import Gateway
        from rushlight.operation.instance import InstanceFigures
        from rushlight.operation.page import MetricsApp
        from rushlight.query.api import build as build_api
        from rushlight.query.figures import Figures

        settings = self._settings
        figures = Figures(database, settings)
        if LIVE in self._parts:
            self._gateway = gateway = Gateway(figures, settings.redis_url or "")
            await gateway.start()
            self._closers.append(gateway.stop)
            self._apps["socket"] = gateway.asgi
            self._apps["board"] = Board()
        others = openapi.document() if INGEST in self._parts else {}
        self._apps["api"] = build_api(
            database, settings, figures=figures, checks=checks, concerns=concerns, others=others
        )
        instance = InstanceFigures(figures, settings.redis_url or "")
        self._closers.append(instance.close)
        self._apps["metrics"] = MetricsApp(self._role, self._collect, instance)

    def _start_reports(self, database: Database) -> None:
        name = f"ingest:{label_of_this_process()}:{os.getpid()}"
        reporter = Reporter(database, INGEST, name, self._report)
        reporter.start()
        self._closers.append(reporter.stop)

    def _report(self) -> dict[str, Any]:
        """What a process that only takes events in says of itself."""
        return process.report() | {"answers": self._requests.answers(INGEST), "passed": self._beside.passed()}

    @property
    def _role(self) -> str:
        return "web" if len(self._parts) > 1 else next(iter(self._parts))

    def _collect(self, exposition: Exposition) -> None:
        self._requests.collect(exposition)
        if self._admission is not None:
            self._admission.collect(exposition)
        if self._gateway is not None:
            exposition.add("rushlight_viewers", self._gateway.viewers)

    async def _start_ingest(self, database: Database) -> Intake:
        warm()
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
        self._admission = Admission(
            events_per_second=settings.max_events_per_second,
            key_events_per_second=settings.key_events_per_second,
            age_seconds=intake.age_seconds,
            together=self._beside.together,
        )
        surroundings = Surroundings.of(settings)
        rejections = Rejections(database)
        rejections.start()
        self._closers.append(rejections.stop)
        door = IngestApp(intake, Keyring(database), self._admission, surroundings, rejections)
        self._apps[INGEST] = door
        self._direct = Direct(door, is_door, partial(self._requests.count, INGEST))
        return intake

    async def _stop(self) -> None:
        self._direct = None
        while self._closers:
            await asyncio.gather(self._closers.pop()(), return_exceptions=True)


def _part(path: str) -> str:
    if is_door(path) or SETTINGS.match(path):
        return INGEST
    if path == METRICS_PATH:
        return "metrics"
    if path.startswith("/socket.io/"):
        return "socket"
    return "api" if path.startswith(API_PATHS) else "board"


def _shown(part: str, path: str) -> str:
    return "health" if path.startswith("/health/") else part


async def _redis(link: Link) -> str | None:
    try:
        await link.call(("PING",), timeout_seconds=PING_SECONDS)
    except Unavailable:
        return "does not answer; orders go by their outbox, other events wait in the log"
    return None


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    body = msgspec.json.encode({"error": {"code": "host" if status == 421 else "path", "field": "", "message": reason}})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
