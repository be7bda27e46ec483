"""Serves the built board and speaks `analyticsUpdate` to it, so that a test decides what the shop is like."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import socketio
from aiohttp import web

import rushlight

BOARD = Path(rushlight.__file__).parent / "static" / "board"
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
HEARTBEAT_SECONDS = 0.3
CALL_SECONDS = 60.0
NAMESPACE = "/live"

Figures = dict[str, Any]


def moment(seconds_ago: float = 0.0) -> str:
    """Return a moment of now or before, ISO 8601 in UTC."""
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat(timespec="milliseconds")


def counts(**columns: int) -> dict[str, int]:
    """Return the columns of a ledger, nought where not named."""
    names = ("acknowledged", "stored", "duplicate", "parked", "dropped", "pending", "rejected")
    return {name: columns.get(name, 0) for name in names}


def sales(net: str, orders: int = 1) -> dict[str, Any]:
    """Return one currency's day in which nothing was discounted or sent back."""
    nought = "0.00" if "." in net else "0"
    kept = {"discounts": nought, "refunds": nought, "tax": nought, "shipping": nought}
    return {"orders": orders, "units": orders, "gross": net, "net": net, "aov": net, **kept}


def figures(**changes: Any) -> Figures:
    """Return every figure of a small shop with one order."""
    steps = zip(("view", "cart", "checkout", "payment", "purchase"), (100, 40, 20, 10, 5), strict=True)
    return {
        "timeZone": "UTC",
        "today": {"from": moment(), "currencies": {"USD": sales("1234.50")}},
        "series": {"step": "minute", "from": moment(3540), "currencies": {}},
        "funnel": {"steps": [{"step": step, "sessions": n} for step, n in steps]},
        "products": [],
        "visitors": 12,
        "carts": 3,
        "leftOut": {"botEvents": 0, "testEvents": 0, "testOrders": 0, "unmeasuredEvents": 0},
        "orders": [],
        "ledger": ledger(counts(acknowledged=7, stored=7)),
        "rate": {"eventsPerSecond": 2.0},
        "notices": [],
        "warnings": [],
        "parked": None,
    } | changes


def ledger(total: dict[str, int], *, balanced: bool = True) -> dict[str, Any]:
    """Return a ledger with one source."""
    return {"balanced": balanced, "total": total, "sources": {"orders": total}, "unreachable": [], "rejectedBy": {}}


class Gateway:
    """A live gateway in a thread of its own; every viewer gets a snapshot, then deltas and a heartbeat."""

    def __init__(self) -> None:
        self.figures = figures()
        self.late = {"money": 0.1, "behaviour": 0.1}
        self.resyncs = 0
        self.silent = False
        self.tracking: dict[str, Any] = {"timeZone": "UTC", "events": [], "names": {}, "checks": []}
        self.tracking |= {"present": "2026-03-01T12:05:00Z", "countedSince": "2026-03-01T12:04:58Z"}
        self.url = ""
        self._versions: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._sio = socketio.AsyncServer(async_mode="aiohttp")

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def shop(self, **changes: Any) -> None:
        """Make the shop another one before anybody looks."""
        self.figures = figures(**changes)

    def send(self, **changes: Any) -> None:
        """Change figures and send them to every viewer as the next delta."""
        self.figures |= changes
        self._call(self._broadcast(changes))

    def skip(self, **changes: Any) -> None:
        """Change figures in a frame that no viewer gets."""
        self.figures |= changes
        self._call(self._miss())

    def drop_viewers(self) -> None:
        """Close every connection and refuse new ones until `welcome_viewers`."""
        self.silent = True
        for sid in list(self._versions):
            self._call(self._sio.disconnect(sid, namespace=NAMESPACE))

    def welcome_viewers(self) -> None:
        """Take connections again."""
        self.silent = False

    def _call(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(CALL_SECONDS)

    async def _start(self) -> None:
        app = web.Application()
        app.on_response_prepare.append(self._prepare)
        app.router.add_get("/", self._index)
        app.router.add_get("/api/v1/tracking", self._tracking)
        app.router.add_static("/assets", BOARD / "assets")
        self._sio.attach(app)
        self._sio.on("connect", self._connect, namespace=NAMESPACE)
        self._sio.on("disconnect", self._disconnect, namespace=NAMESPACE)
        self._sio.on("resync", self._resync, namespace=NAMESPACE)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/"
        self._heart = asyncio.create_task(self._beat())

    async def _stop(self) -> None:
        self._heart.cancel()
        await self._sio.shutdown()
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _prepare(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = POLICY

    async def _index(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(BOARD / "index.html")

    async def _tracking(self, _request: web.Request) -> web.Response:
        return web.json_response({"present": moment(), **self.tracking})

    async def _connect(self, sid: str, *_context: object) -> bool:
        if self.silent:
            return False
        await self._snapshot(sid, 1)
        return True

    async def _disconnect(self, sid: str, *_reason: object) -> None:
        self._versions.pop(sid, None)

    async def _resync(self, sid: str, *_nothing: object) -> None:
        self.resyncs += 1
        await self._snapshot(sid, self._versions.get(sid, 0) + 1)

    async def _snapshot(self, sid: str, version: int) -> None:
        self._versions[sid] = version
        await self._emit(sid, self._frame(version, self.figures) | {"snapshot": True})

    async def _miss(self) -> None:
        """Count a frame for every viewer and send it to none; between two broadcasts, not in the midst of one."""
        self._versions = {sid: version + 1 for sid, version in self._versions.items()}

    async def _broadcast(self, changes: Figures) -> None:
        for sid in list(self._versions):
            self._versions[sid] += 1
            await self._emit(sid, self._frame(self._versions[sid], changes))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._broadcast({"ledger": self.figures["ledger"]})

    async def _emit(self, sid: str, frame: Figures) -> None:
        await self._sio.emit("analyticsUpdate", frame, to=sid, namespace=NAMESPACE)

    def _frame(self, version: int, changes: Figures) -> Figures:
        frame: Figures = {
            "shop": "default",
            "version": version,
            "asOf": moment(),
            "completeTo": {name: moment(seconds) for name, seconds in self.late.items()},
        } | changes
        if "ledger" in frame:
            frame["ledger"] = {"asOf": moment(), **frame["ledger"]}
        return frame
