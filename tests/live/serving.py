"""A gateway behind a real server, and a viewer that speaks Socket.IO by hand and sees every byte."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from rushlight.live.gateway import Gateway
from rushlight.query.figures import Figures
from rushlight.settings import Settings
from rushlight.store.database import Database

MAX_WEBSOCKET_BYTES = 16 * 1024

Frame = dict[str, Any]


class Served(NamedTuple):
    """Where a gateway is reached, and itself."""

    gateway: Gateway
    port: int

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(database: Database, settings: Settings) -> AsyncIterator[Served]:
    """A gateway on a free port, with the server and options of the product."""
    gateway = Gateway(Figures(database, settings), settings.redis_url or "")
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        gateway.asgi,
        interface="asgi3",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=MAX_WEBSOCKET_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield Served(gateway, listening.getsockname()[1])
    finally:
        await gateway.stop()
        server.should_exit = True
        await running
        listening.close()


class RawViewer:
    """A viewer that keeps frames as they were sent."""

    def __init__(self, connection: ClientConnection, namespace: str) -> None:
        self.connection = connection
        self._address = "" if namespace == "/" else f"{namespace},"

    async def enter(self, shop: str) -> None:
        """Go through both handshakes."""
        assert str(await self.connection.recv()).startswith("0{")
        await self.connection.send(f"40{self._address}" + json.dumps({"shop": shop}))
        assert str(await self.connection.recv()).startswith(f"40{self._address}{{")

    async def text(self) -> str:
        """The next frame, undecoded; pings are answered."""
        prefix = f'42{self._address}["analyticsUpdate",'
        while True:
            message = str(await self.connection.recv())
            if message == "2":
                await self.connection.send("3")
            elif message.startswith(prefix):
                return message.removeprefix(prefix).removesuffix("]")

    async def frame(self) -> Frame:
        """The next frame."""
        found: Frame = json.loads(await self.text())
        return found

    async def until(self, key: str, value: Any) -> Frame:
        """The first frame in which a figure has a value."""
        while True:
            frame = await self.frame()
            if key in frame and frame[key] == value:
                return frame

    async def resync(self) -> None:
        """Ask for a snapshot."""
        await self.connection.send(f'42{self._address}["resync"]')


@asynccontextmanager
async def viewer(
    served: Served, *, namespace: str = "/live", shop: str = "default", origin: str | None = None
) -> AsyncIterator[RawViewer]:
    """A viewer over WebSocket."""
    address = f"ws://127.0.0.1:{served.port}/socket.io/?EIO=4&transport=websocket"
    async with connect(address, origin=Origin(origin) if origin else None, max_size=None) as connection:
        raw = RawViewer(connection, namespace)
        await raw.enter(shop)
        yield raw
