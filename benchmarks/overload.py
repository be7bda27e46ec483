"""More events than Rushlight is set to take, offered on schedule: what is taken in, how the rest is turned away."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks import bodies, collectors, offering, report
from benchmarks.offering import Answers, Outcome
from benchmarks.processes import BenchmarkError, resident

WARM_UP_SECONDS = 3
SAMPLE_SECONDS = 0.25
MARGIN_SECONDS = 90.0
MEGABYTE = 1_000_000
GOAL_GOODPUT = 0.8
GOAL_REJECTION_MS = 50.0
LATE_MS = 10.0
MOST_TRIES = 3


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """How much is offered.

    Attributes:
        limit: events a second that Rushlight is set to take. factors: of the limit, how much is offered.
    """

    rounds: int = 3
    seconds: int = 10
    limit: int = 2000
    factors: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0)
    format: bodies.Format = "segment"


class Measurement(msgspec.Struct, frozen=True, rename="camel"):
    """One run at one pace.

    Attributes:
        stored: events of the run in the journal. memory: of the process that takes events in, resident bytes every
            quarter of a second from the first request to the last answer.
        cpu_share: of one core, what that process used. void: runs before it in which the generator was late.
    """

    factor: float
    round: int
    outcome: Outcome
    stored: int
    memory: list[int]
    cpu_share: float
    void: int = 0

    @property
    def is_void(self) -> bool:
        """Whether the generator itself was late: then its latencies say nothing of Rushlight."""
        return self.outcome.late["p99"] > LATE_MS

    @property
    def accepted(self) -> list[Answers]:
        """The answers of 2xx."""
        return _accepted(self.outcome)

    @property
    def rejected(self) -> list[Answers]:
        """The answers that turned a request away and said when to come back."""
        return [each for each in self.outcome.answers if each.status in (429, 503)]


class MemoryWatch:
    """Samples one process's resident memory while the load runs."""

    def __init__(self, pid: int):
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.samples: list[int] = []

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.samples.append(resident(self._pid))
            if self._end.wait(SAMPLE_SECONDS):
                return


def offer(system: collectors.Ours, factor: float, seconds: float, number: int, plan: Plan) -> Outcome:
    """Offer so many times the limit, from a process of its own.

    Raises:
        BenchmarkError: the generator failed.
    """
    port = urlsplit(system.url).port
    assert port is not None
    what = offering.Plan(
        port=port,
        write_key=system.write_key,
        format=plan.format,
        per_second=plan.limit * factor,
        seconds=seconds,
        seed=number,
        begin=time.time_ns() // 1000,
    )
    command = [sys.executable, "-m", "benchmarks.offering", msgspec.json.encode(what).decode()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + MARGIN_SECONDS, check=False)
    if done.returncode:
        raise BenchmarkError(f"the generator failed: {done.stderr}")
    return msgspec.json.decode(done.stdout, type=Outcome)


