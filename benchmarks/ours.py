"""Rushlight as a user runs it: `rushlight up --orders` on a fresh data directory."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from pymongo.collection import Collection

from benchmarks.processes import BenchmarkError, Child, cpu_seconds, free_port, frozen, process_tree
from benchmarks.servers import Client
from benchmarks.sides import Books, Part
from rushlight.store.outstanding import SOME_ENTRY

READY_SECONDS = 90.0
HTTP_SECONDS = 30.0
LEDGER_SECONDS = 90.0


class Instance(msgspec.Struct, rename="camel"):
    """What `DATA/instance.json` says."""

    pid: int
    urls: dict[str, str]
    children: dict[str, int]
    mongo_url: str
    database: str


class Rushlight:
    """One instance with embedded servers.

    Args:
        environment: settings beside those, as ``RUSHLIGHT_*``.
    """

    def __init__(
        self,
        data: Path,
        name: str = "rushlight",
        workers: int = 1,
        redis_memory_mb: int = 256,
        environment: Mapping[str, str] | None = None,
    ):
        self.name = name
        self.data = data
        self._workers = workers
        self._environment = {"RUSHLIGHT_REDIS_MEMORY_MB": str(redis_memory_mb), **(environment or {})}
        self._child: Child | None = None
        self._client: Client | None = None

    def start(self, *, orders: bool = True) -> float:
        """Start it and wait until it is ready.

        Returns:
            The seconds that took.
        """
        self.data.parent.mkdir(parents=True, exist_ok=True)
        command = [str(program()), "up", "--port", str(free_port(2)), "--data", str(self.data)]
        command += ["--workers", str(self._workers), *(["--orders"] if orders else [])]
        started = time.monotonic()
        self._child = Child(self.name, command, self.data.with_suffix(".log"), self._environment)
        self._child.wait_until((self.data / "instance.json").exists, READY_SECONDS)
        return time.monotonic() - started

    @property
    def instance(self) -> Instance:
        """The running instance, read anew: a restarted child has another pid."""
        return msgspec.json.decode((self.data / "instance.json").read_bytes(), type=Instance)

    @property
    def orders_url(self) -> str:
        """Where orders are posted."""
        return self.instance.urls["orders"]

    @property
    def live_url(self) -> str:
        """The board, where `analyticsUpdate` is emitted."""
        return self.instance.urls["board"]

    def ledger(self) -> dict[str, Any]:
        """`GET /api/v1/ledger`."""
        answer: dict[str, Any] = get_json(f"{self.live_url}/api/v1/ledger")
        return answer

    def backlog(self) -> int:
        """Orders with events in their outbox: those not settled yet, and those settled and not yet cleared away.

        Asked of MongoDB: the ledger, which says it more exactly, counts anew only as often as its cost allows.
        """
        if self._workers == 0:
            return 0
        return self._orders().count_documents(SOME_ENTRY, hint="outbox")

    def behind(self) -> float | None:
        """How far `completeTo` of the money figures is behind the clock."""
        if self._workers == 0:
            return None
        now = datetime.now(UTC)
        minute = now.replace(second=0, microsecond=0)
        span = urlencode({"from": minute.isoformat(), "to": (minute + timedelta(minutes=1)).isoformat()})
        summary = get_json(f"{self.live_url}/api/v1/summary?{span}")
        return max(0.0, (now - datetime.fromisoformat(summary["completeTo"]["money"])).total_seconds())

    def _orders(self) -> Collection[dict[str, Any]]:
        if self._client is None:
            self._client = Client(self.instance.mongo_url)
        return self._client[self.instance.database]["orders"]

    def pids(self) -> list[int]:
        """The supervisor and everything it started."""
        if self._child is None:
            raise BenchmarkError(f"{self.name} is not running")
        return process_tree(self._child.pid)

    def cpu(self) -> float:
        """CPU seconds used so far by all its processes."""
        return cpu_seconds(self.pids())

    @contextlib.contextmanager
    def without_redis(self) -> Iterator[None]:
        """Hold the embedded Valkey still (SIGSTOP)."""
        with frozen(self.instance.children["valkey"]):
            yield

    def kill(self, part: Part, down_seconds: float) -> None:
        """End a worker or the order service with SIGKILL; its supervisor starts it again."""
        os.kill(self.instance.children["orders" if part == "orders" else "worker-1"], signal.SIGKILL)
        time.sleep(down_seconds)

    def books(self) -> Books:
        """What became of the orders."""
        saved = {order["_id"] for order in self._orders().find({}, {"_id": 1})}
        journal = self._orders().database["journal"].find({"eventName": "order_created"}, {"aggregateId": 1})
        recorded = Counter(event["aggregateId"] for event in journal)
        currencies = get_json(f"{self.live_url}/api/v1/summary")["currencies"]
        return Books(
            saved=len(saved),
            unrecorded=len(saved - recorded.keys()),
            twice=sum(count > 1 for count in recorded.values()),
            counted=sum(figures["orders"] for figures in currencies.values()),
        )

    def check(self, seconds: float = LEDGER_SECONDS) -> dict[str, object]:
        """The ledger's verdict, once it has counted anew; without a worker there is none to give.

        Args:
            seconds: how long it may take to count anew: the longer, the more there is.
        """
        if self._workers == 0:
            return {"agrees": True}
        deadline = time.monotonic() + seconds
        while not (agrees := _is_settled(ledger := self.ledger())) and time.monotonic() < deadline:
            time.sleep(1)
        return {"total": ledger["total"], "agrees": agrees}

    def stop(self) -> None:
        """End it."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._child is not None:
            self._child.stop()
            self._child = None


def _is_settled(ledger: dict[str, Any]) -> bool:
    return bool(ledger["balanced"] and ledger["total"]["pending"] == 0)


def program() -> Path:
    """The `rushlight` command beside this Python.

    Raises:
        BenchmarkError: when it is not installed there.
    """
    path = Path(sys.executable).with_name("rushlight")
    if not path.exists():
        raise BenchmarkError(f"{path} is missing: run `make install`, and this with .venv/bin/python")
    return path


def get_json(url: str) -> Any:
    """The decoded JSON answer of a GET on loopback.

    Raises:
        BenchmarkError: when it is not answered with 200.
    """
    try:
        with urllib.request.urlopen(url, timeout=HTTP_SECONDS) as answer:  # noqa: S310 - loopback addresses of ours
            return msgspec.json.decode(answer.read())
    except (OSError, http.client.HTTPException) as error:
        raise BenchmarkError(f"{url}: {error}") from error
