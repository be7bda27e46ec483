"""The same orders to each system in turn, round after round, so that a noisy minute hits all alike."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from pymongo.errors import PyMongoError
from redis import RedisError

from benchmarks import load, nestjs, report
from benchmarks.nestjs import Nest
from benchmarks.ours import Rushlight
from benchmarks.processes import BenchmarkError
from benchmarks.servers import Servers
from benchmarks.sides import Side

BASELINE = "nestjs-events"
WARM_UP_SECONDS = 2
SETTLE_SECONDS = 180.0
REST_SECONDS = 0.5
WATCH_EVERY_SECONDS = 0.5
POLL_EVERY_SECONDS = 0.05
OFF_REDIS_MEMORY_MB = 4096


class Scenario(NamedTuple):
    """One row of the result: a system in one condition."""

    name: str
    side: Side
    redis_stopped: bool = False
    fault: Callable[[], contextlib.AbstractContextManager[None]] | None = None


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """How much is measured."""

    rounds: int = 5
    seconds: int = 5
    connections: tuple[int, ...] = (1, 16, 64)
    orders: load.Orders = load.Orders()


class Measurement(msgspec.Struct, frozen=True, rename="camel"):
    """One run of one scenario.

    Attributes:
        cpu_us: CPU microseconds of the whole system, servers included, per order (until analytics had caught up).
        largest_backlog, largest_lag: the most that was seen during the load and after it, in events and in seconds.
        catch_up: seconds from the end of the load until analytics had every order.
    """

    scenario: str
    connections: int
    round: int
    run: load.Run
    cpu_us: float
    largest_backlog: int
    largest_lag: float | None
    catch_up: float

    @property
    def sustained(self) -> float:
        """Orders per second of load *and* catching up: what the system takes in without falling behind."""
        seconds = self.run.duration_us / 1e6
        return self.run.per_second * seconds / (seconds + self.catch_up)


class Watch:
    """Looks at the backlog now and then while the load runs."""

    def __init__(self, side: Side):
        self._side = side
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.events = 0
        self.seconds: float | None = None

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def note(self) -> int:
        """Look once; the backlog as it is now."""
        events = self._side.backlog()
        self.events = max(self.events, events)
        return events

    def note_delay(self) -> None:
        """Ask how far the figures are behind."""
        seconds = self._side.behind()
        if seconds is not None:
            self.seconds = max(self.seconds or 0.0, seconds)

    def _look(self) -> None:
        while not self._end.wait(WATCH_EVERY_SECONDS):
            with contextlib.suppress(BenchmarkError, PyMongoError, RedisError):
                self.note()
                self.note_delay()


def measure(scenario: Scenario, connections: int, number: int, plan: Plan) -> Measurement:
    """Load one scenario, then wait until its analytics has caught up so that it takes nothing from the next one.

    Raises:
        BenchmarkError: when it does not catch up in time.
    """
    side = scenario.side
    before = side.cpu()
    watch = Watch(side)
    with _condition(scenario):
        if scenario.redis_stopped and isinstance(side, Nest):  # its backlog is read from the stopped Redis
            run = load.wrk(side.orders_url, connections, plan.seconds, seed(number, connections), plan.orders)
        else:
            with watch:
                run = load.wrk(side.orders_url, connections, plan.seconds, seed(number, connections), plan.orders)
    catch_up = settle(side, watch)
    cpu = (side.cpu() - before) / max(1, run.requests) * 1e6
    time.sleep(REST_SECONDS)
    return Measurement(scenario.name, connections, number, run, cpu, watch.events, watch.seconds, catch_up)


def _condition(scenario: Scenario) -> contextlib.AbstractContextManager[None]:
    if scenario.fault is not None:
        return scenario.fault()
    return scenario.side.without_redis() if scenario.redis_stopped else contextlib.nullcontext()


def settle(side: Side, watch: Watch) -> float:
    """Wait until nothing is pending.

    Returns:
        The seconds that took; 0 when nothing was pending at once.
    """
    started = time.monotonic()
    while (pending := watch.note()) > 0:
        if time.monotonic() - started > SETTLE_SECONDS:
            raise BenchmarkError(f"{side.name}: {pending} events still pending after {SETTLE_SECONDS:.0f} s")
        time.sleep(POLL_EVERY_SECONDS)
    return time.monotonic() - started


def seed(number: int, connections: int) -> int:
    """The same orders for every scenario of a round, others in the next."""
    return number * 1000 + connections


@contextlib.contextmanager
def systems(data: Path) -> Iterator[list[Scenario]]:
    """Start everything that is compared; each system idles while another is under load."""
    nestjs.build()
    with contextlib.ExitStack() as stack:
        ours = Rushlight(data / "ours")
        off = Rushlight(data / "off", "rushlight-off", workers=0, redis_memory_mb=OFF_REDIS_MEMORY_MB)
        for instance in (ours, off):
            stack.callback(instance.stop)
            instance.start()
        servers = Servers.start(data / "peers")
        stack.callback(servers.stop)
        peers = [Nest(variant, servers, data / "peers") for variant in nestjs.VARIANTS]
        for peer in peers:
            stack.callback(peer.stop)
            peer.start()
        yield [
            *(Scenario(peer.name, peer) for peer in peers),
            Scenario("rushlight", ours),
            Scenario("rushlight, Redis stopped", ours, redis_stopped=True),
            Scenario("rushlight, no worker", off),
        ]


def run(data: Path, plan: Plan) -> Path:
    """Measure every scenario at every number of connections, in interleaved rounds, and write the result."""
    with systems(data) as scenarios:
        for scenario in scenarios:
            load.wrk(scenario.side.orders_url, 16, WARM_UP_SECONDS, 0, plan.orders)
            settle(scenario.side, Watch(scenario.side))
        measured = list(_rounds(scenarios, plan))
        stopped = _nest_without_redis(scenarios, plan)
        checks = {each.side.name: each.side.check() for each in scenarios}
    sections = [_section(measured, scenarios, connections) for connections in plan.connections]
    sections += [_outage_line(stopped), _check_line(checks)]
    raw = {"plan": plan, "runs": measured, "nestjsRedisStopped": stopped, "checks": checks}
    title = "Orders per second and their latency, beside the NestJS design"
    return report.write("order", title, sections, raw, {"peer": nestjs.describe()})


def _rounds(scenarios: Sequence[Scenario], plan: Plan) -> Iterator[Measurement]:
    for number in range(1, plan.rounds + 1):
        for connections in plan.connections:
            turn = number % len(scenarios)
            for scenario in [*scenarios[turn:], *scenarios[:turn]]:
                one = measure(scenario, connections, number, plan)
                print(_line(one), flush=True)
                yield one


def _line(one: Measurement) -> str:
    failed = f"  FAILED {one.run.failures}" if one.run.failures else ""
    return (
        f"round {one.round} · {one.connections:>3} connections · {one.scenario:<25}"
        f"{one.run.per_second:>8.0f}/s  p50 {one.run.p50_us / 1000:>6.1f}  p99 {one.run.p99_us / 1000:>6.1f} ms"
        f"  backlog {one.largest_backlog:>6}  caught up in {one.catch_up:.2f} s{failed}"
    )


def _nest_without_redis(scenarios: Sequence[Scenario], plan: Plan) -> Measurement:
    side = next(scenario.side for scenario in scenarios if scenario.name == BASELINE)
    return measure(Scenario(f"{BASELINE}, Redis stopped", side, redis_stopped=True), 16, 0, plan)


def _section(measured: Sequence[Measurement], scenarios: Sequence[Scenario], connections: int) -> str:
    here = [one for one in measured if one.connections == connections]
    base = {one.round: one for one in here if one.scenario == BASELINE}
    head = ["system", "orders/s", f"× {BASELINE}", "from–to", "caught up: orders/s", "×", "p50 ms", "p99 ms"]
    head += ["CPU µs/order", "largest backlog", "figures behind s", "caught up in s", "failed"]
    rows = []
    for scenario in scenarios:
        runs = [one for one in here if one.scenario == scenario.name]
        ratios = [one.run.per_second / base[one.round].run.per_second for one in runs]
        rows.append(
            [
                scenario.name,
                report.number(report.median(one.run.per_second for one in runs)),
                report.number(report.median(ratios), 2),
                f"{min(ratios):.2f}–{max(ratios):.2f}",
                report.number(report.median(one.sustained for one in runs)),
                report.number(report.median(one.sustained / base[one.round].sustained for one in runs), 2),
                report.number(report.median(one.run.p50_us / 1000 for one in runs), 1),
                report.number(report.median(one.run.p99_us / 1000 for one in runs), 1),
                report.number(report.median(one.cpu_us for one in runs)),
                report.number(max(one.largest_backlog for one in runs)),
                report.number(
                    max((one.largest_lag for one in runs if one.largest_lag is not None), default=math.nan), 2
                ),
                f"{report.median(one.catch_up for one in runs):.2f} (max {max(one.catch_up for one in runs):.2f})",
                str(sum(one.run.failures for one in runs)),
            ]
        )
    return f"## {connections} connection{'s' if connections > 1 else ''}\n\n" + report.table(head, rows)


def _outage_line(stopped: Measurement) -> str:
    return (
        f"With its Redis stopped (SIGSTOP) the event-driven NestJS design served {stopped.run.per_second:.0f} orders/s "
        "at 16 connections."
    )


def _check_line(checks: dict[str, dict[str, object]]) -> str:
    wrong = [name for name, check in checks.items() if not check["agrees"]]
    if wrong:
        return f"**Orders and analytics do not agree in: {', '.join(wrong)}.**"
    return (
        "Afterwards every order was in its system's analytics, where it has any, exactly once "
        "(Rushlight: ledger balanced, pending 0)."
    )
