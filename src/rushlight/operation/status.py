"""Health of a role that serves nothing else: on a loopback port, asked for by the setting ``status_port``, or on a
socket that a supervisor has handed down.

Metrics are not served here: a worker reports its figures to MongoDB, and any ``web``, ``ingest`` or ``live`` shows
those of all workers. See ``docs/decisions/metrics-by-report.md``.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from rushlight.engine.figures import WORK
from rushlight.health import Checks, Health, assess
from rushlight.local.ports import listener
from rushlight.operation import process
from rushlight.settings import Settings
from rushlight.store.reports import CHILD_NAME

REQUEST_SECONDS = 5.0
MAX_LINES = 100
PHRASES = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def worker_figures() -> dict[str, Any]:
    """What a worker reports of itself."""
    return process.report() | WORK.document()


@asynccontextmanager
async def status_page(settings: Settings, checks: Checks, concerns: Checks) -> AsyncIterator[None]:
    """Answer ``/health/live`` and ``/health/ready`` while the block runs, if the settings name a port for it.

    Raises:
        SetupError: the port is taken.
    """
    if settings.status_port is None:
        yield
        return
    async with answering(listener(settings.host, _port(settings.status_port)), checks, concerns):
        yield


@asynccontextmanager
async def answering(listening: socket.socket, checks: Checks, concerns: Checks) -> AsyncIterator[None]:
    """Answer the same on a socket while the block runs."""
    handlers: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            handlers.add(task)
            task.add_done_callback(handlers.discard)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await _answer(reader, writer, checks, concerns)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            pass  # whoever asked is gone, or speaks no HTTP
        finally:
            writer.close()

    start = asyncio.start_unix_server if listening.family == socket.AF_UNIX else asyncio.start_server
    server = await start(handle, sock=listening)
    try:
        yield
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def _port(first: int) -> int:
    """Under a supervisor ``worker-1`` has the port itself, ``worker-2`` the next one."""
    number = os.environ.get(CHILD_NAME, "").rpartition("-")[2]
    return first + int(number) - 1 if first and number.isdecimal() else first


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, checks: Checks, concerns: Checks) -> None:
    method, path, *_ = (await reader.readline()).decode("latin-1").split()
    for _ in range(MAX_LINES):
        if not (await reader.readline()).strip():
            break
    if method not in {"GET", "HEAD"}:
        status, health = 405, Health(status="", reason="use GET")
    elif path == "/health/live":
        status, health = 200, Health(status="live")
    elif path == "/health/ready":
        health = await assess(checks, concerns)
        status = 503 if health.status == "unready" else 200
    else:
        status, health = 404, Health(status="", reason="this port serves /health/live and /health/ready")
    body = msgspec.json.encode(health)
    head = (
        f"HTTP/1.1 {status} {PHRASES[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + (b"" if method == "HEAD" else body))
    await writer.drain()
