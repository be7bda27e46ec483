"""What takes events in: Rushlight, the two peers that only append to a stream, and servers that keep nothing."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
import redis
from pymongo.collection import Collection

from benchmarks import node
from benchmarks.ours import Rushlight, program
from benchmarks.processes import BenchmarkError, Child, cpu_seconds, free_port, frozen, process_tree
from benchmarks.servers import Client
from rushlight.local import servers
from rushlight.local.layout import Layout
from rushlight.settings import Settings

PEERS = Path(__file__).parent / "peers"
PEER_NAMES = ("fastify", "nestjs-fastify")
STREAM = "events"
READY_SECONDS = 60.0
COMMAND_SECONDS = 60.0
SETTLE_SECONDS = 300.0
LEDGER_SECONDS = 600.0
POLL_SECONDS = 0.05
# Room for the stream of a run that nobody reads, the same for all.
REDIS_MEMORY_MB = 2048


class Cpu(msgspec.Struct, frozen=True, rename="camel"):
    """CPU seconds used so far: by the processes that serve HTTP, by their Redis, and by everything."""

    service: float
    redis: float
    whole: float

    def since(self, before: Cpu) -> Cpu:
        """What was used since an earlier look."""
        return Cpu(self.service - before.service, self.redis - before.redis, self.whole - before.whole)


class Collector(Protocol):
    """A running system that takes events in over HTTP."""

    name: str
    url: str
    write_key: str

    def cpu(self) -> Cpu:
        """CPU seconds used so far."""

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Inside the context nobody consumes what is taken in."""

    def settle(self, expected: int) -> int:
        """Wait until it has at least so many events of the run, and is at rest.

        Returns:
            How many events it has of the run; the count begins anew.
        """

    def stop(self) -> None:
        """End it."""


