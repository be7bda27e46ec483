"""A bad network between two programs: one address in front of a server that delays, swallows, cuts, slices, throttles.

It runs in a process of its own (``python -m tests.faults.proxy NAME=UPSTREAM …``) and is told by lines of JSON on its
standard input; each is answered with one line, the first line says where each link listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import Literal

import msgspec

CHUNK_BYTES = 64 * 1024
QUEUED_CHUNKS = 256
RESET_AT_CLOSE = struct.pack("ii", 1, 0)

Direction = Literal["up", "down"]


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """How a link treats what passes.

    Attributes:
        delay: seconds that every byte is under way, each direction.
        hold: directions in which nothing arrives (``up`` is towards the server); it arrives once that ends, as
            retransmitted packets do.
        refuse: new connections are reset at once, and those that exist are when this begins.
        slice: bytes that arrive at a time; 0: as they came.
        rate: bytes a second in each direction of each connection; 0: no limit.
        mark: what a message contains on which ``at_mark`` happens to its connection.
        at_mark: ``before``: reset, the server never sees it; ``after``: the server does it, its reply is lost in a
            reset; ``hold``: from this message on nothing gets to the server until the weather is fine again.
        marks: how often ``at_mark`` happens at most.
    """

    delay: float = 0.0
    hold: tuple[Direction, ...] = ()
    refuse: bool = False
    slice: int = 0
    rate: int = 0
    mark: str = ""
    at_mark: Literal["", "before", "after", "hold"] = ""
    marks: int = 1 << 30


FINE = Weather()


class Order(msgspec.Struct, kw_only=True):
    """One line of input: the link, and its new weather, its new server, or both; ``reset`` cuts what is connected."""

    link: str
    weather: Weather | None = None
    upstream: str | None = None
    reset: bool = False


class Report(msgspec.Struct, kw_only=True):
    """One line of output: the ports of all links, and of the link that was told: connections, marks that were met."""

    ports: dict[str, int]
    connections: int = 0
    marked: int = 0


class Link:
    """One address in front of one server.

    Args:
        upstream: ``HOST:PORT`` or the path of a unix socket.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.weather = FINE
        self.marked = 0
        self.port = 0
        self.connections: set[Connection] = set()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def turn(self, weather: Weather) -> None:
        """Change the weather; what was held and is not any more goes on its way."""
        self.weather, self.marked = weather, 0
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if weather.refuse:
            self.reset()

    def reset(self) -> None:
        """Cut every connection."""
        for connection in list(self.connections):
            connection.reset()

    async def change(self) -> None:
        """Wait until the weather changes."""
        await self._changed.wait()

    async def close(self) -> None:
        """Stop listening and cut all."""
        if self._server is not None:
            self._server.close()
        self.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.weather.refuse:
            _reset(writer)
            return
        try:
            there = await _connect(self.upstream)
        except OSError:
            _reset(writer)
            return
        connection = Connection(self, (reader, writer), there)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)


class Connection:
    """One client's connection, with the one that was made for it."""

    def __init__(
        self,
        link: Link,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._link = link
        self._client, self._server = client, server
        self._tasks: list[asyncio.Task[None]] = []
        self._stuck = False
        self._lose_reply = False

    async def run(self) -> None:
        """Until either side is gone."""
        up: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)
        down: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)
        jobs = [
            self._read(self._client[0], up),
            self._write("up", up, self._server[1]),
            self._read(self._server[0], down),
            self._write("down", down, self._client[1]),
        ]
        self._tasks = [asyncio.create_task(job) for job in jobs]
        try:
            await asyncio.gather(*self._tasks)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # whichever side ended, or the cut, ends both
        finally:
            self.reset()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Both sides see a reset."""
        for task in self._tasks:
            task.cancel()
        for _, writer in (self._client, self._server):
            _reset(writer)

    async def _read(self, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        while chunk := await reader.read(CHUNK_BYTES):
            await queue.put((loop.time(), chunk))
        await queue.put((loop.time(), b""))

    async def _write(
        self, way: Direction, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            came, chunk = await queue.get()
            if way == "up" and self._met(chunk):
                raise EOFError
            if way == "down" and self._lose_reply:
                raise EOFError
            if (wait := came + self._link.weather.delay - loop.time()) > 0:
                await asyncio.sleep(wait)
            while way in self._link.weather.hold or (way == "up" and self._stuck):
                await self._link.change()
                self._stuck = False
            if not chunk:
                raise EOFError
            await self._pass(chunk, writer)

    def _met(self, chunk: bytes) -> bool:
        """Whether this message is where the connection is to be cut; notes what else is to happen to it."""
        weather, link = self._link.weather, self._link
        if not weather.at_mark or link.marked >= weather.marks or weather.mark.encode() not in chunk:
            return False
        link.marked += 1
        self._stuck = weather.at_mark == "hold"
        self._lose_reply = weather.at_mark == "after"
        return weather.at_mark == "before"

    async def _pass(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        weather = self._link.weather
        size = weather.slice or (min(len(chunk), max(1, weather.rate // 20)) if weather.rate else len(chunk))
        for start in range(0, len(chunk), size):
            piece = chunk[start : start + size]
            writer.write(piece)
            await writer.drain()
            if size < len(chunk):
                await asyncio.sleep(len(piece) / weather.rate if weather.rate else 0)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of a farewell."""
    connected = writer.get_extra_info("socket")
    if connected is not None and connected.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    writer.transport.abort()


async def _connect(upstream: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if upstream.startswith("/"):
        return await asyncio.open_unix_connection(upstream)
    host, _, port = upstream.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _serve(links: dict[str, Link]) -> None:
    for link in links.values():
        await link.open()
    ports = {name: link.port for name, link in links.items()}
    _say(Report(ports=ports))
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        order = msgspec.json.decode(line, type=Order)
        link = links[order.link]
        link.upstream = order.upstream or link.upstream
        if order.weather is not None:
            link.turn(order.weather)
        if order.reset:
            link.reset()
        _say(Report(ports=ports, connections=len(link.connections), marked=link.marked))


def _say(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(_serve({name: Link(upstream) for name, _, upstream in (a.partition("=") for a in sys.argv[1:])}))
