"""A client outlives what its server goes through when it starts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import PyMongoError

from rushlight.local import binaries
from rushlight.local.process import spawn
from rushlight.store.database import Document, connect_client

PATIENCE_SECONDS = 60.0


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[Path]:
    """The socket of a mongod that belongs to a replica set and has not become readable."""
    data = tmp_path / "mongo"
    data.mkdir()
    socket = Path("/tmp") / f"{tmp_path.parent.name[-6:]}-{tmp_path.name[-12:]}.sock"
    command = [
        *(str(binaries.mongod()), "--dbpath", str(data), "--replSet", "one", "--nounixsocket"),
        *("--bind_ip", str(socket), "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"),
    ]
    child = spawn("mongod", command, log=tmp_path / "mongod.log")
    try:
        yield socket
    finally:
        child.kill()


async def test_connections_from_before_a_server_was_readable(starting: Path) -> None:
    """Sessions work on the same client once the server has become primary, however early it was asked."""
    escaped = str(starting).replace("/", "%2F")
    url = f"mongodb://{escaped}/?directConnection=true"
    client = connect_client(url, "test")
    try:
        await _eventually(client)
        with pymongo.MongoClient[Document](url) as admin:
            member = {"_id": 0, "host": str(starting)}
            admin.admin.command("replSetInitiate", {"_id": "one", "members": [member]})
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                async with client.start_session() as session:
                    await client["test"]["things"].insert_one({"a": 1}, session=session)
                break
            except PyMongoError:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.1)
    finally:
        await client.close()


async def _eventually(client: pymongo.AsyncMongoClient[Document]) -> None:
    """Several connections at once, to a server that says that it has no sessions."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            await asyncio.gather(*(client.admin.command("ping") for _ in range(5)))
        except PyMongoError:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.1)
        else:
            return
