"""Clients that are slow, endless, mad or gone, all at once, on real sockets: everybody else is served all the while."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from rushlight import web
from rushlight.ingest.keys import create
from rushlight.orders import app as orders
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.conftest import Launch
from tests.hostile.requests import encoded, good

SECONDS = 100.0
MEBIBYTE = 1 << 20
Attack = Callable[["Target"], Coroutine[None, None, None]]


class Target:
    """Where to connect, and a key that is valid.

    Attributes:
        over: set when attackers may go home.
    """

    def __init__(self, url: str, key: str) -> None:
        self.host, self.port = urlsplit(url).hostname or "", urlsplit(url).port or 0
        self.key = key
        self.over = asyncio.Event()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A plain connection."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def head(self, *more: str, method: str = "POST", path: str = "/events") -> bytes:
        """A request's head under the key, with further lines."""
        lines = (f"host: {self.host}", "content-type: application/json", f"authorization: Bearer {self.key}", *more)
        return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()

    def request(self) -> bytes:
        """A good one."""
        body = encoded(good("/events", "default"))
        return self.head(f"content-length: {len(body)}") + body


async def slow_head(target: Target) -> None:
    """A head that comes byte by byte until nobody listens any more."""
    async with target.connected() as (_, writer):
        await _dribble(target, writer, target.head("content-length: 10")[:-2])


async def slow_body(target: Target) -> None:
    """A body that does the same."""
    async with target.connected() as (_, writer):
        writer.write(target.head("content-length: 100000"))
        await _dribble(target, writer, b"[" + b" " * 90_000)


async def silent(target: Target) -> None:
    """A connection that says nothing."""
    async with target.connected():
        await target.over.wait()


async def endless(target: Target) -> None:
    """A hundred megabytes in chunks: refused early."""
    async with target.connected() as (reader, writer):
        writer.write(target.head("transfer-encoding: chunked"))
        piece = b"%x\r\n" % MEBIBYTE + b" " * MEBIBYTE + b"\r\n"
        try:
            for _ in range(100):
                writer.write(piece)
                await writer.drain()
        except OSError:
            return
        assert b" 413 " in await reader.readline()


async def flood_of_headers(target: Target) -> None:
    """Headers without end, then one that is one."""
    for line in (b"x-a: b\r\n" * 200_000, b"x-long: " + b"y" * (8 * MEBIBYTE)):
        async with target.connected() as (reader, writer):
            try:
                writer.write(target.head()[:-2] + line)
                await writer.drain()
                answer = await reader.readline()
            except OSError:
                continue
            assert not answer or answer.split()[1] in {b"400", b"413", b"431"}, answer


async def pipeline(target: Target) -> None:
    """Three hundred requests in one go: all are answered, in their order, or the connection ends."""
    async with target.connected() as (reader, writer):
        writer.write(b"".join(target.request() for _ in range(300)))
        answered = 0
        while answered < 300:
            line = await reader.readline()
            assert line, f"{answered} answers"
            answered += line.endswith(b"HTTP/1.1 202 Accepted\r\n")
            assert b"HTTP/1.1 5" not in line


async def pipeline_unread(target: Target) -> None:
    """The same from somebody who reads nothing."""
    async with target.connected() as (_, writer):
        writer.write(b"".join(target.request() for _ in range(300)))
        await target.over.wait()


async def half_closed(target: Target) -> None:
    """A request from somebody who has said all there was to say: it is answered."""
    async with target.connected() as (reader, writer):
        writer.write(target.request())
        writer.write_eof()
        answer = await reader.read()
        assert b" 202 " in answer


async def reset(target: Target) -> None:
    """Gone in the middle of a body, without a word."""
    for _ in range(20):
        async with target.connected() as (_, writer):
            writer.write(target.head("content-length: 1000") + b"[")
            await writer.drain()
            plain: socket.socket = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def nonsense(target: Target) -> None:
    """What is no HTTP, or two readings of one request: refused, and the connection ends."""
    both = target.head("content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    twice = target.head("content-length: 5", "content-length: 50") + b"hello"
    for text in (
        *(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 300, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        *(b"\x00" * 5000, b"GET\r\n\r\n", b"POST /events HTTP/9.9\r\n\r\n", target.head("content-length: -1")),
        *(target.head("content-length: 1e3"), target.head("x: a\x00b"), both, twice, b"\r\n" * 50_000),
        target.head("transfer-encoding: chunked") + b"ffffffffffffffff\r\n",
    ):
        async with target.connected() as (reader, writer):
            try:
                writer.write(text)
                writer.write_eof()
                answer = await reader.read()
            except OSError:
                continue
            assert b" 202 " not in answer, (text[:60], answer)
            assert b"HTTP/1.1 5" not in answer, (text[:60], answer)


ATTACKS: dict[Attack, int] = {
    slow_head: 40,
    slow_body: 40,
    silent: 40,
    endless: 2,
    flood_of_headers: 1,
    pipeline: 2,
    pipeline_unread: 4,
    half_closed: 5,
    reset: 1,
    nonsense: 1,
}


async def test_others_are_served_all_the_while(settings: Settings, launch: Launch) -> None:
    """Every attack at once; a good client's events and pages are all answered, then and afterwards."""
    instance = launch(settings, "web").ready()
    url = instance.urls["board"]
    database = await Database.connect(settings, role="tests")
    target = Target(url, await create(database, "public"))
    try:
        async with asyncio.timeout(SECONDS), aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            attackers = [group.create_task(attack(target)) for attack, times in ATTACKS.items() for _ in range(times)]
            for _ in range(100):
                await _served(session, url, target.key)
                await asyncio.sleep(0.02)
            target.over.set()
            await asyncio.gather(*attackers)
            await _served(session, url, target.key)
    finally:
        await database.close()


@pytest.mark.parametrize("path", ["/events", "/v1/t", "/v1/projects/x/settings", "/metrics", "/api/v1/summary", "/"])
async def test_a_web_socket_to_anything_but_the_boards(path: str, tmp_path: Path) -> None:
    """It is closed before it is open, by every application, which is no mistake of ours."""
    scope = {"type": "websocket", "path": path, "headers": [(b"host", b"127.0.0.1")], "query_string": b""}
    for build in (web.build, orders.build):
        sent: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            return {"type": "websocket.connect"}

        async def send(message: object) -> None:
            sent.append(dict(message))  # type: ignore[call-overload]  # noqa: B023 - awaited in the same round

        await build(Settings(data=str(tmp_path)))(scope, receive, send)
        assert [message["type"] for message in sent] == ["websocket.close"]


async def _served(session: aiohttp.ClientSession, url: str, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"}
    async with session.post(f"{url}/events", json=good("/events", "default"), headers=headers) as answer:
        assert answer.status == 202
    async with session.get(f"{url}/health/live") as answer:
        assert answer.status == 200


async def _dribble(target: Target, writer: asyncio.StreamWriter, text: bytes) -> None:
    for byte in text:
        if target.over.is_set() or writer.is_closing():
            return
        try:
            writer.write(bytes([byte]))
            await writer.drain()
        except OSError:
            return
        await asyncio.sleep(0.05)
