"""The same events to each system in turn, one or fifty a request, round after round, so that noise hits all alike."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks import collectors, report, shares
from benchmarks.collectors import Collector, Cpu
from benchmarks.loads import LOADS, Load, Run, send
from benchmarks.processes import BenchmarkError

BASELINES = ("nestjs-fastify", "fastify")
WARM_UP_SECONDS = 2
REST_SECONDS = 0.3
HELD = "rushlight, no worker"
HTTP_ONLY = "rushlight, HTTP only"
TWO = "rushlight, 2 processes"
PROCESSES_LINE = (
    "*Processes* take events in. Every peer is one, and so is Rushlight but for the row that says two: read its "
    "events/s with that in mind. *Per CPU second* compares what each takes in for the same CPU of those processes "
    "(without Redis, worker and database), whatever their number."
)
SYSTEMS = ("nothing", *collectors.PEER_NAMES, HTTP_ONLY, HELD, TWO, "rushlight")


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """How much is measured.

    Attributes:
        loads: what is sent, each at every number of connections. key: of Rushlight, public or secret.
        systems: which are measured; all but the one of two processes are started in any case.
        step_events: over how many the steps are timed.
    """

    rounds: int = 5
    seconds: int = 2
    connections: tuple[int, ...] = (16, 64)
    loads: tuple[Load, ...] = tuple(Load.of(name, "segment") for name in LOADS)
    key: str = "public"
    systems: tuple[str, ...] = SYSTEMS
    step_events: int = 100_000


class Scenario(NamedTuple):
    """One row of the result: a system in one condition.

    Attributes:
        held: whether nobody consumes what comes in during a run. processes: that take events in.
    """

    name: str
    system: Collector
    held: bool = False
    processes: int = 1


class Measurement(msgspec.Struct, frozen=True, rename="camel"):
    """One run of one scenario.

    Attributes:
        stored: events of the run that the system holds (those not yet answered when the load ended among them).
        cpu: CPU seconds during the load. cpu_settled: until everything was consumed as well.
        settle_seconds: from the end of the load until everything was consumed.
    """

    scenario: str
    load: str
    size: int
    connections: int
    round: int
    run: Run
    stored: int
    cpu: Cpu
    cpu_settled: Cpu
    settle_seconds: float

    @property
    def acknowledged(self) -> int:
        """Events that were answered with success."""
        return (self.run.requests - self.run.bad_status) * self.size

    @property
    def events_per_second(self) -> float:
        """Events that were answered with success, per second of load."""
        return self.run.per_second * self.size

    @property
    def sustained(self) -> float:
        """Events per second of load *and* of the time that consuming them took."""
        seconds = self.run.duration_us / 1e6
        return self.events_per_second * seconds / (seconds + self.settle_seconds)

    def cpu_per_thousand(self, used: float) -> float:
        """CPU seconds per 1,000 events."""
        return used / max(1, self.stored) * 1000


def measure(scenario: Scenario, what: Load, connections: int, number: int, plan: Plan) -> Measurement:
    """Load one scenario, then wait until everything is consumed, so that it takes nothing from the next one.

    Raises:
        BenchmarkError: something failed, or what was acknowledged is not there.
    """
    system = scenario.system
    before = system.cpu()
    with system.held() if scenario.held else contextlib.nullcontext():
        run = send(system, what, connections, plan.seconds, number)
        loaded = system.cpu().since(before)
    ended = time.monotonic()
    acknowledged = (run.requests - run.bad_status) * what.size
    stored = system.settle(acknowledged)
    settled = time.monotonic() - ended
    if not acknowledged <= stored <= acknowledged + connections * what.size:
        raise BenchmarkError(f"{scenario.name}: {acknowledged} events were acknowledged and {stored} are there")
    whole = system.cpu().since(before)
    time.sleep(REST_SECONDS)
    return Measurement(scenario.name, what.name, what.size, connections, number, run, stored, loaded, whole, settled)


class Systems(NamedTuple):
    """Everything that is compared: the scenarios that the plan names, Rushlight's instances, the peers' Valkey."""

    scenarios: list[Scenario]
    ours: list[collectors.Ours]
    valkey: collectors.Valkey


@contextlib.contextmanager
def systems(data: Path, plan: Plan) -> Iterator[Systems]:
    """Start everything that is compared; each system idles while another is under load."""
    collectors.build_peers()
    data.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        nothing = collectors.Module("nothing", "null_server", data)
        stack.callback(nothing.stop)
        open_door = collectors.Module(HTTP_ONLY, "open_door", data)
        stack.callback(open_door.stop)
        valkey = collectors.Valkey(data / "peers")
        stack.callback(valkey.stop)
        peers = []
        for name in collectors.PEER_NAMES:
            peers.append(collectors.Peer(name, valkey, data))
            stack.callback(peers[-1].stop)
        ours = [collectors.Ours(data, plan.key)]
        stack.callback(ours[0].stop)
        scenarios = [
            Scenario("nothing", nothing),
            *(Scenario(peer.name, peer) for peer in peers),
            Scenario(HTTP_ONLY, open_door),
            Scenario(HELD, ours[0], held=True),
            Scenario("rushlight", ours[0]),
        ]
        if TWO in plan.systems:
            ours.append(collectors.Ours(data / "two", plan.key, ingest_processes=1))
            stack.callback(ours[1].stop)
            scenarios.insert(-1, Scenario(TWO, ours[1], held=True, processes=2))
        yield Systems([scenario for scenario in scenarios if scenario.name in plan.systems], ours, valkey)


def run(data: Path, plan: Plan) -> Path:
    """Measure every scenario in interleaved rounds, then the steps, and write the result."""
    with systems(data, plan) as compared:
        scenarios = compared.scenarios
        for scenario in scenarios:
            for what in plan.loads:
                _warm_up(scenario, what)
        measured = list(_rounds(scenarios, plan))
        timed = shares.time_steps(compared.ours[0], compared.valkey, plan.step_events, plan.loads)
        ledgers = [ours.check() for ours in compared.ours]
    if not all(ledger["agrees"] for ledger in ledgers):
        raise BenchmarkError(f"a ledger is not balanced: {ledgers}")
    processes = {scenario.name: scenario.processes for scenario in scenarios}
    sections = [section(measured, processes, what, number) for what in plan.loads for number in plan.connections]
    sections += [PROCESSES_LINE, _generator_line(measured, plan), _ledger_line(ledgers)]
    sections += [
        shares.section(timed, _cpu_us(HELD, measured, plan), _cpu_us(HTTP_ONLY, measured, plan)),
        shares.how(plan.step_events),
    ]
    raw = {"plan": plan, "runs": measured, "steps": timed, "ledgers": ledgers}
    title = "Events per second and their latency, beside services that only append to a stream"
    return report.write("ingest", title, sections, raw, {"peers": collectors.describe_peers()})


def _warm_up(scenario: Scenario, what: Load) -> None:
    warm = send(scenario.system, what, 16, WARM_UP_SECONDS, 0)
    if warm.failures:
        raise BenchmarkError(f"{scenario.name}: {warm.failures} of {warm.requests} requests failed")
    scenario.system.settle((warm.requests - warm.bad_status) * what.size)


def _cpu_us(scenario: str, measured: Sequence[Measurement], plan: Plan) -> dict[str, float]:
    """CPU microseconds per event of a scenario's service at the most connections, by load."""
    found: dict[str, list[float]] = {}
    for one in measured:
        if (one.scenario, one.connections) == (scenario, max(plan.connections)):
            found.setdefault(one.load, []).append(one.cpu_per_thousand(one.cpu.service) * 1000)
    return {name: report.median(values) for name, values in found.items()}


