"""A request that is for another process goes there with its connection, byte for byte, and is answered in its turn."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvloop

from rushlight.ingest.request import Answer
from rushlight.local.doors import _channel
from rushlight.serving.connection import connections
from rushlight.serving.direct import Direct
from rushlight.serving.handover import Adoption, Passage
from rushlight.serving.limits import Limits
from rushlight.serving.passing import Passing
from tests.serving.test_connection import (
    CALM,
    PATIENCE_SECONDS,
    QUICK,
    Client,
    FakeDoor,
    chunked,
    connected,
    plain,
    post,
)

GET = b"GET /board HTTP/1.1\r\nHost: here\r\n\r\n"


class Pair:
    """One server that passes on and one that adopts, and the door that both have."""

    def __init__(
        self, port: int, door: FakeDoor, front: uvicorn.Server, back: uvicorn.Server, passage: Passage
    ) -> None:
        self.port, self.door, self.front, self.back, self.passage = port, door, front, back, passage
        self.adoption: Adoption | None = None

    def client(self) -> AbstractAsyncContextManager[Client]:
        """A connection to the one that passes on."""
        return connected(self.port)

    def held(self) -> int:
        """Connections of both."""
        return len(self.front.server_state.connections) + len(self.back.server_state.connections)


@asynccontextmanager
async def pair(limits: Limits = CALM, *, adopting: bool = True) -> AsyncIterator[Pair]:
    """Both for as long as the block lasts."""
    sending, receiving = _channel()
    door, passage = FakeDoor(), Passage(sending)
    direct = Direct(door, lambda path: path.startswith("/direct"), lambda *_: None)
    kind = partial(Passing, passage, lambda path: path.startswith("/direct"))
    servers: list[tuple[uvicorn.Server, socket.socket]] = []
    for each in (kind, None):
        config = uvicorn.Config(
            plain,
            loop="none",
            http=connections(lambda: direct, limits, each),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
        )
        servers.append((uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))))
    (front, listening), (back, _) = servers
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)  # so that a client that does not read is felt
    tasks = [asyncio.create_task(server.serve(sockets=[each])) for server, each in servers]
    both = Pair(listening.getsockname()[1], door, front, back, passage)

    def made() -> Any:
        return back.config.http_protocol_class(
            config=back.config,
            server_state=back.server_state,
            app_state={},  # type: ignore[call-arg]
        )

    both.adoption = Adoption(receiving, made)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (front.started and back.started):  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        if adopting:
            both.adoption.start()
        yield both
    finally:
        await both.adoption.stop()
        front.should_exit = back.should_exit = True
        await asyncio.gather(*tasks)
        for held in (sending, receiving, *(each for _, each in servers)):
            held.close()


# What a client sends, and what it is told.
TALKS: list[tuple[bytes, list[bytes]]] = [
    (GET, [b"plain 0"]),
    (b"\r\n\r\n" + GET + GET, [b"plain 0", b"plain 0"]),
    (post("/direct/a", b"x") + GET + post("/direct/b", b"y"), [b"/direct/a? x", b"plain 0", b"/direct/b? y"]),
    (post("/board", b"b" * 1000) + post("/direct/a"), [b"plain 1000", b"/direct/a? "]),
    (
        chunked("/direct/a")
        + b"3;note=1\r\na\nb\r\n1\r\n\n\r\n0\r\nX: y\r\n\r\n"
        + chunked("/board")
        + b"2\r\nxy\r\n0\r\n\r\n",
        [b"/direct/a? a\nb\n", b"plain 2"],
    ),
    (
        post("/direct/a", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", "Upgrade: h2c", "Connection: Upgrade") + GET,
        [b"/direct/a? \r\n\r\nGET / HTTP/1.1\r\n\r\n", b"plain 0"],
    ),
]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_however_it_comes(run: Callable[[Any], None]) -> None:
    """Kept alive, pipelined, with bodies of known length or in chunks, whole or cut anywhere: each gets its answer."""

    async def talked() -> None:
        rolled = random.Random(1)
        async with pair() as both:
            for text, answers in TALKS:
                for pieces in (1, 2, 2, 2, 3, 3, 3, 1000):
                    cuts = sorted({0, len(text), *(rolled.randrange(len(text)) for _ in range(pieces - 1))})
                    async with both.client() as client:
                        for start, end in pairwise(cuts):
                            client.send(text[start:end])
                            await asyncio.sleep(0)
                        assert [(await client.answer())[2] for _ in answers] == answers, cuts
            assert both.passage.passed == 8 * len(TALKS)

    run(talked())


async def test_only_after_the_last_answer() -> None:
    """Behind a request that is not answered yet, nothing is passed on; what comes meanwhile is kept."""
    async with pair() as both, both.client() as client:
        client.send(post("/direct/hold", b"x") + post("/direct/b") + GET[:20])
        await both.door.came.wait()
        client.send(GET[20:] + post("/direct/c"))
        await asyncio.sleep(0.05)
        assert both.passage.passed == 0
        both.door.held.pop()(Answer(202, b"held"))
        assert [(await client.answer())[2] for _ in range(4)] == [b"held", b"/direct/b? ", b"plain 0", b"/direct/c? "]
        assert both.passage.passed == 1


async def test_more_than_a_message_holds() -> None:
    """A body that came with its head, larger than what fits beside a descriptor."""
    async with pair() as both, both.client() as client:
        client.send(post("/direct/hold") + post("/board", b"z" * 300_000) + GET)
        await both.door.came.wait()
        await asyncio.sleep(0.05)
        both.door.held.pop()(Answer(202, b"held"))
        assert [(await client.answer())[2] for _ in range(3)] == [b"held", b"plain 300000", b"plain 0"]


async def test_answers_that_have_not_left() -> None:
    """A client that reads slowly gets all of an answer before the next one begins."""
    large = b"l" * 3_000_000
    async with pair() as both, both.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(post("/direct/hold") + GET)
        await both.door.came.wait()
        both.door.held.pop()(Answer(202, large))
        await asyncio.sleep(0.05)
        assert both.passage.passed == 0
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await client.answer())[2] == large
        assert (await client.answer())[2] == b"plain 0"


async def test_while_the_other_is_away() -> None:
    """What was passed on waits for whoever adopts next; a client that leaves meanwhile is nobody's any more."""
    async with pair(adopting=False) as both:
        async with both.client() as client, both.client() as left:
            client.send(GET + GET)
            left.send(GET)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while both.passage.passed < 2 or both.held():  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.01)
            left.writer.close()
            assert both.adoption is not None
            both.adoption.start()
            assert [(await client.answer())[2] for _ in range(2)] == [b"plain 0"] * 2
        async with asyncio.timeout(PATIENCE_SECONDS):
            while both.held():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


