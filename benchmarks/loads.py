"""What is sent to everything that takes events in, and one run of sending it."""

from __future__ import annotations

import time
from base64 import b64encode
from pathlib import Path
from typing import NamedTuple

from benchmarks import load
from benchmarks.bodies import Format
from benchmarks.collectors import Collector

SCRIPT = Path(__file__).with_name("events.lua")
LOADS = ("1", "browser", "50")


class Load(NamedTuple):
    """What is sent: so many events a request, written in a format."""

    name: str
    format: Format
    size: int

    @classmethod
    def of(cls, name: str, written: Format) -> Load:
        """By its name: a number of events, or ``browser``."""
        return cls(name, "browser", 1) if name == "browser" else cls(name, written, int(name))

    @property
    def title(self) -> str:
        """As it is called in a result."""
        if self.format == "browser":
            return "One event a request, as a page's SDK sends it"
        return "One event a request" if self.size == 1 else f"{self.size} events a request"


class Run(load.Run, frozen=True, rename="camel"):
    """What `wrk` measured; ``request_ns``: what making one request costs the generator, nanoseconds of CPU."""

    request_ns: int


def send(system: Collector, what: Load, connections: int, seconds: float, number: int) -> Run:
    """One run of `wrk`; the same events for every system of a round, but for their ids."""
    seed = number * 10_000 + connections * 100 + what.size
    credentials = b64encode(f"{system.write_key}:".encode()).decode()
    prefix = f"{time.time_ns():x}-"
    arguments = [seed, what.format, what.size, system.write_key, credentials, prefix]
    return load.run_script(SCRIPT, system.url, connections, seconds, arguments, Run)
