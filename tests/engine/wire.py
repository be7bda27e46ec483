"""The wire between a client and one MongoDB, on which answers get lost: a command was done, and nobody hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from pymongo.uri_parser import parse_uri

CHUNK_BYTES = 1 << 16
# How a command's first field begins in BSON: its type (string or 32-bit number) and its name.
NEEDLES = {"insert": b"\x02insert\0", "update": b"\x02update\0", "commitTransaction": b"\x10commitTransaction\0"}


class Wire:
    """Passes everything on, but for the answers to some commands: then the connection breaks instead.

    Attributes:
        lost: how many answers were lost.
    """

    def __init__(self, upstream: str) -> None:
        self._host, self._port = parse_uri(upstream)["nodelist"][0]
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._needle, self._times = b"", 0
        self.lost = 0

    @property
    def url(self) -> str:
        """Where a client finds it."""
        assert self._server is not None
        return f"mongodb://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/?directConnection=true"

    def lose(self, command: str, times: int) -> None:
        """Lose the answers to the next commands of this name."""
        self._needle, self._times = NEEDLES[command], times

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        """Break every connection and listen no more."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        local = self._host.startswith("/")
        opening = asyncio.open_unix_connection(self._host) if local else asyncio.open_connection(self._host, self._port)
        upstream, sink = await opening
        cut = asyncio.Event()
        pipes = [asyncio.create_task(self._ask(reader, sink, cut)), asyncio.create_task(_answer(upstream, writer, cut))]
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
            self.lost += cut.is_set() and pipes[1].done()
        finally:
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            for end in (writer, sink):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    async def _ask(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        tail = b""
        while data := await source.read(CHUNK_BYTES):
            if self._times and self._needle in tail + data:
                self._times -= 1
                cut.set()
            tail = data[-len(self._needle) :]
            sink.write(data)
            await sink.drain()


async def _answer(source: asyncio.StreamReader, sink: asyncio.StreamWriter, cut: asyncio.Event) -> None:
    while data := await source.read(CHUNK_BYTES):
        if cut.is_set():
            return
        sink.write(data)
        await sink.drain()


@asynccontextmanager
async def wire(upstream: str) -> AsyncIterator[Wire]:
    """A wire to a MongoDB for as long as the block runs."""
    between = Wire(upstream)
    await between.start()
    try:
        yield between
    finally:
        await between.close()
