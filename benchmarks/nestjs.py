"""The NestJS peer: built for production, one order service per variant, on its own MongoDB and Valkey."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import redis

from benchmarks import node
from benchmarks.processes import Child, cpu_seconds, free_port, frozen, process_tree
from benchmarks.servers import Client, Servers
from benchmarks.sides import Books, Part

FOLDER = Path(__file__).parent / "peers" / "nestjs"
READY_SECONDS = 60.0
STREAM = "events"

Variant = Literal["none", "request", "events", "events-ordered"]
VARIANTS: tuple[Variant, ...] = ("none", "request", "events", "events-ordered")


def build() -> None:
    """Install the peer from its lock file and compile it."""
    node.install(FOLDER)
    node.npm(FOLDER, "run", "build")


class Nest:
    """One variant of the peer as the scenarios see it."""

    def __init__(self, variant: Variant, servers: Servers, data: Path):
        self.name = f"nestjs-{variant}"
        self.variant = variant
        self._servers = servers
        self._data = data
        self._number = VARIANTS.index(variant)
        self._redis = redis.Redis.from_url(f"unix://{servers.redis_socket(self._number)}")
        self._events = variant.startswith("events")
        self._children: dict[Part, Child] = {}
        self.port = 0
        self.analytics_port = 0

    def start(self) -> None:
        """Start the order service and, for the event-driven variant, the analytics service."""
        self.port, self.analytics_port = free_port(), free_port()
        self._run("orders", self.port)
        if self._events:
            self._run("analytics", self.analytics_port)
        elif self.variant == "request":
            self.analytics_port = self.port

    def _run(self, service: Part, port: int) -> None:
        environment = {
            "NODE_ENV": "production",
            "ANALYTICS": "events" if self._events else self.variant,
            "CONSUMER_ORDER": "ordered" if self.variant == "events-ordered" else "concurrent",
            "PORT": str(port),
            "MONGO_URL": self._servers.mongo_url(self.database),
            "REDIS_URL": self._servers.redis_socket(self._number),
        }
        command = [node.node(), str(FOLDER / "dist" / service / "main.js")]
        child = Child(f"{self.name} {service}", command, self._data / f"{self.name}-{service}.log", environment)
        self._children[service] = child
        child.wait_until(lambda: '"ready":true' in child.output(), READY_SECONDS)

    @property
    def database(self) -> str:
        """Its own database on the shared MongoDB."""
        return f"nest_{self.variant}"

    @property
    def orders_url(self) -> str:
        """Where orders are posted."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def live_url(self) -> str:
        """Where `analyticsUpdate` is emitted."""
        return f"http://127.0.0.1:{self.analytics_port}"

    def backlog(self) -> int:
        """Events that analytics has not recorded and acknowledged yet."""
        if not self._events:
            return 0
        groups: Any = self._redis.xinfo_groups(STREAM)
        return sum((group["lag"] or 0) + group["pending"] for group in groups)

    def behind(self) -> float | None:
        """It does not say."""
        return None

    def cpu(self) -> float:
        """CPU seconds used so far by the services and both servers."""
        children = [*self._children.values(), self._servers.mongod, self._servers.valkey]
        return cpu_seconds(pid for child in children for pid in process_tree(child.pid))

    @contextlib.contextmanager
    def without_redis(self) -> Iterator[None]:
        """Hold Valkey still (SIGSTOP)."""
        with frozen(self._servers.valkey.pid):
            yield

    def kill(self, part: Part, down_seconds: float) -> None:
        """End a service with SIGKILL and start it again on its port, as a process manager would."""
        self._children[part].kill()
        time.sleep(down_seconds)
        self._run(part, self.port if part == "orders" else self.analytics_port)

    def books(self) -> Books:
        """What became of the orders."""
        with Client(self._servers.mongo_url(self.database)) as client:
            database = client.get_default_database()
            saved = {order["_id"] for order in database["orders"].find({}, {"_id": 1})}
            recorded = Counter(event["aggregateId"] for event in database["eventstore"].find({}, {"aggregateId": 1}))
            counted = sum(customer["orders"] for customer in database["customers"].find({}, {"orders": 1}))
        return Books(
            saved=len(saved),
            unrecorded=len(saved - recorded.keys()),
            twice=sum(count > 1 for count in recorded.values()),
            counted=counted,
        )

    def check(self) -> dict[str, object]:
        """Whether each saved order was recorded once by analytics."""
        url = self._servers.mongo_url(self.database)
        with Client(url) as client:
            database = client.get_default_database()
            orders, recorded = (database[name].count_documents({}) for name in ("orders", "eventstore"))
        return {"orders": orders, "recorded": recorded, "agrees": self.variant == "none" or orders == recorded}

    def stop(self) -> None:
        """End the services; the servers are shared and end with their owner."""
        for child in reversed(self._children.values()):
            child.stop()
        self._redis.close()


def describe() -> str:
    """The versions that were measured, from what is installed."""
    names = ["@nestjs/core", "mongoose", "ioredis", "socket.io"]
    versions = {name: _version(FOLDER / "node_modules" / name / "package.json") for name in names}
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _version(manifest: Path) -> str:
    return str(msgspec.json.decode(manifest.read_bytes())["version"])
