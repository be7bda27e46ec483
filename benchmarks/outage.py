"""The pace of orders with Redis stopped against healthy, judged by how far two healthy runs differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks import load, report
from benchmarks.order import Measurement, Plan, Scenario, Watch, measure, settle
from benchmarks.ours import Rushlight

CONNECTIONS = 16
WARM_UP_SECONDS = 5
GOAL = 1.1


class Trio(msgspec.Struct, frozen=True, rename="camel"):
    """Two healthy runs and one with Redis stopped, in changing order."""

    first: Measurement
    stopped: Measurement
    second: Measurement

    @property
    def runs(self) -> tuple[Measurement, ...]:
        """All three."""
        return self.first, self.stopped, self.second

    @property
    def p99_stopped(self) -> float:
        """p99 with Redis stopped over the geometric mean of the two healthy runs."""
        return self.stopped.run.p99_us / max(1.0, math.sqrt(self.first.run.p99_us * self.second.run.p99_us))

    @property
    def p99_healthy(self) -> float:
        """p99 of the second healthy run over the first: what chance alone does."""
        return self.second.run.p99_us / max(1, self.first.run.p99_us)

    @property
    def pace(self) -> float:
        """Orders per second with Redis stopped over the geometric mean of the two healthy runs."""
        return self.stopped.run.per_second / math.sqrt(self.first.run.per_second * self.second.run.per_second)


def run(data: Path, pairs: int, seconds: int) -> Path:
    """Measure ``pairs`` trios at 16 connections and write the result."""
    ours = Rushlight(data / "outage")
    try:
        ours.start()
        load.wrk(ours.orders_url, CONNECTIONS, WARM_UP_SECONDS, 0)
        settle(ours, Watch(ours))
        trios = [_trio(ours, number, seconds) for number in range(1, pairs + 1)]
        check = ours.check()
    finally:
        ours.stop()
    title = "Orders with Redis stopped, against healthy"
    raw = {"trios": trios, "check": check}
    return report.write("outage", title, [_summary(trios), _verdict(check), _table(trios)], raw)


def _trio(ours: Rushlight, number: int, seconds: int) -> Trio:
    """The stopped run comes first, in the middle or last, so that a drift of the machine favours neither."""
    plan = Plan(rounds=1, seconds=seconds, connections=(CONNECTIONS,))
    names = ["first", "second"]
    names.insert(number % 3, "stopped")
    runs = {name: measure(Scenario(name, ours, name == "stopped"), CONNECTIONS, number, plan) for name in names}
    trio = Trio(runs["first"], runs["stopped"], runs["second"])
    print(f"{number}: p99 stopped/healthy {trio.p99_stopped:.2f}, healthy/healthy {trio.p99_healthy:.2f}", flush=True)
    return trio


def _summary(trios: Sequence[Trio]) -> str:
    stopped = report.median(trio.p99_stopped for trio in trios)
    band = [report.percentile(_healthy(trios), share) for share in (0.1, 0.9)]
    verdict = "yes" if stopped <= GOAL or band[0] <= stopped <= band[1] else "no"
    return "\n".join(
        [
            f"- p99 with Redis stopped over healthy: median {stopped:.2f} of {len(trios)} interleaved runs",
            f"- p99 healthy over healthy: {_spread(_healthy(trios))}; eight of ten within {band[0]:.2f}–{band[1]:.2f}",
            f"- orders per second, stopped over healthy: median {report.median(trio.pace for trio in trios):.2f}",
            f"- goal (median at most {GOAL}, or inside the band of healthy runs): {verdict}",
            f"- failed orders: {sum(one.run.failures for trio in trios for one in trio.runs)}",
            f"- after Redis went on, analytics caught up within {max(trio.stopped.catch_up for trio in trios):.2f} s",
        ]
    )


def _verdict(check: dict[str, object]) -> str:
    if check["agrees"]:
        return "Afterwards the ledger was balanced with nothing pending."
    return f"**Afterwards the ledger was not balanced, or something was pending: {check}.**"


def _spread(ratios: Sequence[float]) -> str:
    return f"median {report.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}"


def _healthy(trios: Sequence[Trio]) -> list[float]:
    return [trio.p99_healthy for trio in trios]


def _table(trios: Sequence[Trio]) -> str:
    head = [
        "",
        "orders/s healthy",
        "stopped",
        "p50 ms healthy",
        "stopped",
        "p99 ms healthy",
        "stopped",
        "healthy again",
    ]
    rows = [
        [
            str(number),
            *(report.number(one.run.per_second) for one in (trio.first, trio.stopped)),
            *(report.number(one.run.p50_us / 1000, 2) for one in (trio.first, trio.stopped)),
            *(report.number(one.run.p99_us / 1000, 2) for one in (trio.first, trio.stopped, trio.second)),
        ]
        for number, trio in enumerate(trios, 1)
    ]
    return report.table(head, rows)
