"""One run of `wrk`, with its answers counted: a run with failed requests says so."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.processes import BenchmarkError

SCRIPT = Path(__file__).with_name("order.lua")
CUSTOMERS = 2000
PRODUCTS = 500
TIMEOUT_SECONDS = 10
MARGIN_SECONDS = 60

R = TypeVar("R")


class Orders(msgspec.Struct, frozen=True, rename="camel"):
    """What varies in the orders that are posted."""

    visitors: bool = False
    idempotency_keys: bool = False


class Run(msgspec.Struct, frozen=True, rename="camel"):
    """What `wrk` measured; times in microseconds."""

    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    max_us: int
    bad_status: int
    connect_errors: int
    read_errors: int
    write_errors: int
    timeouts: int

    @property
    def per_second(self) -> float:
        """Orders per second; a refused order counts for nothing."""
        return (self.requests - self.bad_status) / (self.duration_us / 1e6) if self.duration_us else 0.0

    @property
    def failures(self) -> int:
        """Orders that were not answered with success."""
        return self.bad_status + self.connect_errors + self.read_errors + self.write_errors + self.timeouts


def wrk(url: str, connections: int, seconds: float, seed: int, orders: Orders | None = None) -> Run:
    """Post orders over ``connections`` connections, each sending its next order when the last is answered.

    Raises:
        BenchmarkError: when `wrk` is missing or fails.
    """
    kind = orders or Orders()
    arguments = [seed, CUSTOMERS, PRODUCTS, int(kind.visitors), int(kind.idempotency_keys)]
    return run_script(SCRIPT, url, connections, seconds, arguments, Run)


def run_script(
    script: Path, url: str, connections: int, seconds: float, arguments: Iterable[object], answer_type: type[R]
) -> R:
    """Run `wrk` with a script that prints one line of JSON when it is done, and return that line.

    Raises:
        BenchmarkError: when `wrk` is missing or fails.
    """
    program = shutil.which("wrk")
    if program is None:
        raise BenchmarkError("wrk is not installed: `apt-get install wrk` (Debian) or `brew install wrk`")
    command = [program, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={TIMEOUT_SECONDS}s"]
    command += ["-s", str(script), url, "--", *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=seconds + MARGIN_SECONDS, check=False)
    lines = [line for line in answer.stdout.splitlines() if line.startswith("{")]
    if answer.returncode != 0 or not lines:
        raise BenchmarkError(f"wrk failed: {answer.stderr or answer.stdout}")
    return msgspec.json.decode(lines[-1], type=answer_type)
