"""The peers' MongoDB and Valkey are the ones Rushlight embeds: same programs, same flags, same unix sockets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
import redis

from benchmarks.processes import Child
from rushlight.local import servers
from rushlight.local.layout import Layout
from rushlight.settings import Settings

READY_SECONDS = 60.0
REDIS_MEMORY_MB = 1024

Client = pymongo.MongoClient[dict[str, Any]]


@dataclass
class Servers:
    """One MongoDB replica set of one node and one Valkey."""

    layout: Layout
    mongod: Child
    valkey: Child

    @classmethod
    def start(cls, data: Path) -> Servers:
        """Start both under ``data`` and wait until they take writes."""
        settings = Settings(data=str(data), redis_memory_mb=REDIS_MEMORY_MB)
        layout = Layout(data)
        layout.prepare()
        valkey = Child("valkey", servers.valkey_command(settings, layout), layout.log_of("valkey"))
        mongod = Child("mongod", servers.mongod_command(settings, layout), layout.log_of("mongod"))
        started = cls(layout, mongod, valkey)
        try:
            started.wait()
        except BaseException:
            started.stop()
            raise
        return started

    def wait(self) -> None:
        """Until Valkey answers and MongoDB, made a replica set, takes writes."""
        with redis.Redis(unix_socket_path=str(servers.valkey_socket(self.layout))) as client:
            self.valkey.wait_until(lambda: _answers(client), READY_SECONDS)
        member = {"_id": 0, "host": str(servers.mongod_socket(self.layout))}
        with Client(servers.mongod_url(self.layout)) as first:
            self.mongod.wait_until(lambda: _pings(first), READY_SECONDS)
            first.admin.command("replSetInitiate", {"_id": servers.REPLICA_SET, "members": [member]})
        # A client that knew the server before it had a replica set goes on believing that it has no sessions.
        with Client(servers.mongod_url(self.layout)) as second:
            self.mongod.wait_until(lambda: bool(second.admin.command("hello")["isWritablePrimary"]), READY_SECONDS)

    def mongo_url(self, database: str) -> str:
        """Majority writes on disk, as the orders of every system here have them."""
        socket = quote(str(servers.mongod_socket(self.layout)), safe="")
        return f"mongodb://{socket}/{database}?directConnection=true&w=majority&journal=true"

    def redis_socket(self, number: int) -> str:
        """The socket of one logical database of the Valkey server, as ioredis takes it; redis-py wants `unix://`."""
        return f"{servers.valkey_socket(self.layout)}?db={number}"

    def stop(self) -> None:
        """End both."""
        self.valkey.stop()
        self.mongod.stop()


def _pings(client: Client) -> bool:
    try:
        client.admin.command("ping")
    except pymongo.errors.PyMongoError:
        return False
    return True


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
