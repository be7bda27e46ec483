"""What each step of taking an event in costs, and its share of what the service used under load."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks import collectors, report, steps
from benchmarks.loads import Load
from benchmarks.processes import BenchmarkError
from benchmarks.steps import Step

TIMING_SECONDS = 600.0
SOCKETS = "sockets and event loop"
REST = "the log's thread, delivery's bookkeeping (the rest)"

TITLES = {"1": "one a request", "browser": "one of a page"}
LOADED = (
    "*All* is what the service used under load in the same run, at the most connections, nobody consuming; *sockets "
    "and event loop* is what the server alone used (*rushlight, HTTP only*) without its HTTP step."
)

Steps = Mapping[str, Sequence[Step]]


def run(data: Path, events: int, loads: Sequence[Load], key: str) -> Path:
    """The steps alone, against an instance that does nothing else, and the result."""
    data.mkdir(parents=True, exist_ok=True)
    valkey = collectors.Valkey(data / "peers")
    try:
        ours = collectors.Ours(data, key)
        try:
            timed = time_steps(ours, valkey, events, loads)
        finally:
            ours.stop()
    finally:
        valkey.stop()
    return report.write(
        "steps", "What each step of taking an event in costs", [section(timed, {}, {}), how(events)], timed
    )


def time_steps(
    ours: collectors.Ours, valkey: collectors.Valkey, events: int, loads: Sequence[Load]
) -> dict[str, list[Step]]:
    """Time every step of every load in a process of its own.

    Args:
        valkey: any but the instance's own, whose streams somebody reads.

    Raises:
        BenchmarkError: it failed.
    """
    timed: dict[str, list[Step]] = {}
    for what in loads:
        redis_url = f"unix://{valkey.socket}"
        plan = steps.Plan(str(ours.instance_file), redis_url, ours.write_key, what.format, what.size, events)
        command = [sys.executable, "-m", "benchmarks.steps", msgspec.json.encode(plan).decode()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMING_SECONDS, check=False)
        valkey.clear()
        if done.returncode:
            raise BenchmarkError(f"the steps could not be timed: {done.stderr}")
        timed[what.name] = msgspec.json.decode(done.stdout, type=list[Step])
    return timed


def section(timed: Steps, whole: Mapping[str, float], http: Mapping[str, float]) -> str:
    """The table of all steps.

    Args:
        whole: CPU microseconds per event of the service under load, by load; where it is not known,
            shares are of the steps' sum. http: the same of the server alone, that keeps nothing.
    """
    head = ["step"]
    for load in timed:
        head += [f"{TITLES.get(load, f'{load} a request')}: CPU µs/event", "share", "wait ms"]
    columns = [_column(found, whole.get(load), http.get(load)) for load, found in timed.items()]
    known = {step.name for found in timed.values() for step in found}
    names = [text for name, text in steps.STEPS.items() if name in known]
    names += [*([SOCKETS] if http else []), *([REST] if whole else []), "**all**"]
    rows = [[name, *(cell for column in columns for cell in column[name])] for name in names]
    text = "## What each step costs\n\n" + report.table(head, rows)
    return f"{text}\n\n{LOADED}" if whole else text


def _column(found: Sequence[Step], whole: float | None, http: float | None) -> dict[str, list[str]]:
    total = sum(step.cpu_us for step in found if step.name not in steps.PARTS_OF_ANOTHER)
    everything = whole or total
    sockets = math.nan if http is None else http - sum(step.cpu_us for step in found if step.name == "http")
    known = total if http is None else total + sockets
    cells = {
        steps.STEPS[step.name]: [
            *_cells(step.cpu_us, everything),
            "" if step.wait_ms is None else report.number(step.wait_ms, 1),
        ]
        for step in found
    }
    cells[SOCKETS] = [*_cells(sockets, everything), ""]
    cells[REST] = [*_cells(everything - known, everything), ""]
    cells["**all**"] = [*_cells(everything, everything), ""]
    return cells


def _cells(value: float, everything: float) -> list[str]:
    return [report.number(value, 2), f"{report.number(100 * value / everything)} %"]


def how(events: int) -> str:
    """How the steps were timed."""
    return (
        f"Each step is the product's own function, called one after another over {events:,} events (no two alike) in a "
        f"process of its own, a fifth of them at a time, {steps.TOGETHER} requests together where they wait for disk "
        "or Valkey; CPU of all its threads, median of the fifths. *Wait*: from the first to the last of those that are "
        "together. The HTTP step has the server's own protocol but no sockets."
    )
