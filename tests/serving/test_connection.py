"""A connection gives each request its answer in order, and ends whoever is slow, loud or unclear."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn

from rushlight.ingest.admission import Admission
from rushlight.ingest.request import Answer, Request
from rushlight.serving.connection import connections
from rushlight.serving.direct import Direct
from rushlight.serving.limits import Limits

PATIENCE_SECONDS = 20.0
QUICK = Limits(
    head_seconds=0.2, body_seconds=0.2, idle_seconds=0.4, linger_seconds=0.2, sweep_seconds=0.05, head_bytes=2048
)
CALM = Limits()


class FakeDoor:
    """Answers with what it got; ``/hold`` only when it is told to."""

    def __init__(self) -> None:
        self.admission = Admission()
        self.held: list[Callable[[Answer], None]] = []
        self.asked: list[str] = []
        self.came = asyncio.Event()

    def early(self, method: str, headers: Mapping[str, str], path: str) -> Answer | None:
        """Refuses other methods, and who says that he is nobody."""
        self.asked.append(path)
        if headers.get("x-who") == "nobody":
            return Answer(401, b'"no"')
        return None if method == "POST" else Answer(405, b'"post"')

    def take(self, request: Request, answer: Callable[[Answer], None]) -> None:
        """Answers with path, query, client and body."""
        if request.headers.get("x-who") == "nobody":
            answer(Answer(401, b'"no"'))
            return
        if request.path == "/direct/fail":
            raise RuntimeError("a bug")
        if request.path == "/direct/hold":
            self.held.append(answer)
            self.came.set()
            return
        answer(Answer(202, b"%s?%s %s" % (request.path.encode(), request.query.encode(), request.body)))


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI side: answers with the body's length."""
    if scope["type"] == "lifespan":
        return
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    else:
        return
    body = b"plain %d" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """The next answer: status, headers, body."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            line, *rest = head[:-4].split(b"\r\n")
            headers = dict(each.split(b": ", 1) for each in rest)
            body = await self.reader.readexactly(int(headers.get(b"content-length", b"0")))
        return int(line.split()[1]), headers, body

    async def ended(self) -> bytes:
        """What comes until the server ends the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    """A connection to a server of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


class Served:
    """A running server."""

    def __init__(self, port: int, door: FakeDoor, server: uvicorn.Server) -> None:
        self.port, self.door, self.server = port, door, server

    def client(self) -> AbstractAsyncContextManager[Client]:
        """A connection to it."""
        return connected(self.port)


@asynccontextmanager
async def serving(limits: Limits, ws: Any = "none") -> AsyncIterator[Served]:
    """A server for as long as the block lasts."""
    door = FakeDoor()
    direct = Direct(door, lambda path: path.startswith("/direct"), lambda *_: None)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        plain,
        loop="none",
        http=connections(lambda: direct, limits),  # type: ignore[arg-type]
        ws=ws,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        yield Served(listening.getsockname()[1], door, server)
    finally:
        server.should_exit = True
        await task
        listening.close()


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    """A request's bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: here", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(path: str) -> bytes:
    """The head of a request whose body comes in chunks."""
    return f"POST {path} HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


