"""Rushlight as a user runs it: `rushlight up --orders` on a fresh data directory."""

from __future__ import annotations

import contextlib
import http.client
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.processes import BenchmarkError, Child, cpu_seconds, free_port, frozen, process_tree
from benchmarks.sides import Backlog

READY_SECONDS = 90.0
HTTP_SECONDS = 10.0


class Instance(msgspec.Struct, rename="camel"):
    """What `DATA/instance.json` says."""

    pid: int
    urls: dict[str, str]
    children: dict[str, int]


class Rushlight:
    """One instance with embedded servers."""

    def __init__(self, data: Path, name: str = "rushlight", workers: int = 1, redis_memory_mb: int = 256):
        self.name = name
        self.data = data
        self._workers = workers
        self._environment = {"RUSHLIGHT_REDIS_MEMORY_MB": str(redis_memory_mb)}
        self._child: Child | None = None

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

    def backlog(self) -> Backlog:
        """The ledger's `pending`, and how far `completeTo` of the money figures is behind the same answer's clock."""
        if self._workers == 0:
            return Backlog(0, None)
        ledger = self.ledger()
        as_of, complete_to = (datetime.fromisoformat(text) for text in (ledger["asOf"], ledger["completeTo"]["money"]))
        return Backlog(ledger["total"]["pending"], max(0.0, (as_of - complete_to).total_seconds()))

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

    def check(self) -> dict[str, object]:
        """The ledger's verdict; without a worker there is none to give."""
        if self._workers == 0:
            return {"agrees": True}
        ledger = self.ledger()
        return {"total": ledger["total"], "agrees": ledger["balanced"] and ledger["total"]["pending"] == 0}

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.stop()
            self._child = None


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
