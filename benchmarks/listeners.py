"""Dashboards in processes of their own, and when each of them first showed an order."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks import node
from benchmarks.processes import BenchmarkError

FOLDER = Path(__file__).parent / "clients"
READY_SECONDS = 30.0
STOP_SECONDS = 10.0
KINDS = ("javascript", "python")


class Frame(msgspec.Struct, frozen=True):
    """One `analyticsUpdate`: monotonic nanoseconds, the orders it lists, today's number of orders if it says so."""

    at: int
    ids: list[str]
    count: int | None


class Listener:
    """One connected Socket.IO client."""

    def __init__(self, kind: str, url: str, namespace: str, log: Path):
        self.kind = kind
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*_command(kind), url, namespace], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while b'"connected":true' not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise BenchmarkError(f"{self.kind} client did not connect: {self._log.read_text(errors='replace')}")
            time.sleep(0.05)

    def frames(self) -> list[Frame]:
        """Every frame so far."""
        lines = self._log.read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Frame) for line in lines if line.startswith(b'{"at"')]

    def stop(self) -> None:
        """Close its stdin, which ends it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _command(kind: str) -> list[str]:
    if kind == "javascript":
        return [node.node(), str(FOLDER / "live.mjs")]
    return [sys.executable, str(FOLDER / "live.py")]


def shown_by_id(frames: Sequence[Frame]) -> dict[str, int]:
    """When each order was first listed by a frame."""
    first: dict[str, int] = {}
    for frame in frames:
        for order in frame.ids:
            first.setdefault(order, frame.at)
    return first


def shown_by_count(frames: Sequence[Frame], base: int, orders: int) -> list[int | None]:
    """When today's number of orders first reached base + 1, base + 2 …: the figures include that many orders."""
    found: list[int | None] = []
    for frame in frames:
        if frame.count is not None:
            while len(found) < min(orders, frame.count - base):
                found.append(frame.at)
    return found + [None] * (orders - len(found))
