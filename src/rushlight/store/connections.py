"""Connections made while a server could not be read are not kept: to them it would never have sessions.

The driver asks a server once for each connection whether it has sessions, when the connection is made. A replica set's
member that is starting says that it has none, and a client that is bound to one member (``directConnection``, as the
embedded server's is) connects to it all the same. Such a connection fails every operation of a session from then on,
and because it answers it would be kept.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.monitoring import (
    ServerClosedEvent,
    ServerDescriptionChangedEvent,
    ServerListener,
    ServerOpeningEvent,
)


class Readable(ServerListener):
    """Drops a client's pooled connections whenever a server of it becomes readable."""

    def __init__(self) -> None:
        self._client: AsyncMongoClient[Any] | None = None
        self._dropping: set[asyncio.Task[None]] = set()

    def of(self, client: AsyncMongoClient[Any]) -> None:
        """Whose connections these are."""
        self._client = client

    def description_changed(self, event: ServerDescriptionChangedEvent) -> None:
        """A server was heard of anew."""
        if event.new_description.is_readable and not event.previous_description.is_readable:
            task = asyncio.get_running_loop().create_task(self._drop(event.server_address))
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)

    async def _drop(self, address: Any) -> None:
        # There is no public way to do this; connections in use are closed when they are given back.
        topology = self._client._topology if self._client is not None else None  # noqa: SLF001
        server = topology._servers.get(address) if topology is not None else None  # noqa: SLF001
        if server is not None:
            await server.pool.reset_without_pause()

    def opened(self, event: ServerOpeningEvent) -> None:
        """A server became known; nothing is pooled yet."""

    def closed(self, event: ServerClosedEvent) -> None:
        """A server is forgotten, with its connections."""
