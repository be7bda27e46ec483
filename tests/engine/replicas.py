"""A replica set of three real nodes on this machine, whose primary can be deposed, killed and frozen."""

from __future__ import annotations

import gc
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from rushlight.local import binaries
from rushlight.local.process import Child, spawn
from tests.ports import free_ports

ELECTION_TIMEOUT_MS = 1500
START_SECONDS = 60.0


class Replicas:
    """Three nodes."""

    def __init__(self, data: Path) -> None:
        self._data = data
        first = free_ports(3)
        self.ports = [first, first + 1, first + 2]
        self._nodes: dict[int, Child] = {}

    @property
    def url(self) -> str:
        """Where a client finds all of them."""
        return f"mongodb://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/?replicaSet=three"

    def start(self, port: int) -> None:
        """Start one node, for the first time or again."""
        folder = self._data / str(port)
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(str(binaries.mongod()), "--dbpath", str(folder), "--replSet", "three", "--nounixsocket"),
            *("--bind_ip", "127.0.0.1", "--port", str(port), "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false", "--setParameter", "enableTestCommands=1"),
        ]
        self._nodes[port] = spawn("mongod", command, log=self._data / f"{port}.log")

    def make(self) -> None:
        """Make them a set and wait for its primary."""
        for port in self.ports:
            with pymongo.MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}/?directConnection=true") as client:
                client.admin.command("ping")
        members = [{"_id": number, "host": f"127.0.0.1:{port}"} for number, port in enumerate(self.ports)]
        settings = {"electionTimeoutMillis": ELECTION_TIMEOUT_MS, "heartbeatIntervalMillis": 500}
        first = f"mongodb://127.0.0.1:{self.ports[0]}/?directConnection=true"
        with pymongo.MongoClient[dict[str, Any]](first) as client:
            client.admin.command("replSetInitiate", {"_id": "three", "members": members, "settings": settings})
        self.primary()

    def primary(self) -> int:
        """The port of the primary, as soon as there is one."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(PyMongoError), pymongo.MongoClient[dict[str, Any]](self.url) as client:
                client.admin.command("ping", read_preference=pymongo.ReadPreference.PRIMARY)
                if client.primary is not None:
                    return client.primary[1]
        raise TimeoutError("no primary")

    def depose(self) -> None:
        """Let the primary step down, caught up or not."""
        with suppress(PyMongoError), pymongo.MongoClient[dict[str, Any]](self.url) as client:
            client.admin.command({"replSetStepDown": 2, "secondaryCatchUpPeriodSecs": 0, "force": True})

    def kill(self, port: int) -> None:
        """End a node with SIGKILL."""
        self._nodes[port].kill()

    def freeze(self, port: int) -> None:
        """Stop a node where it stands."""
        self._nodes[port].signal(signal.SIGSTOP)

    def thaw(self, port: int) -> None:
        """Let it go on."""
        self._nodes[port].signal(signal.SIGCONT)

    def others(self, port: int) -> list[int]:
        """The ports of the other two."""
        return [other for other in self.ports if other != port]

    @contextmanager
    def alone(self, primary: int) -> Iterator[None]:
        """Let the other two take nothing over from the primary for as long as the block runs."""
        try:
            for other in self.others(primary):
                self._replicate(other, on=False)
            yield
        finally:
            for other in self.others(primary):
                self._replicate(other, on=True)

    @contextmanager
    def clearing(self) -> Iterator[None]:
        """Put up with connections to the nodes that PyMongo leaves to the collector, which closes them.

        It takes all connections to a primary that is none any more out of its pool before it closes them: where the
        caller is cancelled just then, nobody has them. They do not read, as no other connection of a test's does.
        """
        with warnings.catch_warnings():
            idle = r"unclosed transport <_SelectorSocketTransport fd=\d+ read=idle "
            warnings.filterwarnings("ignore", idle, ResourceWarning)
            for port in self.ports:
                socket = rf"unclosed <socket\.socket .* raddr=\('127\.0\.0\.1', {port}\)>"
                warnings.filterwarnings("ignore", socket, ResourceWarning)
            yield
            gc.collect()

    def _replicate(self, port: int, *, on: bool) -> None:
        mode = "off" if on else "alwaysOn"
        with self.node(port) as client:
            client.admin.command({"configureFailPoint": "stopReplProducer", "mode": mode})

    def local(self, port: int, database: str, order_id: str) -> dict[str, Any] | None:
        """An order as one node has it, whatever the majority says."""
        with self.node(port) as client:
            local = client[database].get_collection("orders", read_concern=ReadConcern("local"))
            return local.find_one({"_id": order_id})

    def node(self, port: int) -> pymongo.MongoClient[dict[str, Any]]:
        """A client of one node alone."""
        url = f"mongodb://127.0.0.1:{port}/?directConnection=true&readPreference=secondaryPreferred"
        return pymongo.MongoClient[dict[str, Any]](url)

    def end(self) -> None:
        """End all nodes."""
        for node in self._nodes.values():
            node.kill()


@contextmanager
def replicas(data: Path) -> Iterator[Replicas]:
    """Three nodes with a primary, for as long as the block runs."""
    some = Replicas(data)
    try:
        for port in some.ports:
            some.start(port)
        some.make()
        yield some
    finally:
        some.end()
