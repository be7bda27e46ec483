"""The order service's front door: a raw ASGI application, because a checkout waits behind every microsecond here.

Routes: ``POST /orders``, ``POST /orders/{id}/pay|cancel|refund``, ``GET /orders/{id}``, ``GET /openapi.json``,
``GET /health/live``, ``GET /health/ready``, ``GET /metrics``.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgspec

from rushlight.bus.appender import Appender
from rushlight.errors import RushlightError, Unavailable
from rushlight.metrics import Exposition
from rushlight.operation.orders import OrdersFigures
from rushlight.operation.page import MetricsApp
from rushlight.operation.requests import Requests
from rushlight.orders.http import (
    Bodies,
    Disconnected,
    Receive,
    Refused,
    Scope,
    Send,
    answer,
    answer_error,
    read_head,
)
from rushlight.orders.openapi import document
from rushlight.orders.operations import Decision, cancel, pay, refund
from rushlight.orders.requests import ORDER_ID, Cancellation, Payment, Return, read, read_key
from rushlight.orders.service import Answer, NotFound, OrderService
from rushlight.settings import Settings
from rushlight.store.database import Database

REPLAY_HEADER = [(b"idempotent-replay", b"true")]
HEALTH = {"/health/live", "/health/ready"}

log = logging.getLogger(__name__)


def build(settings: Settings) -> OrdersApp:
    """The application; its lifespan connects and closes. Without a ``redis_url`` it goes without the fast path."""
    return OrdersApp(settings)


class _Open(NamedTuple):
    """What is open between startup and shutdown."""

    database: Database
    appender: Appender | None
    service: OrderService
    bodies: Bodies
    metrics: MetricsApp


class OrdersApp:
    """The ASGI application."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: _Open | None = None
        self._requests = Requests()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._requests.serve(_part(scope["path"]), self._serve, scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def start(self) -> None:
        """Connect.

        Raises:
            Unavailable: MongoDB does not answer. SetupError: the database has another number of partitions.
        """
        settings = self._settings
        database = await Database.connect_orders(settings, role="orders")
        appender = Appender(settings.redis_url) if settings.redis_url else None
        service = OrderService(database.orders, settings.partitions, appender)
        metrics = MetricsApp("orders", self._collect, OrdersFigures(database.orders))
        self._open = _Open(database, appender, service, Bodies(), metrics)

    async def stop(self) -> None:
        """Answer what is on its way, then disconnect."""
        if self._open is None:
            return
        database, appender, service, bodies, _ = self._open
        await service.close()
        bodies.close()
        self._open = None
        if appender is not None:
            await appender.close()
        await database.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except RushlightError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._route(scope, receive, send)
        except Disconnected:
            return
        except RushlightError as error:
            await answer_error(send, error)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            await answer_error(send, RushlightError("something went wrong here; the log has the details"))

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == "/orders":
            _allow(scope, "POST")
            head, opened = read_head(scope), self._opened
            body = await opened.bodies.read(receive, head)
            await _send(send, 201, await opened.service.create(body, read_key(head.key)))
            return
        parts = path.split("/")
        if len(parts) in {3, 4} and parts[1] == "orders" and ORDER_ID.match(parts[2]):
            if len(parts) == 3:
                _allow(scope, "GET")
                await _send(send, 200, await self._opened.service.find(parts[2]))
                return
            if parts[3] in _CHANGES:
                _allow(scope, "POST")
                await self._change(parts[2], parts[3], scope, receive, send)
                return
        if path == "/metrics":
            await self._opened.metrics(scope, receive, send)
            return
        await self._other(path, scope, send)

    async def _change(self, order_id: str, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        head, opened = read_head(scope), self._opened
        body = await opened.bodies.read(receive, head)
        decide = _CHANGES[kind](body)
        await _send(send, 200, await opened.service.change(order_id, kind, body, read_key(head.key), decide))

    async def _other(self, path: str, scope: Scope, send: Send) -> None:
        if path == "/openapi.json":
            _allow(scope, "GET")
            await answer(send, 200, document())
        elif path in HEALTH:
            _allow(scope, "GET")
            await self._health(path, send)
        else:
            raise NotFound(f"there is nothing at {path[:200]!r}", code="not_found")

    async def _health(self, path: str, send: Send) -> None:
        # Redis has no say here: orders are taken without it.
        ready = path == "/health/live" or (self._open is not None and await self._open.service.ready())
        appender = self._open.appender if self._open else None
        stream = None if appender is None else ("well" if appender.well else "unwell")
        reasons = [] if ready else ["MongoDB: no primary answers"]
        if stream == "unwell":
            reasons.append("Redis: does not answer; orders go by their outbox")
        status = "live" if path == "/health/live" else "unready" if not ready else "degraded" if reasons else "ready"
        reason = reasons[0] if reasons else ""
        state = {"ok": ready, "stream": stream, "status": status, "reason": reason, "reasons": reasons}
        await answer(send, 200 if ready else 503, msgspec.json.encode(state))

    def _collect(self, exposition: Exposition) -> None:
        self._requests.collect(exposition)
        if self._open is not None and self._open.appender is not None:
            exposition.add("rushlight_orders_offers_dropped_total", self._open.appender.dropped)
            exposition.add("rushlight_redis_up", int(self._open.appender.well))

    @property
    def _opened(self) -> _Open:
        if self._open is None:
            raise Unavailable("the order service is starting or stopping")
        return self._open


def _part(path: str) -> str:
    if path == "/orders":
        return "create"
    last = path.rpartition("/")[2]
    if path.startswith("/orders/"):
        return last if last in _CHANGES else "find"
    return "health" if path in HEALTH else "other"


def _pay(body: bytes) -> Decision:
    return pay(read(Payment, body))


def _cancel(body: bytes) -> Decision:
    return cancel(read(Cancellation, body))


def _refund(body: bytes) -> Decision:
    return refund(read(Return, body))


_CHANGES = {"pay": _pay, "cancel": _cancel, "refund": _refund}


def _allow(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise Refused(405, "method", f"only {method} is allowed here", headers=[(b"allow", method.encode())])


async def _send(send: Send, status: int, result: Answer) -> None:
    await answer(send, status, result.body, REPLAY_HEADER if result.replayed else None)
