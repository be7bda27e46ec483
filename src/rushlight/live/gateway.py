"""The live board's sockets, with Socket.IO's own handshake and upgrades. While nobody watches, nothing is read."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from rushlight.live.crowd import NAMESPACES, Crowd, Viewer
from rushlight.live.door import TRY_AGAIN_LATER, Door, Receive, Send
from rushlight.live.listener import Listener
from rushlight.live.picture import Painter
from rushlight.live.watch import Watch
from rushlight.query.figures import Figures
from rushlight.settings import DEFAULT_SHOP, SHOP_ID

MAX_MESSAGE_BYTES = 16 * 1024
MAX_SOCKETS = 5000
MAX_WATCHED_SHOPS = 32
LINGER_SECONDS = 5.0
MESSAGE_SECONDS = 2.0
DOOR = "rushlight.door"

log = logging.getLogger(__name__)
# A refused origin or a broken packet is the client's affair.
_quiet = logging.getLogger("rushlight.live.socketio")
_quiet.setLevel(logging.CRITICAL)


class _Watched(NamedTuple):
    watch: Watch
    crowd: Crowd


class Gateway:
    """Serves ``/socket.io/``: `asgi` is the application, `stop` lets go of everything.

    Args:
        figures: the reading side of this process. redis_url: where changes are heard.
    """

    def __init__(self, figures: Figures, redis_url: str) -> None:
        self._figures = figures
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            namespaces=list(NAMESPACES),
            cors_allowed_origins=is_same_host,
            cors_credentials=False,
            max_http_buffer_size=MAX_MESSAGE_BYTES,
            logger=_quiet,
            engineio_logger=_quiet,
        )
        self._listener = Listener(redis_url, self._heard)
        self._watched: dict[str, _Watched] = {}
        self._shop_of: dict[Viewer, str] = {}
        self._doors: dict[str, Door] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        for namespace in NAMESPACES:
            self._register(namespace)

    @property
    def viewers(self) -> int:
        """How many connections watch."""
        return len(self._shop_of)

    @property
    def watched(self) -> list[str]:
        """The shops that are being read."""
        return sorted(self._watched)

    async def start(self) -> None:
        """Nothing is begun before somebody comes."""

    async def stop(self) -> None:
        """Stop watching and let go of every socket."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.stop()
        for watched in self._watched.values():
            await watched.watch.stop()
        self._watched.clear()
        for door in list(self._doors.values()):
            door.shut()
        await self._server.shutdown()

    async def drain(self) -> None:
        """Let every viewer go, so that it connects again somewhere else, and welcome no others."""
        self._draining = True
        for socket in list(self._server.eio.sockets.values()):
            with suppress(Exception):  # a socket that is ending by itself
                await socket.close(wait=False)

    async def asgi(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI application."""
        sid = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("sid", [""])[0]
        if not sid and (self._draining or len(self._server.eio.sockets) >= MAX_SOCKETS):
            await _refuse(scope, send, 503)
        elif scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send, sid)
        elif scope["method"] == "POST":
            await self._take_message(scope, receive, send, sid)
        else:
            await self._server.handle_request(scope, receive, send)

    async def _serve_socket(self, scope: dict[str, Any], receive: Receive, send: Send, sid: str) -> None:
        door = Door(receive, send)
        if sid:  # an upgrade; otherwise the sid is known when the namespace is connected to
            self._doors[sid] = door
        try:
            await self._server.handle_request({**scope, DOOR: door}, door.receive, door.send)
        except (ValueError, TypeError, KeyError, OSError, RecursionError) as error:
            log.debug("a socket ended on what its peer sent: %r", error)
        finally:
            for name in [name for name, other in self._doors.items() if other is door]:
                del self._doors[name]

    async def _take_message(self, scope: dict[str, Any], receive: Receive, send: Send, sid: str) -> None:
        """A message over polling. The engine waits for ever to tell a broken client so that its socket is closed."""
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not length.isdigit() or len(length) > 9 or int(length) > MAX_MESSAGE_BYTES:
            await _refuse(scope, send, 413)
            return
        try:
            async with asyncio.timeout(MESSAGE_SECONDS):
                await self._server.handle_request(scope, receive, send)
        except (TimeoutError, RecursionError):
            self._give_up(sid)
            await _refuse(scope, send, 400)

    def _register(self, namespace: str) -> None:
        async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
            self._admit(Viewer(namespace, sid), environ, auth)

        async def disconnect(sid: str, _reason: Any = None) -> None:
            self._leave(Viewer(namespace, sid))

        async def resync(sid: str, *_: Any) -> None:
            await self._resync(Viewer(namespace, sid))

        for event, handler in (("connect", connect), ("disconnect", disconnect), ("resync", resync)):
            self._server.on(event, handler, namespace=namespace)

    def _admit(self, viewer: Viewer, environ: dict[str, Any], auth: Any) -> None:
        shop = auth.get("shop", DEFAULT_SHOP) if isinstance(auth, dict) else DEFAULT_SHOP
        if not isinstance(shop, str) or not SHOP_ID.match(shop):
            raise Refused("shop must be lower-case letters, digits and hyphens, at most 63")
        if shop not in self._watched and len(self._watched) >= MAX_WATCHED_SHOPS:
            raise Refused("too many shops are being watched; try again later")
        door = environ["asgi.scope"].get(DOOR)
        if door is not None:
            self._doors[self._server.manager.eio_sid_from_sid(viewer.sid, viewer.namespace)] = door
        self._shop_of[viewer] = shop
        watched = self._watched.get(shop) or self._begin(shop)
        watched.crowd.wait(viewer)
        watched.watch.poke()

    def _begin(self, shop: str) -> _Watched:
        crowd = Crowd(self._server, shop, self._give_up)
        watch = Watch(shop, Painter(self._figures, shop), crowd, self._listener.looked)
        watched = self._watched[shop] = _Watched(watch, crowd)
        watch.start()
        self._listener.start()
        return watched

    async def _resync(self, viewer: Viewer) -> None:
        watched = self._watched.get(self._shop_of.get(viewer, ""))
        if watched is not None:
            await watched.crowd.wait_again(viewer)
            watched.watch.poke()

    def _leave(self, viewer: Viewer) -> None:
        shop = self._shop_of.pop(viewer, None)
        watched = self._watched.get(shop or "")
        if shop is not None and watched is not None:
            watched.crowd.leave(viewer)
            if not watched.crowd:
                self._spawn(self._end(shop, watched))

    async def _end(self, shop: str, watched: _Watched) -> None:
        """Stop watching a shop that nobody came back to."""
        await asyncio.sleep(LINGER_SECONDS)
        if watched.crowd or self._watched.get(shop) is not watched:
            return
        del self._watched[shop]
        await watched.watch.stop()
        if not self._watched:
            await self._listener.stop()

    def _heard(self, shop: str) -> None:
        watched = self._watched.get(shop)
        if watched is not None:
            watched.watch.poke()

    def _give_up(self, engine_sid: str) -> None:
        """Drop a socket that takes nothing; whoever is there still will connect again."""
        socket = self._server.eio.sockets.pop(engine_sid, None)
        if socket is None:
            return
        while not socket.queue.empty():
            socket.queue.get_nowait()
        if (door := self._doors.pop(engine_sid, None)) is not None:
            door.shut()
        self._spawn(socket.close(wait=False, abort=True))

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def is_same_host(origin: str | None, environ: dict[str, Any]) -> bool:
    """Whether a page that was loaded from this very host and port asks; programs that name no origin may ask."""
    if origin is None:
        return True
    with suppress(ValueError):
        return urlsplit(origin).netloc.lower() == str(environ.get("HTTP_HOST", "")).lower()
    return False


async def _refuse(scope: dict[str, Any], send: Send, status: int) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
        return
    headers = [(b"content-length", b"0"), (b"retry-after", b"10")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
