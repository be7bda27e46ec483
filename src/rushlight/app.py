"""Assembles the roles; each runs as one process: ``python -m rushlight.app web|worker|orders``.

The settings come whole from the environment, as the supervisor or the command line put them there.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from rushlight import failpoints, logs
from rushlight.errors import RushlightError, SetupError
from rushlight.local import ports
from rushlight.local.doors import HANDOVER_FD, HEALTH_FD, health_sockets, inherited_file
from rushlight.modules import import_modules
from rushlight.settings import Settings

if TYPE_CHECKING:
    import uvicorn

    from rushlight.ingest.together import Together
    from rushlight.serving.connection import Connection

KEEP_ALIVE_SECONDS = 65
GRACEFUL_STOP_SECONDS = 3
# What a process that was asked to stop has for everything; `up` waits no longer either.
STOP_SECONDS = 8.0
MAX_WEBSOCKET_BYTES = 16 * 1024
GC_THRESHOLDS = (20_000, 20, 20)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


async def worker(settings: Settings) -> None:
    """Work on partitions, and take over logs that a publisher left behind on this host, until SIGTERM or SIGINT."""
    from rushlight.engine.reactions import Reactions
    from rushlight.engine.worker import Worker
    from rushlight.ingest.adopter import Adopter
    from rushlight.operation.status import status_page, worker_figures
    from rushlight.store.database import Database
    from rushlight.store.reports import Reporter

    import_modules(settings.modules)
    database = await Database.connect(settings, role="worker")
    working, reacting = Worker(database, settings), Reactions(database, settings)
    adopter = Adopter(database, settings.redis_url or "", settings.path / "wal")

    def stop() -> None:
        _limit_the_stop()
        working.stop()
        reacting.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    reporter = Reporter(database, "worker", working.name, worker_figures)
    adopter.start()
    reporter.start()
    _spare_the_collector()
    try:
        async with status_page(settings, {"leases": working.alive}, {"Redis": working.fed}):
            await asyncio.gather(working.run(), reacting.run())
    finally:
        await reporter.stop()
        await adopter.stop()
        await database.close()


async def web(settings: Settings) -> None:
    """Serve ingest, query API and live board on one port."""
    from rushlight.web import Beside, build

    passed_on = ports.inherited(HANDOVER_FD)
    app = build(settings, beside=Beside(siblings=health_sockets(settings), together=_together()))
    await _serve(app, settings.host, settings.port, receiving=passed_on)


async def ingest(settings: Settings) -> None:
    """Take events in, and nothing else; beside a ``web`` on the same port, leave the rest to that."""
    from rushlight.serving.handover import Passage
    from rushlight.serving.passing import Passing
    from rushlight.web import INGEST, Beside, build, is_for_ingest

    channel = ports.inherited(HANDOVER_FD)
    if channel is None:
        await _serve(build(settings, (INGEST,)), settings.host, settings.port)
        return
    passage = Passage(channel)
    health = ports.inherited(HEALTH_FD)
    beside = Beside(health=health, passed=lambda: passage.passed, together=_together())
    kind = partial(Passing, passage, is_for_ingest)
    await _serve(build(settings, (INGEST,), beside), settings.host, settings.port, kind=kind)


def _together() -> Together | None:
    from rushlight.ingest.together import Together

    descriptor = inherited_file()
    return Together(descriptor) if descriptor is not None else None


async def live(settings: Settings) -> None:
    """Serve the query API and the live board."""
    from rushlight.web import LIVE, build

    await _serve(build(settings, (LIVE,)), settings.host, settings.port)


async def orders(settings: Settings) -> None:
    """Serve the reference order service on the board's port + 1."""
    from rushlight.orders.app import build

    await _serve(build(settings), settings.host, settings.port + 1 if settings.port else 0)


