"""What Rushlight takes when nothing happens: seconds to start, memory and CPU of all its processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks import report
from benchmarks.ours import Rushlight
from benchmarks.processes import cpu_seconds, memory

WARM_UP_SECONDS = 15
MEGABYTE = 1_000_000
GOAL_MEGABYTES = 450
GOAL_CPU_PERCENT = 4.0


class Idle(msgspec.Struct, frozen=True, rename="camel"):
    """One process at rest: memory in bytes, CPU in percent of one core."""

    process: str
    pss: int
    rss: int
    cpu_percent: float


class Start(msgspec.Struct, frozen=True, rename="camel"):
    """Seconds from the command to `instance.json`, which is written when everything is ready."""

    fresh: list[float]
    again: list[float]


def start_up(data: Path, times: int) -> Start:
    """Start on fresh directories, and again on each."""
    fresh, again = [], []
    for number in range(times):
        instance = Rushlight(data / f"start-{number}")
        try:
            fresh.append(instance.start())
            instance.stop()
            again.append(instance.start())
        finally:
            instance.stop()
    return Start(fresh, again)


def idle(data: Path, seconds: int, *, orders: bool) -> list[Idle]:
    """Every process of an instance on a fresh directory with one worker, left alone."""
    instance = Rushlight(data / ("idle-orders" if orders else "idle"))
    try:
        instance.start(orders=orders)
        time.sleep(WARM_UP_SECONDS)
        roles = {pid: name for name, pid in instance.instance.children.items()} | {instance.instance.pid: "supervisor"}
        before = {pid: cpu_seconds([pid]) for pid in instance.pids()}
        started = time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - started
        return [
            Idle(
                roles.get(pid, "helper process"),
                *memory(pid),
                (cpu_seconds([pid]) - before.get(pid, 0.0)) / elapsed * 100,
            )
            for pid in instance.pids()
        ]
    finally:
        instance.stop()


def run(data: Path, times: int, seconds: int) -> Path:
    """Measure start-up and idling, and write the result."""
    start = start_up(data, times)
    plain, with_orders = (idle(data, seconds, orders=orders) for orders in (False, True))
    sections = [
        _start_section(start),
        _section(f"`rushlight up`, idle for {seconds} s", plain),
        _section(f"`rushlight up --orders`, idle for {seconds} s", with_orders),
        f"Goal: less than {GOAL_MEGABYTES} MB and {GOAL_CPU_PERCENT:.0f} % of one core with one worker.",
    ]
    raw = {"start": start, "idle": plain, "idleWithOrders": with_orders}
    return report.write("footprint", "Start-up, idle memory and idle CPU", sections, raw)


def _start_section(start: Start) -> str:
    return (
        f"## Start-up\n\nMedian of {len(start.fresh)}: on a fresh directory {report.median(start.fresh):.2f} s, "
        f"again on the same directory {report.median(start.again):.2f} s "
        "(from the command until `instance.json` says that everything is ready)."
    )


def _section(title: str, processes: Sequence[Idle]) -> str:
    total = Idle(
        "**all**",
        sum(each.pss for each in processes),
        sum(each.rss for each in processes),
        sum(each.cpu_percent for each in processes),
    )
    rows = [
        [each.process, f"{each.pss / MEGABYTE:.1f}", f"{each.rss / MEGABYTE:.1f}", f"{each.cpu_percent:.2f}"]
        for each in [*processes, total]
    ]
    return f"## {title}\n\n" + report.table(["process", "PSS MB", "RSS MB", "CPU % of one core"], rows)
