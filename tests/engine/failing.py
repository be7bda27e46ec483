"""A MongoDB that fails on demand: the server's own failpoints, on a replica set of one of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rushlight.local.check import make_replica_set
from rushlight.local.layout import Layout
from rushlight.local.process import Child, spawn
from rushlight.local.servers import mongod_command, mongod_socket, mongod_url
from rushlight.settings import Settings
from rushlight.store.database import Database


class OwnMongod(NamedTuple):
    """A MongoDB of a test's own, to be frozen and killed."""

    url: str
    child: Child


@contextmanager
def failing_mongod(data: Path) -> Iterator[str]:
    """Start it; gives its URL."""
    with own_mongod(data) as mongod:
        yield mongod.url


@contextmanager
def own_mongod(data: Path) -> Iterator[OwnMongod]:
    """Start it; gives its URL and its process."""
    settings = Settings(data=str(data))
    layout = Layout(settings.path)
    layout.prepare()
    command = [*mongod_command(settings, layout), "--setParameter", "enableTestCommands=1"]
    child = spawn("mongod", command, log=data / "mongod.log")
    try:
        make_replica_set(mongod_socket(layout))
        yield OwnMongod(mongod_url(layout), child)
    finally:
        child.kill()


@asynccontextmanager
async def failing(database: Database, mode: Any, **data: Any) -> AsyncIterator[None]:
    """Let the commands of clients with this database's application name fail.

    Args:
        mode: ``{"times": 2}``, ``{"skip": 3}``, ``"alwaysOn"``.
        data: what ``failCommand`` takes: failCommands, errorCode, closeConnection, writeConcernError, appName …
    """
    admin = database.client.admin
    await admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
    try:
        yield
    finally:
        await admin.command({"configureFailPoint": "failCommand", "mode": "off"})
