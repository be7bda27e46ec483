"""The pace of orders while something is wrong with Redis, judged by how far two healthy runs of a round differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from benchmarks import load, report
from benchmarks.order import Measurement, Plan, Scenario, Watch, measure, settle
from benchmarks.ours import Rushlight
from benchmarks.redis_faults import FAULTS

CONNECTIONS = 16
WARM_UP_SECONDS = 5
GOAL = 1.1
HEALTHY = "healthy"
HEALTHY_AGAIN = "healthy again"


class Round(msgspec.Struct, frozen=True, rename="camel"):
    """Two healthy runs and one of each fault, in changing order.

    Attributes:
        runs: by name: ``healthy``, ``healthy again`` and the faults.
    """

    runs: dict[str, Measurement]

    @property
    def p99_healthy(self) -> float:
        """p99 of the second healthy run over the first: what chance alone does."""
        return self.runs[HEALTHY_AGAIN].run.p99_us / max(1, self.runs[HEALTHY].run.p99_us)

    def p99(self, fault: str) -> float:
        """p99 during a fault over the geometric mean of the two healthy runs."""
        return self.runs[fault].run.p99_us / max(1.0, self._healthy(lambda one: one.run.p99_us))

    def pace(self, fault: str) -> float:
        """Orders per second during a fault over the geometric mean of the two healthy runs."""
        return self.runs[fault].run.per_second / max(1.0, self._healthy(lambda one: one.run.per_second))

    def _healthy(self, figure: Callable[[Measurement], float]) -> float:
        return math.sqrt(figure(self.runs[HEALTHY]) * figure(self.runs[HEALTHY_AGAIN]))


def run(data: Path, pairs: int, seconds: int, faults: Sequence[str] = tuple(FAULTS)) -> Path:
    """Measure ``pairs`` rounds of healthy runs and runs with each fault at 16 connections, and write the result."""
    ours = Rushlight(data / "outage")
    try:
        ours.start()
        load.wrk(ours.orders_url, CONNECTIONS, WARM_UP_SECONDS, 0)
        settle(ours, Watch(ours))
        rounds = [_round(ours, number, seconds, faults) for number in range(1, pairs + 1)]
        check = ours.check()
    finally:
        ours.stop()
    title = "Orders while something is wrong with Redis, against healthy"
    raw = {"rounds": rounds, "check": check}
    sections = [_table(rounds, faults), _band(rounds), _verdict(check)]
    return report.write("outage", title, sections, raw)


def _round(ours: Rushlight, number: int, seconds: int, faults: Sequence[str]) -> Round:
    """Each run's place changes from round to round, so that a drift of the machine favours none."""
    plan = Plan(rounds=1, seconds=seconds, connections=(CONNECTIONS,))
    half = len(faults) // 2
    names = [HEALTHY, *faults[:half], HEALTHY_AGAIN, *faults[half:]]
    turn = number % len(names)
    runs = {}
    for name in [*names[turn:], *names[:turn]]:
        runs[name] = measure(Scenario(name, ours, fault=_fault(ours, name)), CONNECTIONS, number, plan)
    one = Round(runs)
    told = ", ".join(f"{fault} {one.p99(fault):.2f}" for fault in faults)
    print(f"{number}: p99 over healthy: {told}; healthy/healthy {one.p99_healthy:.2f}", flush=True)
    return one


def _fault(ours: Rushlight, name: str) -> Callable[[], AbstractContextManager[None]] | None:
    return (lambda: FAULTS[name](ours)) if name in FAULTS else None


def _table(rounds: Sequence[Round], faults: Sequence[str]) -> str:
    head = ["Redis is", "orders", "failed", "orders/s × healthy", "p50 ms", "p99 ms", "p99 × healthy", "from–to"]
    head += ["goal met", "caught up within s"]
    rows = []
    for name in (HEALTHY, *faults):
        runs = [one.runs[name] for one in rounds]
        ratios = [one.p99_healthy if name == HEALTHY else one.p99(name) for one in rounds]
        paces = [1.0 if name == HEALTHY else one.pace(name) for one in rounds]
        rows.append(
            [
                name,
                report.number(sum(one.run.requests for one in runs)),
                str(sum(one.run.failures for one in runs)),
                report.number(report.median(paces), 2),
                report.number(report.median(one.run.p50_us / 1000 for one in runs), 2),
                report.number(report.median(one.run.p99_us / 1000 for one in runs), 2),
                report.number(report.median(ratios), 2),
                f"{min(ratios):.2f}–{max(ratios):.2f}",
                "" if name == HEALTHY else "yes" if _is_met(rounds, name) else "no",
                report.number(max(one.catch_up for one in runs), 2),
            ]
        )
    return report.table(head, rows)


def _limits(rounds: Sequence[Round]) -> tuple[float, float]:
    healthy = [one.p99_healthy for one in rounds]
    return report.percentile(healthy, 0.1), report.percentile(healthy, 0.9)


def _is_met(rounds: Sequence[Round], fault: str) -> bool:
    median = report.median(one.p99(fault) for one in rounds)
    low, high = _limits(rounds)
    failed = sum(one.runs[fault].run.failures for one in rounds)
    return not failed and (median <= GOAL or low <= median <= high)


def _band(rounds: Sequence[Round]) -> str:
    low, high = _limits(rounds)
    return (
        f"{len(rounds)} interleaved rounds at {CONNECTIONS} connections. In the row *healthy* the ratio is that of the "
        f"second healthy run of a round to its first: eight of ten lie within {low:.2f}–{high:.2f}. Goal: no failed "
        f"order, and a median p99 of at most {GOAL} × healthy or inside that band."
    )


def _verdict(check: dict[str, object]) -> str:
    if check["agrees"]:
        return "Afterwards the ledger was balanced with nothing pending."
    return f"**Afterwards the ledger was not balanced, or something was pending: {check}.**"
