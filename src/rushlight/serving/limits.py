"""What a connection may take: time, bytes and company. One timer watches over all connections of a process."""

from __future__ import annotations

import asyncio
import resource
from typing import Protocol

import msgspec

MAX_CONNECTIONS = 10_000
SPARE_DESCRIPTORS = 128


def _connections() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MAX_CONNECTIONS, soft - SPARE_DESCRIPTORS))
    )


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of every connection of a server.

    Attributes:
        head_seconds: for a request's head, from its first byte; and for the first byte after the connection.
        body_seconds: for the body, from the end of the head.
        idle_seconds: between requests. stalled_seconds: with answers that nobody reads.
        linger_seconds: for the rest of what is sent after a refusal, so that the refusal arrives.
        head_bytes: of request line and headers. connections: at the same time, WebSockets among them.
        sweep_seconds: how often the above are looked at.
    """

    head_seconds: float = 10.0
    body_seconds: float = 10.0
    idle_seconds: float = 65.0
    stalled_seconds: float = 30.0
    linger_seconds: float = 2.0
    head_bytes: int = 32 << 10
    connections: int = msgspec.field(default_factory=_connections)
    sweep_seconds: float = 1.0


class Watched(Protocol):
    """A connection."""

    def check(self, now: float, /) -> None:
        """End it if it has used up its time."""


class Sweep:
    """Looks at every connection every second: cheaper than a timer for each request."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: Watched) -> None:
        """Look at a connection from now on."""
        self._watched.add(watched)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def discard(self, watched: Watched) -> None:
        """Look at it no more."""
        self._watched.discard(watched)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._look)
        for watched in list(self._watched):
            watched.check(loop.time())