async def test_one_after_another() -> None:
    """Requests of both ways share a connection, whether heads are new or known, and whole or in single bytes."""
    async with serving(CALM) as served, served.client() as client:
        for _ in range(3):
            client.send(post("/direct/a?b=c", b"xyz"))
            assert (await client.answer())[::2] == (202, b"/direct/a?b=c xyz")
        for byte in post("/direct/a", b"slow"):
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer())[2] == b"/direct/a? slow"
        client.send(post("/other", b"12345"))
        assert (await client.answer())[::2] == (200, b"plain 5")
        client.send(
            b"POST /direct/c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        )
        assert (await client.answer())[2] == b"/direct/c? abc"
        client.send(post("/direct/fail"))
        assert (await client.answer())[0] == 500
        client.send(post("/direct/a", b"", "Connection: close"))
        assert (await client.answer())[0] == 202
        assert await client.ended() == b""


async def test_a_head_is_known_by_all_of_its_bytes() -> None:
    """What ends like another's request, or stands before or behind one, does not make that read as something else."""
    other = post("/direct/other", b"hello")
    end = other.find(b"\r\n\r\n") + 4
    rest = post("/direct/evil", b"x" * 40)[:-40]
    ahead = [
        (b"POST /direct/evil HTTP/1.1\r\nX: ", other),
        (b"POST /direct/evil HTTP/1.1\r\nContent-Length: 50\r\nX-Who: nobody\r\n\r\n" + b"x" * 49, b"x" + other),
        (b"\r\n\r\n" + other,),
        # The second of two, of which the rest is to come, is as long as what stands behind the first one's head.
        (
            other[:end]
            + b"hello"
            + rest.replace(b"Content-Length: 40", b"Content-Length: %d" % (len(rest) + 9))
            + b"pass",
        ),
    ]
    async with serving(CALM) as served:
        for pieces in ahead:
            async with served.client() as client:
                for piece in pieces:
                    client.send(piece)
                    await asyncio.sleep(0.05)
                await client.answer()
            async with served.client() as client:
                client.send(other)
                assert (await client.answer())[2] == b"/direct/other? hello"


async def test_heads_that_differ_in_the_length_alone() -> None:
    """Bodies of every length are read whole behind one head; one length more, or none that can be, is as ever."""
    async with serving(CALM) as served:
        async with served.client() as client:
            for size in (3, 0, 12, 3, 4000):
                client.send(post("/direct/a", b"x" * size))
                assert (await client.answer())[2] == b"/direct/a? " + b"x" * size
            client.send(post("/direct/a", b"x" * 9) + post("/direct/a", b"y" * 11))
            assert (await client.answer())[2] == b"/direct/a? " + b"x" * 9
            assert (await client.answer())[2] == b"/direct/a? " + b"y" * 11
            client.send(post("/direct/a", b"", "X: Content-Length: 5"))
            assert (await client.answer())[2] == b"/direct/a? "
            client.send(post("/direct/a", b"xyz", "X: Content-Length: 5"))
            assert (await client.answer())[2] == b"/direct/a? xyz"
        known = post("/direct/a", b"12345")
        for length in (b"5\r\nContent-Length: 6", b"-5", b"5 5", b"+5", b"0x5", b"5,5"):
            async with served.client() as client:
                client.send(known.replace(b"Content-Length: 5", b"Content-Length: " + length))
                assert (await client.answer())[0] == 400


async def test_an_offer_to_speak_another_protocol_is_ignored() -> None:
    """A body behind the offer belongs to its request, on every path, in one piece or more, and is never read as one."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    async with serving(CALM) as served, served.client() as client:
        for path, answer in (("/direct/a", b"/direct/a? " + post("/direct/evil")), ("/other", b"plain 61")):
            text = post(path, post("/direct/evil"), *offer)
            for pieces in ((text,), (text[:-70], text[-70:]), (text[:-5], text[-5:])):
                for piece in pieces:
                    client.send(piece)
                    await asyncio.sleep(0.02)
                assert (await client.answer())[2] == answer
        client.send(b"GET /direct/a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + post("/direct/b", b"2"))
        assert (await client.answer())[0] == 405
        assert (await client.answer())[2] == b"/direct/b? 2"
        client.send(b"CONNECT /direct/a HTTP/1.1\r\n\r\n" + post("/direct/b"))
        assert (await client.answer())[0] == 400
        assert await client.ended() == b""


async def test_the_answer_to_a_head_request_is_only_a_head() -> None:
    """Its length is that of the body that another request would get, and the next answer follows at once."""
    async with serving(CALM) as served, served.client() as client:
        client.send(b"HEAD /direct/a HTTP/1.1\r\nHost: here\r\n\r\n" + post("/direct/b", b"2"))
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head == b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 6\r\n\r\n"
        assert (await client.answer())[2] == b"/direct/b? 2"


async def test_pipelining() -> None:
    """Answers come in the order of the requests, also when the first is ready last; of both ways."""
    async with serving(CALM) as served, served.client() as client:
        client.send(post("/direct/hold") + post("/direct/b", b"2") + post("/other", b"3") + post("/direct/d", b"4"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await served.door.came.wait()
        client.send(post("/direct/e", b"5"))
        served.door.held[0](Answer(202, b"1"))
        answers = [(await client.answer())[2] for _ in range(5)]
        assert answers == [b"1", b"/direct/b? 2", b"plain 1", b"/direct/d? 4", b"/direct/e? 5"]


async def test_thousands_of_requests_behind_one() -> None:
    """Those that are answered at once are, one after another and not one within another."""
    async with serving(CALM) as served, served.client() as client:
        client.send(post("/direct/hold"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await served.door.came.wait()
        client.send(b"GET /direct/a HTTP/1.1\r\n\r\n" * 3000 + post("/direct/last"))
        await asyncio.sleep(0.05)
        served.door.held[0](Answer(202, b"1"))
        assert [(await client.answer())[0] for _ in range(3002)] == [202, *[405] * 3000, 202]


async def test_thousands_of_requests_at_once() -> None:
    """Nobody waits until all that one client has sent in one piece is answered."""
    async with serving(CALM) as served, served.client() as many, served.client() as one:
        for client in (many, one):
            client.send(post("/direct/a"))
            assert (await client.answer())[0] == 202
        many.send(b"GET /direct/many HTTP/1.1\r\n\r\n" * 3000)
        one.send(b"GET /direct/one HTTP/1.1\r\n\r\n")
        assert [(await many.answer())[0] for _ in range(3000)] == [405] * 3000
        assert (await one.answer())[0] == 405
        asked = [path for path in served.door.asked if path != "/direct/a"]
        assert len(asked) == 3001
        assert asked.index("/direct/one") < 1000


async def test_no_more_is_taken_than_can_be_begun() -> None:
    """While requests that have come wait for their turn, none is read that would wait behind them."""
    async with serving(CALM) as served, served.client() as client:
        client.send(post("/direct/hold"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await served.door.came.wait()
        connection: Any = next(iter(served.server.server_state.connections))
        client.send(post("/direct/hold", b"x" * 400) * 4000)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not connection.pipeline:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        waiting = len(connection.pipeline)
        for turn in range(1, 4):
            served.door.held[-1](Answer(202, b"1"))
            await asyncio.sleep(0.05)
            assert len(connection.pipeline) == waiting - turn
        connection.transport.abort()


async def test_continue() -> None:
    """Who asks first is told to go on, or is told at once that it is useless, and then the connection ends."""
    async with serving(CALM) as served:
        async with served.client() as client:
            client.send(post("/direct/a", b"xyz", "Expect: 100-continue")[:-3])
            assert (await client.answer())[0] == 100
            client.send(b"xyz")
            assert (await client.answer())[2] == b"/direct/a? xyz"
        async with served.client() as client:
            client.send(post("/direct/a", b"xyz", "Expect: 100-continue", "X-Who: nobody")[:-3])
            status, headers, _ = await client.answer()
            assert (status, headers[b"connection"]) == (401, b"close")
            assert await client.ended() == b""


async def test_refused_bodies() -> None:
    """A small body of a refused request is passed over; one that is too large ends the connection, with its reason."""
    async with serving(CALM) as served:
        async with served.client() as client:
            client.send(post("/direct/a", b"xyz", "X-Who: nobody"))
            assert (await client.answer())[0] == 401
            client.send(b"GET /direct/a HTTP/1.1\r\nHost: h\r\n\r\n" + post("/direct/a", b"2"))
            assert (await client.answer())[0] == 405
            assert (await client.answer())[2] == b"/direct/a? 2"
        async with served.client() as client:
            client.send(chunked("/direct/a"))
            for _ in range(17):
                client.send(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
            status, headers, _ = await client.answer()
            assert (status, headers[b"connection"]) == (413, b"close")
            assert await client.ended() == b""


@pytest.mark.parametrize("path", ["/direct/a", "/other"])
async def test_slow_clients(path: str) -> None:
    """A head or a body that does not come in time is 408, on every path; a silent connection just ends."""
    async with serving(QUICK) as served:
        for begun in (post(path, b"xyz")[:-30], post(path, b"xyz")[:-1]):
            async with served.client() as client:
                client.send(begun)
                status, headers, _ = await client.answer()
                assert (status, headers[b"connection"]) == (408, b"close")
                assert await client.ended() == b""
        async with served.client() as client:
            assert await client.ended() == b""
        async with served.client() as client:
            client.send(post(path))
            assert (await client.answer())[0] in (200, 202)
            assert await client.ended() == b""


async def test_a_request_in_work_is_not_slow() -> None:
    """Only the client has deadlines: who has sent everything is answered, whenever that is."""
    async with serving(QUICK) as served, served.client() as client:
        client.send(post("/direct/hold"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await served.door.came.wait()
        await asyncio.sleep(6 * QUICK.head_seconds)
        served.door.held[0](Answer(202, b"late"))
        assert (await client.answer())[2] == b"late"


@pytest.mark.parametrize("path", ["/direct/a", "/other"])
async def test_large_heads_and_nonsense(path: str) -> None:
    """A head beyond the limit is 431, in one header or many, ended or not; what is not HTTP is 400."""
    many = [f"X-{number}: {'v' * 50}" for number in range(60)]
    unclear = f"POST {path} HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    cases = [
        (post(path, b"", "X: " + "v" * 3000), 431),
        (post(path, b"", *many), 431),
        (f"POST {path} HTTP/1.1\r\nX: ".encode() + b"v" * 3000, 431),
        (f"POST /{'u' * 3000}".encode(), 431),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (unclear, 400),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", 400),
    ]
    async with serving(QUICK) as served:
        for sent, status in cases:
            async with served.client() as client:
                client.send(sent)
                assert (await client.answer())[0] == status
                assert await client.ended() == b""


async def test_too_many_connections() -> None:
    """Who comes when there is no room is told so; there is room again when another has left."""
    async with serving(Limits(connections=1)) as served:
        async with served.client() as first:
            first.send(post("/direct/a"))
            assert (await first.answer())[0] == 202
            async with served.client() as second:
                status, headers, _ = await second.answer()
                assert (status, b"retry-after" in headers) == (503, True)
                assert await second.ended() == b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            status = 503
            while status == 503:
                async with served.client() as third:
                    third.send(post("/direct/a"))
                    status = (await third.answer())[0]
        assert status == 202


async def test_a_client_that_does_not_read() -> None:
    """Nothing more is taken from it than its answers leave room for, and in the end it is cut off."""
    async with serving(Limits(stalled_seconds=0.2, sweep_seconds=0.05)) as served:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(sock, ("127.0.0.1", served.port))
            async with asyncio.timeout(PATIENCE_SECONDS):
                with suppress(ConnectionError):
                    while True:
                        await loop.sock_sendall(sock, post("/direct/a", b"x" * 8000))
        finally:
            sock.close()


async def test_shutting_down() -> None:
    """A request in work is answered before its connection ends; others end at once."""
    async with serving(CALM) as served, served.client() as busy, served.client() as idle:
        busy.send(post("/direct/hold"))
        idle.send(post("/direct/a"))
        assert (await idle.answer())[0] == 202
        async with asyncio.timeout(PATIENCE_SECONDS):
            await served.door.came.wait()
        served.server.should_exit = True
        assert await idle.ended() == b""
        served.door.held[0](Answer(202, b"last"))
        status, headers, body = await busy.answer()
        assert (status, headers[b"connection"], body) == (202, b"close", b"last")
        assert await busy.ended() == b""