def _rounds(scenarios: Sequence[Scenario], plan: Plan) -> Iterator[Measurement]:
    for number in range(1, plan.rounds + 1):
        for what in plan.loads:
            for connections in plan.connections:
                turn = number % len(scenarios)
                for scenario in [*scenarios[turn:], *scenarios[:turn]]:
                    one = measure(scenario, what, connections, number, plan)
                    print(_line(one), flush=True)
                    yield one


def _line(one: Measurement) -> str:
    failed = f"  FAILED {one.run.failures}" if one.run.failures else ""
    return (
        f"round {one.round} · {one.load:>7} @{one.connections:>3} · {one.scenario:<21}"
        f"{one.events_per_second:>9,.0f} events/s  p50 {one.run.p50_us / 1000:>6.1f}  p99 {one.run.p99_us / 1000:>6.1f}"
        f" ms  CPU µs/event: service {one.cpu_per_thousand(one.cpu.service) * 1000:>5.1f}"
        f"  all {one.cpu_per_thousand(one.cpu_settled.whole) * 1000:>5.1f}"
        f"  consumed in {one.settle_seconds:.1f} s{failed}"
    )


def section(measured: Sequence[Measurement], processes: Mapping[str, int], what: Load, connections: int) -> str:
    """The table of one load at one number of connections; ratios are taken within a round.

    Args:
        processes: that take events in, by scenario.
    """
    here = [one for one in measured if (one.load, one.connections) == (what.name, connections)]
    by_round = {(one.scenario, one.round): one for one in here}
    head = ["system", "processes", "events/s", "from–to", *(f"× {name} (from–to)" for name in BASELINES)]
    head += [*(f"per CPU second × {name}" for name in BASELINES), "consumed too: events/s"]
    head += ["p50 ms", "p99 ms", "CPU s/1,000 events: service", "Redis", "all, until consumed", "failed"]
    rows = []
    for name, count in processes.items():
        runs = [one for one in here if one.scenario == name]
        beside = [[by_round[base, one.round] for one in runs] if (base, 1) in by_round else [] for base in BASELINES]
        ratios = [
            [one.events_per_second / peer.events_per_second for one, peer in zip(runs, peers, strict=False)]
            for peers in beside
        ]
        costs = [
            [_service(peer) / max(_service(one), 1e-9) for one, peer in zip(runs, peers, strict=False)]
            for peers in beside
        ]
        rates = [one.events_per_second for one in runs]
        rows.append(
            [
                name,
                str(count),
                report.number(report.median(rates)),
                f"{min(rates):,.0f}–{max(rates):,.0f}",
                *(_spread(each) for each in ratios),
                *(f"{report.median(each):.2f}" if each else "–" for each in costs),
                report.number(report.median(one.sustained for one in runs)) if name == "rushlight" else "–",
                report.number(report.median(one.run.p50_us / 1000 for one in runs), 1),
                report.number(report.median(one.run.p99_us / 1000 for one in runs), 1),
                report.number(report.median(one.cpu_per_thousand(one.cpu.service) for one in runs), 4),
                report.number(report.median(one.cpu_per_thousand(one.cpu.redis) for one in runs), 4),
                report.number(report.median(one.cpu_per_thousand(one.cpu_settled.whole) for one in runs), 4),
                str(sum(one.run.failures for one in runs)),
            ]
        )
    return f"## {what.title}, {connections} connections\n\n" + report.table(head, rows)


def _service(one: Measurement) -> float:
    """CPU seconds per 1,000 events of what takes them in."""
    return one.cpu_per_thousand(one.cpu.service)


def _spread(ratios: Sequence[float]) -> str:
    if not ratios:
        return "–"
    return f"{report.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def _generator_line(measured: Sequence[Measurement], plan: Plan) -> str:
    costs = ", ".join(
        f"{report.median(one.run.request_ns for one in measured if one.load == what.name) / 1000:.1f} µs"
        f" for a request of {what.size}{' of the page' if what.format == 'browser' else ''}"
        for what in plan.loads
    )
    return (
        f"Making a request costs the generator {costs} (CPU of `wrk`'s script alone, median). *Nothing* is a server "
        "that answers every request at once: what the generator brings forth on this machine."
    )


def _ledger_line(ledgers: Sequence[dict[str, object]]) -> str:
    return (
        "After each run all that was acknowledged was in the peer's stream, or in Rushlight's journal; at the end "
        f"Rushlight's ledgers balanced: {', '.join(msgspec.json.encode(each['total']).decode() for each in ledgers)}."
    )
