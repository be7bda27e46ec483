"""Connections go from one process to another: the descriptor and what has been read of it, in one message of a channel.

The channel is a pair of connected sockets that a supervisor makes and both processes inherit, so that it outlives
either: what waits in it while the one that adopts is away finds the next. A descriptor in a message is closed by the
system when the channel is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
from collections.abc import Callable

logger = logging.getLogger(__name__)

INLINE_BYTES = 32 << 10
MOST_AT_ONCE = 64
MAX_DESCRIPTORS = 2


class Passage:
    """The sending end.

    Attributes:
        passed: how many connections have gone through.
    """

    def __init__(self, sending: socket.socket) -> None:
        self._sending = sending
        self.passed = 0

    def send(self, descriptor: int, text: bytes) -> bool:
        """Give a connection away; the caller's own descriptor is to be closed, and not shut down, afterwards.

        Args:
            text: what has been read of it and not been answered.

        Returns:
            False when there is no room for it now.
        """
        try:
            if len(text) <= INLINE_BYTES:
                socket.send_fds(self._sending, [text], [descriptor])
            else:
                with tempfile.TemporaryFile() as file:
                    file.write(text)
                    file.flush()
                    socket.send_fds(self._sending, [b"\0"], [descriptor, file.fileno()])
        except OSError as error:
            logger.warning("a connection could not be passed on: %s", error)
            return False
        self.passed += 1
        return True


class Adoption:
    """The receiving end: each connection goes on as if this process had accepted it.

    Args:
        make: gives a new connection's protocol.
    """

    def __init__(self, receiving: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        self._receiving = receiving
        self._make = make
        self._adopting: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Take what waits, and what comes."""
        asyncio.get_running_loop().add_reader(self._receiving, self._receive)

    async def stop(self) -> None:
        """Leave what comes to the next process."""
        asyncio.get_running_loop().remove_reader(self._receiving)
        await asyncio.gather(*self._adopting)

    def _receive(self) -> None:
        for _ in range(MOST_AT_ONCE):
            try:
                text, descriptors, _, _ = socket.recv_fds(
                    self._receiving, INLINE_BYTES, MAX_DESCRIPTORS, getattr(socket, "MSG_CMSG_CLOEXEC", 0)
                )
            except OSError:  # nothing is left
                return
            if not text:  # every process that could send has ended
                asyncio.get_running_loop().remove_reader(self._receiving)
                return
            if not descriptors:  # this process has as many as it may, and the system has closed it
                logger.warning("a connection that was passed on is lost: too many open files")
                continue
            adopting = asyncio.create_task(self._adopt(text, descriptors))
            self._adopting.add(adopting)
            adopting.add_done_callback(self._adopting.discard)

    async def _adopt(self, text: bytes, descriptors: list[int]) -> None:
        connection = socket.socket(fileno=descriptors[0])
        try:
            if len(descriptors) > 1:
                text = _contents(descriptors[1])
            transport, first = await asyncio.get_running_loop().connect_accepted_socket(_First, connection)
        except Exception as error:  # noqa: BLE001 - whatever ails one connection, the others go on
            logger.warning("a connection that was passed on is lost: %s", error)
            connection.close()
            return
        first.go_on(transport, self._make(), text)


class _First(asyncio.Protocol):
    """Holds what comes of its own before what has been read elsewhere is in its place."""

    def __init__(self) -> None:
        self._come = b""
        self._ended = self._lost = False

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self._come += data

    def eof_received(self) -> bool:
        """Note it, and stay open."""
        self._ended = True
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        """The client has left."""
        self._lost = True

    def go_on(self, transport: asyncio.Transport, protocol: asyncio.Protocol, text: bytes) -> None:
        """Give it all to its protocol."""
        if self._lost:
            return
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(text + self._come)
        if self._ended and not transport.is_closing() and not protocol.eof_received():
            transport.close()


def _contents(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
