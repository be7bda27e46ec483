"""However a connection ends, what was asked on it as a whole is answered first, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import uvloop

from rushlight.ingest.request import Answer
from rushlight.serving.limits import Limits
from tests.serving.test_connection import (
    CALM,
    PATIENCE_SECONDS,
    QUICK,
    Client,
    Served,
    chunked,
    post,
    serving,
)
from tests.serving.test_handover import GET, pair

UPGRADE = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
# What may follow two requests, the first of them in work, that makes no third.
BEHIND = {
    "nonsense": b"nonsense\r\n\r\n",
    "a body that is too large": chunked("/direct/a") + b"110000\r\n" + bytes(0x110000),
    "a chunk that is none": chunked("/other") + b"?",
    "half a head": post("/direct/a")[:-30],
    "half a body": post("/direct/a", b"12")[:-1],
}


async def _taken(served: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await served.door.came.wait()


async def _all_are_gone(served: Served) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while served.server.server_state.connections:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def _answers(client: Client, *expected: bytes) -> None:
    assert tuple([(await client.answer())[2] for _ in expected]) == expected


@LOOPS
@pytest.mark.parametrize("behind", BEHIND)
def test_what_comes_behind_costs_no_answer(run: Callable[[Any], None], behind: str) -> None:
    """Requests that have come as a whole are answered in order, and only then is told what was wrong behind them."""

    async def talked() -> None:
        async with serving(QUICK) as served, served.client() as client:
            client.send(post("/direct/hold") + post("/direct/b") + BEHIND[behind])
            await _taken(served)
            await asyncio.sleep(0.05)
            served.door.held.pop()(Answer(202, b"held"))
            await _answers(client, b"held", b"/direct/b? ")
            status, headers, _ = await client.answer()
            assert (status in {400, 408, 413}, headers[b"connection"]) == (True, b"close")
            assert await client.ended() == b""
            await _all_are_gone(served)
            assert served.door.admission._held_bytes == 0

    run(talked())


@LOOPS
@pytest.mark.parametrize("behind", [b"", post("/direct/c", b"12")[:-1], chunked("/other")], ids=["", "direct", "plain"])
def test_who_says_no_more_is_answered(run: Callable[[Any], None], behind: bytes) -> None:
    """A client that has closed its side gets all its answers, of both ways; what it left unfinished is nothing."""

    async def talked() -> None:
        async with serving(CALM) as served, served.client() as client:
            client.send(post("/direct/hold") + post("/other", b"x") + post("/direct/b") + behind)
            client.writer.write_eof()
            await _taken(served)
            await asyncio.sleep(0.05)
            served.door.held.pop()(Answer(202, b"held"))
            await _answers(client, b"held", b"plain 1", b"/direct/b? ")
            assert await client.ended() == b""
        async with serving(CALM) as served, served.client() as client:
            client.send(post("/direct/hold")[:-1])
            client.writer.write_eof()
            assert await client.ended() == b""
        async with pair() as both, both.client() as client:
            client.send(GET)
            client.writer.write_eof()
            await _answers(client, b"plain 0")
            assert await client.ended() == b""

    run(talked())


async def test_one_answer_for_one_request() -> None:
    """A request that was refused by its head is not told a second time that its body does not come."""
    async with serving(QUICK) as served, served.client() as client:
        client.send(post("/direct/a", b"123", "X-Who: nobody")[:-3])
        assert (await client.answer())[0] == 401
        assert await client.ended() == b""


async def test_nothing_is_taken_behind_the_last() -> None:
    """A request that ends its connection is the last that is taken from it."""
    async with serving(CALM) as served, served.client() as client:
        client.send(post("/direct/a", b"", "X-Who: nobody", "Connection: close") + post("/direct/hold"))
        assert (await client.answer())[0] == 401
        assert await client.ended() == b""
        assert not served.door.held


async def test_lines_around_a_body() -> None:
    """Notes on chunks and lines behind the last one are passed over; without end they are refused, and never kept."""
    note, line = b"1" + b";a=b" * 200, b"x: y\r\n"
    limits = Limits(head_bytes=2048)
    async with serving(limits) as served, pair(limits) as both:
        for client_of in (served.client, both.client):
            async with client_of() as client:
                client.send(chunked("/direct/a") + note + b"\r\nx\r\n0\r\n" + line * 100 + b"\r\n" + post("/direct/b"))
                await _answers(client, b"/direct/a? x", b"/direct/b? ")
            for endless in (note * 10, b"0\r\n" + line * 1000, b"1\r\nx\r\n" * 1000):
                async with client_of() as client:
                    client.send(chunked("/direct/a"))
                    await asyncio.sleep(0.01)
                    client.send(endless)
                    assert (await client.answer())[0] == 413
                    assert await client.ended() == b""
        async with served.client() as client:
            client.send(chunked("/direct/hold") + b"0\r\n" + line * 100)
            await asyncio.sleep(0.01)
            (connection,) = served.server.server_state.connections
            assert len(connection.headers) == 2  # type: ignore[union-attr]


async def test_answers_that_nobody_reads() -> None:
    """A connection that ends is cut off when its client does not read what is left, however little it is."""
    async with serving(Limits(stalled_seconds=0.2, sweep_seconds=0.05)) as served:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", served.port))
            await loop.sock_sendall(sock, post("/direct/hold", b"", "Connection: close"))
            await _taken(served)
            (connection,) = served.server.server_state.connections
            plain = connection.transport.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            served.door.held.pop()(Answer(202, b"x" * (48 << 10)))
            await _all_are_gone(served)


@pytest.mark.parametrize(
    "headers",
    [("Content-Length: 5",), ("Transfer-Encoding: chunked",), ("A: b",) * 200],
    ids=["length", "chunked", "many headers"],
)
async def test_a_websocket_that_cannot_begin(headers: tuple[str, ...]) -> None:
    """A request for a WebSocket that cannot be read as one is refused, and its connection ends."""
    async with serving(CALM, "websockets-sansio") as served, served.client() as client:
        client.send("\r\n".join(["GET /live HTTP/1.1", "Host: here", *UPGRADE, *headers, "", ""]).encode() + b"hello")
        with suppress(ConnectionResetError):
            assert (await client.answer())[0] in {400, 431}
        await _all_are_gone(served)


async def test_a_websocket_behind_a_request_in_work() -> None:
    """A request in work is answered, and the WebSocket that was asked for behind it is not begun."""
    async with serving(CALM, "websockets-sansio") as served, served.client() as client:
        client.send(post("/direct/hold") + "\r\n".join(["GET /live HTTP/1.1", "Host: h", *UPGRADE, "", ""]).encode())
        await _taken(served)
        await asyncio.sleep(0.05)
        served.door.held.pop()(Answer(202, b"held"))
        assert [(await client.answer())[0] for _ in range(2)] == [202, 400]
        assert await client.ended() == b""