def _accepted(outcome: Outcome) -> list[Answers]:
    return [each for each in outcome.answers if each.status // 100 == 2]


def events_of(answers: Sequence[Answers], plan: Plan) -> int:
    """How many events the answered requests make: an order that names its visitor is a purchase in the funnel too."""
    twins = sum(each.kinds["order"] for each in answers) if plan.format == "segment" else 0
    return sum(each.count for each in answers) + twins


def measure(system: collectors.Ours, factor: float, number: int, plan: Plan) -> Measurement:
    """One run; ends when everything that was taken in is in the journal.

    Raises:
        BenchmarkError: an answer was neither success nor "later", or what was acknowledged is not there.
    """
    before, began = system.cpu().service, time.monotonic()
    with MemoryWatch(system.service) as watch:
        outcome = offer(system, factor, plan.seconds, number * 100 + round(factor * 10), plan)
    share = (system.cpu().service - before) / (time.monotonic() - began)
    acknowledged = events_of(_accepted(outcome), plan)
    stored = system.settle(acknowledged)
    one = Measurement(factor, number, outcome, stored, watch.samples, share)
    if not acknowledged <= stored <= acknowledged + 2 * outcome.unanswered:
        raise BenchmarkError(f"{acknowledged} events were acknowledged and {stored} are in the journal")
    odd = [each.status for each in outcome.answers if each not in one.accepted + one.rejected]
    if odd:
        raise BenchmarkError(f"answers of {odd}")
    return one


def run(data: Path, plan: Plan) -> Path:
    """Offer every pace in turn, round after round, and write the result."""
    data.mkdir(parents=True, exist_ok=True)
    limit = {"RUSHLIGHT_MAX_EVENTS_PER_SECOND": str(plan.limit)}
    system = collectors.Ours(data, "secret", limit)
    try:
        offer(system, 0.5, WARM_UP_SECONDS, 0, plan)
        system.settle(0)
        measured = list(_rounds(system, plan))
        ledger = system.check()
    finally:
        system.stop()
    if not ledger["agrees"]:
        raise BenchmarkError(f"the ledger is not balanced: {ledger}")
    sections = [*summary(measured, plan), *_warning(measured), _explanation(ledger)]
    raw = {"plan": plan, "runs": measured, "ledger": ledger}
    return report.write("overload", f"Offered more than the {plan.limit:,} events/s that are set", sections, raw)


def _rounds(system: collectors.Ours, plan: Plan) -> Iterator[Measurement]:
    for number in range(1, plan.rounds + 1):
        turn = number % len(plan.factors)
        for factor in (*plan.factors[turn:], *plan.factors[:turn]):
            one = _on_time(system, factor, number, plan)
            print(f"round {number}:", *_row([one], plan), sep="  ", flush=True)
            yield one


def _on_time(system: collectors.Ours, factor: float, number: int, plan: Plan) -> Measurement:
    """A run in which the generator was on time, or the last of several."""
    void = 0
    while (one := measure(system, factor, number, plan)).is_void and void < MOST_TRIES - 1:
        void += 1
        print(f"the generator was {one.outcome.late['p99']:.0f} ms late:", *_row([one], plan), sep="  ", flush=True)
    return msgspec.structs.replace(one, void=void)


def summary(measured: Sequence[Measurement], plan: Plan) -> tuple[str, str]:
    """The table of all paces, and the sentence that sets the hardest beside the goals."""
    return _table(measured, plan), _verdict(measured, plan)


def _table(measured: Sequence[Measurement], plan: Plan) -> str:
    head = ["offered/s", "taken in/s", "of peak", "views, carts, orders taken", "turned away", "Retry-After s"]
    head += [
        "2xx: p50 ms",
        "p99",
        "turned away: p50 ms",
        "p99",
        "p99 from sending",
        "waited for a connection: p99 ms",
        "generator late: p99 ms",
        "void",
        "CPU of a core",
    ]
    head += ["RSS MB: first", "largest", "last", "unanswered"]
    rows = [_row([one for one in measured if one.factor == factor], plan, peak(measured)) for factor in plan.factors]
    return report.table(head, rows)


def peak(measured: Sequence[Measurement]) -> float:
    """The most that was taken in at any pace: the largest of the paces' medians."""
    factors = {one.factor for one in measured}
    return max(report.median(one.outcome.goodput for one in measured if one.factor == factor) for factor in factors)


def _row(runs: Sequence[Measurement], plan: Plan, most: float | None = None) -> list[str]:
    goodput = report.median(one.outcome.goodput for one in runs)
    accepted = [each for one in runs for each in one.accepted]
    rejected = [each for one in runs for each in one.rejected]
    offered = sum(one.outcome.offered for one in runs)
    return [
        f"{plan.limit * runs[0].factor:,.0f} ({runs[0].factor:g} ×)",
        report.number(goodput),
        "–" if most is None else f"{100 * goodput / most:.0f} %",
        ", ".join(f"{report.number(share)} %" for share in _shares(runs).values()),
        f"{100 * sum(each.count for each in rejected) / offered:.1f} %",
        _waits(rejected),
        *(_typical(accepted, "latency", name) for name in ("p50", "p99")),
        *(_typical(rejected, "latency", name) for name in ("p50", "p99")),
        _typical(rejected, "service", "p99"),
        report.number(report.median(one.outcome.queued["p99"] for one in runs), 1),
        report.number(report.median(one.outcome.late["p99"] for one in runs), 1),
        str(sum(one.void for one in runs)),
        f"{100 * report.median(one.cpu_share for one in runs):.0f} %",
        report.number(runs[0].memory[0] / MEGABYTE, 1),
        report.number(max(max(one.memory) for one in runs) / MEGABYTE, 1),
        report.number(runs[-1].memory[-1] / MEGABYTE, 1),
        str(sum(one.outcome.unanswered for one in runs)),
    ]


def _shares(runs: Sequence[Measurement]) -> dict[bodies.Kind, float]:
    """Of the events of each kind that were answered, the percentage that was taken in."""
    shares: dict[bodies.Kind, float] = {}
    for kind in bodies.KINDS:
        taken = sum(each.kinds[kind] for one in runs for each in one.accepted)
        answered = sum(each.kinds[kind] for one in runs for each in one.outcome.answers)
        shares[kind] = 100 * taken / answered if answered else float("nan")
    return shares


def _waits(rejected: Sequence[Answers]) -> str:
    seen = sorted({seconds for each in rejected for seconds in each.retry_after})
    if not seen:
        return "–"
    told = sum(sum(each.retry_after.values()) for each in rejected)
    missing = sum(each.count for each in rejected) - told
    return f"{seen[0]}–{seen[-1]}" + (f" ({missing} without)" if missing else "")


def _typical(answers: Sequence[Answers], what: str, name: str) -> str:
    return report.number(report.median(getattr(each, what)[name] for each in answers), 1)


def _verdict(measured: Sequence[Measurement], plan: Plan) -> str:
    hardest = max(plan.factors)
    runs = [one for one in measured if one.factor == hardest]
    share = report.median(one.outcome.goodput for one in runs) / peak(measured)
    slow = report.median(each.latency["p99"] for one in runs for each in one.rejected)
    grown = runs[-1].memory[-1] - runs[0].memory[0]
    return (
        f"At {hardest:g} times the limit {100 * share:.0f} % of the peak was taken in (goal: {100 * GOAL_GOODPUT:.0f} "
        "%); "
        f"99 of 100 rejections were answered within {report.number(slow, 1)} ms (goal: {GOAL_REJECTION_MS:.0f}); "
        f"from the first such run to the end of the last memory changed by {grown / MEGABYTE:+.1f} MB."
    )


def _warning(measured: Sequence[Measurement]) -> list[str]:
    """What a reader must know when the machine had not enough time for the generator."""
    late = sum(one.is_void for one in measured)
    if not late:
        return []
    told = (
        f"**In {late} of {len(measured)} runs, tried {MOST_TRIES} times each, the generator itself came to one of a "
        f"hundred requests more than {LATE_MS:.0f} ms late: the machine was too busy, and the latencies of those runs "
        "say nothing of Rushlight.**"
    )
    return [told]


def _explanation(ledger: dict[str, object]) -> str:
    return (
        "Latencies count from the moment a request was due. The requests are made beforehand and sent by a process of "
        "its own, which waits for nothing but the kernel: *generator late* is how long after that moment it came to "
        f"them. A run in which that is more than {LATE_MS:.0f} ms for one of a hundred is *void* and done again. What "
        "a request then *waited for a connection* that had its answer, and all time *from sending*, is Rushlight's. "
        "Worker, MongoDB and Valkey run on the same cores. After every run each event that was answered with 2xx was "
        "in the journal, and no other; at the end the ledger balanced: "
        f"{msgspec.json.encode(ledger['total']).decode()}."
    )