async def relay(settings: Settings, *, finish: bool = False) -> None:
    """Move the outboxes of a shop's own MongoDB (``orders_mongo_url``) into Rushlight's, until SIGTERM or SIGINT.

    Args:
        finish: end when the shop's outboxes are empty.

    Raises:
        SetupError: nobody said where the shop's orders are. Unavailable: a MongoDB does not answer.
    """
    from rushlight.bus.appender import Appender
    from rushlight.engine.relay import Relay
    from rushlight.operation.status import status_page
    from rushlight.store.database import Database
    from rushlight.store.relayed import ShopOrders

    if settings.orders_mongo_url is None:
        raise SetupError("say where the shop's orders are with --orders-mongo-url: a relay moves their outboxes")
    place = settings.relay_from or f"{settings.database}.orders"
    if (settings.orders_mongo_url, place) == (settings.mongo_url, f"{settings.database}.orders"):
        raise SetupError("these orders are Rushlight's own, and its workers read their outboxes without a relay")
    own = msgspec.structs.replace(settings, orders_mongo_url=None)
    async with AsyncExitStack() as stack:
        database = await Database.connect(own, role="relay")
        stack.push_async_callback(database.close)
        shop = await ShopOrders.connect(settings.orders_mongo_url, place)
        stack.push_async_callback(shop.close)
        appender = Appender(settings.redis_url or "")
        stack.push_async_callback(appender.close)
        relaying = Relay(shop, database, appender, settings.partitions)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            _limit_the_stop()
            relaying.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        await stack.enter_async_context(status_page(settings, {"outboxes": relaying.alive}, {"Redis": relaying.fed}))
        await relaying.run(finish=finish)


async def _serve(
    app: Asgi,
    host: str,
    port: int,
    *,
    kind: Callable[..., Connection] | None = None,
    receiving: socket.socket | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        kind: of connection, where it is not the usual one.
        receiving: the end of a channel through which other processes pass connections on.
    """
    import uvicorn  # a worker serves nothing: it starts a fifth sooner without

    from rushlight.serving.connection import connections
    from rushlight.serving.limits import Limits

    config = uvicorn.Config(
        app,
        loop="none",
        http=connections(getattr(app, "direct", _nothing), Limits(idle_seconds=KEEP_ALIVE_SECONDS), kind),  # type: ignore[arg-type]
        ws="websockets-sansio",
        ws_max_size=MAX_WEBSOCKET_BYTES,
        # Compressing each viewer's copy of a frame would cost more than all the rest of sending it.
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Which proxies are believed says a setting, and whoever asks for the sender looks there.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACEFUL_STOP_SECONDS,
    )
    server = _server(config, getattr(app, "drain", None), receiving)
    _spare_the_collector()
    await server.serve(sockets=[ports.listener(host, port)])
    if not server.started:
        raise RushlightError("could not start; the reason stands above")


def _nothing() -> None:
    """No path is served without ASGI."""


def _server(
    config: uvicorn.Config, drain: Callable[[], Awaitable[None]] | None, receiving: socket.socket | None
) -> uvicorn.Server:
    import uvicorn

    from rushlight.serving.handover import Adoption

    class Server(uvicorn.Server):
        """Takes on what others pass on, and lets go of whoever waits before it waits for what is on its way."""

        adoption: Adoption | None = None

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if receiving is not None:
                self.adoption = Adoption(receiving, self._connection)
                self.adoption.start()

        async def shutdown(self, sockets: Any = None) -> None:
            _limit_the_stop()
            if self.adoption is not None:
                await self.adoption.stop()
            if drain is not None:
                await drain()
            await super().shutdown(sockets)

        def _connection(self) -> Any:
            make: Callable[..., Any] = config.http_protocol_class
            return make(config=config, server_state=self.server_state, app_state=self.lifespan.state)

    return Server(config)


def _limit_the_stop() -> None:
    """A server that hangs keeps whoever waits for it as long as the network is patient; the process ends before."""
    asyncio.get_running_loop().call_later(STOP_SECONDS, _abandon)


def _abandon() -> None:
    # What is left now is what a crash would leave, and found again in the same way.
    logging.getLogger(__name__).warning("did not come to its end within %g s: abandoned", STOP_SECONDS)
    logging.shutdown()
    os._exit(1)


def _spare_the_collector() -> None:
    """What is imported by now stays: it need not be looked through again, nor after every few hundred events."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


ROLES: dict[str, Callable[..., Awaitable[None]]] = {
    "web": web,
    "ingest": ingest,
    "live": live,
    "worker": worker,
    "relay": relay,
    "orders": orders,
}


def run(role: str, settings: Settings, **options: Any) -> int:
    """Run one role in this process, with options of its own; 1 when it cannot start."""
    logs.setup(role, settings.log_format)
    try:
        failpoints.arm(settings)
        uvloop.run(ROLES[role](settings, **options))  # type: ignore[arg-type]
    except RushlightError as error:
        sys.stderr.write(logs.redacted(f"rushlight {role}: {error}\n"))
        return 1
    except Exception as error:
        # The traceback for the log; then one line that names the error, for the supervisor's report.
        logging.getLogger(__name__).critical("ended by an error", exc_info=error)
        sys.stderr.write(logs.redacted(f"rushlight {role}: {type(error).__name__}: {error}\n"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Settings.from_env()))
