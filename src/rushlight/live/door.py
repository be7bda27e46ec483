"""One WebSocket call as an ASGI server makes it, which can be ended although its peer takes nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TRY_AGAIN_LATER = 1013


class Door:
    """Stands between the server and the Socket.IO application.

    Once it is shut, the application hears that the peer is gone, and what it is about to send ends at once.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._shut: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sender: asyncio.Task[Any] | None = None

    def shut(self) -> None:
        """End the call from this side."""
        if not self._shut.done():
            self._shut.set_result(None)
            if self._sender is not None:
                self._sender.cancel()

    async def receive(self) -> Message:
        """The peer's next message, or its leaving."""
        arriving = asyncio.ensure_future(self._receive())
        either: set[asyncio.Future[Any]] = {arriving, self._shut}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._shut.done():
                return {"type": "websocket.disconnect", "code": TRY_AGAIN_LATER}
            return arriving.result()
        finally:
            if not arriving.done():
                arriving.cancel()
                with suppress(asyncio.CancelledError):
                    await arriving

    async def send(self, message: Message) -> None:
        """Send, unless the door is shut.

        Raises:
            OSError: it is.
        """
        if self._shut.done():
            raise OSError("this socket was given up")
        self._sender = asyncio.current_task()
        try:
            await self._send(message)
        finally:
            self._sender = None