class Ours:
    """`rushlight up` as a user runs it: embedded servers, one web process, one worker.

    Args:
        ingest_processes: that take events in beside the web process, on its port.
    """

    def __init__(
        self, data: Path, kind: str, environment: Mapping[str, str] | None = None, *, ingest_processes: int = 0
    ):
        self.name = "rushlight"
        settings = {"RUSHLIGHT_INGEST_PROCESSES": str(ingest_processes), **(environment or {})}
        self._instance = Rushlight(data / "ours", redis_memory_mb=REDIS_MEMORY_MB, environment=settings)
        self._instance.start(orders=False)
        self._client: Client = Client(self._instance.instance.mongo_url)
        self.url = self._instance.live_url
        self.write_key = self._create_key(kind)
        self._counted = 0

    def _create_key(self, kind: str) -> str:
        command = [str(program()), "keys", "create", "--kind", kind, "--json", "--data", str(self._instance.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        if done.returncode:
            raise BenchmarkError(f"no key: {done.stderr.strip()}")
        return str(msgspec.json.decode(done.stdout)["key"])

    def cpu(self) -> Cpu:
        """CPU seconds of what takes events in, of Valkey, and of everything with worker and MongoDB."""
        children = self._instance.instance.children
        doors = [pid for name, pid in children.items() if name == "web" or name.startswith("ingest-")]
        return Cpu(cpu_seconds(doors), cpu_seconds([children["valkey"]]), self._instance.cpu())

    @property
    def instance_file(self) -> Path:
        """What the running instance says of itself."""
        return self._instance.data / "instance.json"

    @property
    def service(self) -> int:
        """The pid of the process that takes events in."""
        return self._instance.instance.children["web"]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the worker still (SIGSTOP)."""
        with frozen(self._instance.instance.children["worker-1"]):
            yield

    def settle(self, expected: int) -> int:
        """Wait until the log says that it has acknowledged all of them and that all are in the journal."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            acknowledged, pending = self._log_figures()
            if pending == 0 and acknowledged - self._counted >= expected:
                break
            if time.monotonic() > deadline:
                new = acknowledged - self._counted
                raise BenchmarkError(f"{self.name}: {new} of {expected} events came, {pending} still pending")
            time.sleep(POLL_SECONDS)
        new, self._counted = acknowledged - self._counted, acknowledged
        return new

    def _log_figures(self) -> tuple[int, int]:
        sources = [source for log in self._logs().find({}, {"sources": 1}) for source in log["sources"].values()]
        return sum(source["acknowledged"] for source in sources), sum(source["pending"] for source in sources)

    def _logs(self) -> Collection[dict[str, Any]]:
        return self._client[self._instance.instance.database]["logs"]

    def check(self) -> dict[str, object]:
        """The ledger's verdict on everything that was taken in."""
        return self._instance.check(LEDGER_SECONDS)

    def stop(self) -> None:
        """End it."""
        self._client.close()
        self._instance.stop()


class Valkey:
    """One Valkey as Rushlight embeds it: same program, same flags, same unix socket."""

    def __init__(self, data: Path):
        layout = Layout(data)
        layout.prepare()
        settings = Settings(data=str(data), redis_memory_mb=REDIS_MEMORY_MB)
        self.socket = str(servers.valkey_socket(layout))
        self.child = Child("valkey", servers.valkey_command(settings, layout), layout.log_of("valkey"))
        with redis.Redis(unix_socket_path=self.socket) as client:
            self.child.wait_until(lambda: servers_answer(client), READY_SECONDS)

    def clear(self) -> None:
        """Forget everything."""
        with redis.Redis(unix_socket_path=self.socket) as client:
            client.flushall()

    def stop(self) -> None:
        """End it."""
        self.child.stop()


def servers_answer(client: redis.Redis) -> bool:
    """Whether a Redis answers."""
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


class Peer:
    """A Node.js service that decodes events, appends them to a stream and answers when Redis has them."""

    write_key = "none"

    def __init__(self, name: str, valkey: Valkey, data: Path):
        self.name = name
        self._valkey = valkey
        number = PEER_NAMES.index(name)
        self._redis = redis.Redis(unix_socket_path=valkey.socket, db=number)
        port = free_port()
        environment = {"NODE_ENV": "production", "PORT": str(port), "REDIS_URL": f"{valkey.socket}?db={number}"}
        command = [node.node(), str(PEERS / name / "dist" / "main.js")]
        self._child = Child(name, command, data / f"{name}.log", environment)
        self._child.wait_until(lambda: '"ready":true' in self._child.output(), READY_SECONDS)
        self.url = f"http://127.0.0.1:{port}"

    def cpu(self) -> Cpu:
        """CPU seconds of the service and of Valkey."""
        service, valkey = (cpu_seconds(process_tree(child.pid)) for child in (self._child, self._valkey.child))
        return Cpu(service, valkey, service + valkey)

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Nobody ever consumes what it takes in."""
        return contextlib.nullcontext()

    def settle(self, expected: int) -> int:
        """Count the stream's entries, then clear it away."""
        time.sleep(POLL_SECONDS)
        length = int(self._redis.xlen(STREAM))
        if length < expected:
            raise BenchmarkError(f"{self.name}: {length} of {expected} events are in the stream")
        self._redis.unlink(STREAM)
        return length

    def stop(self) -> None:
        """End it; the Valkey is shared and ends with its owner."""
        self._child.stop()
        self._redis.close()


class Module:
    """A Python module of this folder that answers and keeps nothing, in a process of its own."""

    write_key = "none"

    def __init__(self, name: str, module: str, data: Path):
        self.name = name
        port = free_port()
        self._child = Child(name, [sys.executable, "-m", f"benchmarks.{module}", str(port)], data / f"{module}.log")
        self._child.wait_until(lambda: '"ready":true' in self._child.output(), READY_SECONDS)
        self.url = f"http://127.0.0.1:{port}"

    def cpu(self) -> Cpu:
        """CPU seconds of the process."""
        used = cpu_seconds([self._child.pid])
        return Cpu(used, 0.0, used)

    def held(self) -> contextlib.AbstractContextManager[None]:
        """There is nothing to consume."""
        return contextlib.nullcontext()

    def settle(self, expected: int) -> int:
        """It keeps nothing."""
        return expected

    def stop(self) -> None:
        """End it."""
        self._child.stop()


def build_peers() -> None:
    """Install the peers from their lock files and compile them."""
    for name in PEER_NAMES:
        node.install(PEERS / name)
        node.npm(PEERS / name, "run", "build")


def describe_peers() -> str:
    """The versions that were measured, from what is installed."""
    wanted = {"fastify": ("fastify", "ioredis"), "nestjs-fastify": ("@nestjs/core", "fastify", "ioredis")}
    return "; ".join(
        f"{peer}: " + ", ".join(f"{package} {_version(peer, package)}" for package in packages)
        for peer, packages in wanted.items()
    )


def _version(peer: str, package: str) -> str:
    return str(msgspec.json.decode((PEERS / peer / "node_modules" / package / "package.json").read_bytes())["version"])
