"""The proxy as tests command it: links by name, their weather, and the address of each."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import msgspec

from tests.faults.proxy import FINE, Order, Report, Weather

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 10.0


class Network:
    """Links in a process of their own.

    Args:
        upstreams: what stands behind each link: ``HOST:PORT`` or the path of a unix socket.
    """

    def __init__(self, upstreams: Mapping[str, str]) -> None:
        links = [f"{name}={upstream}" for name, upstream in upstreams.items()]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.proxy", *links],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self._turn = threading.Lock()
        self.names = list(upstreams)
        self._ports = self._answer().ports

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def address(self, name: str) -> str:
        """``HOST:PORT`` of a link."""
        return f"127.0.0.1:{self._ports[name]}"

    def turn(self, name: str, weather: Weather = FINE) -> Report:
        """Change a link's weather; by default to fine."""
        return self._tell(Order(link=name, weather=weather))

    def look(self, name: str) -> Report:
        """How a link stands."""
        return self._tell(Order(link=name))

    def reset(self, name: str) -> None:
        """Cut every connection of a link."""
        self._tell(Order(link=name, reset=True))

    def move(self, name: str, upstream: str) -> None:
        """Put another server behind a link, as a failover does; existing connections are cut."""
        self._tell(Order(link=name, upstream=upstream, reset=True))

    def heal(self) -> None:
        """Fine weather everywhere."""
        for name in self.names:
            self.turn(name)

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _tell(self, order: Order) -> Report:
        with self._turn:
            if self._process.stdin is None:
                raise RuntimeError("the proxy has no input")
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> Report:
        if self._process.stdout is None or not (line := self._process.stdout.readline()):
            raise RuntimeError("the proxy has ended")
        return msgspec.json.decode(line, type=Report)