async def test_nobody_is_left_to_pass_on() -> None:
    """When the last process that could send has ended the other listens no more; it goes on with what it has."""
    async with pair() as both, both.client() as client:
        client.send(GET)
        assert (await client.answer())[2] == b"plain 0"
        both.passage._sending.close()
        assert both.adoption is not None
        receiving = both.adoption._receiving
        async with asyncio.timeout(PATIENCE_SECONDS):
            while asyncio.get_running_loop()._selector.get_map().get(receiving):  # type: ignore[attr-defined] # noqa: ASYNC110
                await asyncio.sleep(0.01)
        client.send(GET)
        assert (await client.answer())[2] == b"plain 0"


async def test_no_room() -> None:
    """When no more can wait a client is told to come again; what waited and was never adopted is closed at the end."""
    before = _open_files()
    async with pair(adopting=False) as both, both.client() as first:
        first.send(GET)
        while both.passage.passed == 0:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        with Path(os.devnull).open("rb") as nothing:  # noqa: ASYNC230 - it is not read
            while both.passage.send(nothing.fileno(), b"x" * 30_000):
                pass
        async with both.client() as client:
            client.send(GET)
            status, headers, _ = await client.answer()
            assert (status, b"retry-after" in headers, headers[b"connection"]) == (503, True, b"close")
            assert await client.ended() == b""
        async with both.client() as client:
            client.send(post("/direct/a"))
            assert (await client.answer())[0] == 202
    assert await first.ended() == b""
    assert _open_files() == before


async def test_limits_hold_on_both_sides() -> None:
    """A head that is slow or too long never leaves; a body that is slow has its time where it is read."""
    async with pair(QUICK) as both:
        for text in (b"GET /board HTTP/1.1\r\nHo", b"GET /board HTTP/1.1\r\nA: " + b"a" * 5000 + b"\r\n\r\n"):
            async with both.client() as client:
                client.send(text)
                assert (await client.answer())[0] in {408, 431}
        assert both.passage.passed == 0
        async with both.client() as client:
            client.send(post("/board", b"1234")[:-1])
            assert (await client.answer())[0] == 408
        assert both.passage.passed == 1


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
