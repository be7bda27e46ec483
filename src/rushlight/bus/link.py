"""One Redis connection that is remade when needed; an error or a missed deadline closes it, so replies never mix up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hiredis import PushNotification, Reader
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from rushlight.errors import Unavailable

CONNECT_TIMEOUT_SECONDS = 1.0
READ_BYTES = 64 << 10
_UNFINISHED = object()


class Link:
    """A single connection; callers take turns.

    redis-py makes it (TLS, passwords, sockets, databases); what is then said on it goes past its commands, which would
    cost more for each reply than the reply.

    Attributes:
        replication_id: the server's ``master_replid``, read at each connect; it changes when another server, or the
            same one after a restart, answers.
    """

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=None,  # one deadline for a whole exchange instead of one for every reply
            single_connection_client=False,
        )
        self._connection: AbstractConnection | None = None
        self._reader = _reader()  # of the connection's replies, made anew with it
        self._turn = asyncio.Lock()
        self.replication_id = ""

    async def call(self, *commands: Sequence[bytes | str | int], timeout_seconds: float) -> list[Any]:
        """Send commands in one write and return their replies in order; an error reply is returned, not raised.

        Raises:
            Unavailable: no connection, or no full answer in time; what was sent may have been done.
        """
        return await self.exchange(b"".join(map(pack, commands)), len(commands), timeout_seconds=timeout_seconds)

    async def exchange(self, packed: bytes, replies: int, *, timeout_seconds: float) -> list[Any]:
        """The same for commands that are packed already (see `pack`)."""
        try:
            async with asyncio.timeout(timeout_seconds), self._turn:
                return await self._exchange(packed, replies)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"Redis does not answer: {str(error) or type(error).__name__}") from error

    async def _exchange(self, packed: bytes, replies: int) -> list[Any]:
        # Only who has the turn may close: one that is cancelled while it waits must not take another's connection.
        try:
            connection = self._connection or await self._connect()
            return await self._say(connection, packed, replies)
        except BaseException:  # failed or cancelled in mid-reply: what comes next on it would answer something else
            await self.close()
            raise

    async def close(self) -> None:
        """Drop the connection; the next call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _connect(self) -> AbstractConnection:
        connection: AbstractConnection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection = connection  # from here on `close` drops it, also when it never gets ready
        await connection.connect()  # type: ignore[no-untyped-call]
        self._reader = _reader()
        (info,) = await self._say(connection, pack(("INFO", "replication")), 1)
        text = info.decode() if isinstance(info, bytes) else ""
        self.replication_id = text.partition("master_replid:")[2][:40]
        return connection

    async def _say(self, connection: AbstractConnection, packed: bytes, count: int) -> list[Any]:
        stream, writer, reader = connection._reader, connection._writer, self._reader  # noqa: SLF001
        if stream is None or writer is None:
            raise ConnectionResetError("the connection is closed")
        try:
            writer.write(packed)
        except RuntimeError as error:  # uvloop's word for a transport that the other side has closed
            raise ConnectionResetError(str(error)) from error
        replies: list[Any] = []
        while len(replies) < count:
            reply = reader.gets()
            if reply is _UNFINISHED:
                data = await stream.read(READ_BYTES)
                if not data:
                    raise ConnectionResetError("the server has closed the connection")
                reader.feed(data)
            elif not isinstance(reply, PushNotification):  # which answers nothing
                replies.append(reply)
        return replies


def _reader() -> Reader:
    return Reader(protocolError=InvalidResponse, replyError=ResponseError, notEnoughData=_UNFINISHED)


def pack(command: Sequence[bytes | str | int]) -> bytes:
    """One command in RESP, as bytes."""
    return pack_head(len(command)) + b"".join(map(pack_part, command))


def pack_head(parts: int) -> bytes:
    """What a command of so many parts begins with."""
    return b"*%d\r\n" % parts


def pack_part(part: bytes | str | int) -> bytes:
    """One part of a command."""
    data = part if isinstance(part, bytes) else str(part).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)
