"""`python -m benchmarks [order|ingest|outage|…|all]`: measure, and write the results."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    crash,
    footprint,
    ingest,
    journey,
    live,
    load,
    loads,
    order,
    outage,
    overload,
    rebuild,
    redis_faults,
    shares,
)
from benchmarks.processes import BenchmarkError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen benchmarks one after another.

    Returns:
        0, or 1 when one could not be run.
    """
    options = _parser().parse_args(arguments)
    chosen = [name for name in BENCHMARKS if name != "steps"] if options.benchmark == "all" else [options.benchmark]
    for name in chosen:
        data = Path(tempfile.mkdtemp(prefix="rushlight-benchmark-"))
        print(f"— {name}", flush=True)
        try:
            print(BENCHMARKS[name](data, options).read_text(encoding="utf-8"), flush=True)
        except BenchmarkError as error:
            print(f"benchmark stopped: {error}\nLogs are kept in {data}.", file=sys.stderr)
            return 1
        shutil.rmtree(data)
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


def _order(data: Path, options: argparse.Namespace) -> Path:
    connections = _numbers(options.connections)
    orders = load.Orders(options.visitors, options.idempotency_keys)
    return order.run(data, order.Plan(options.rounds, options.seconds or order.Plan().seconds, connections, orders))


def _ingest(data: Path, options: argparse.Namespace) -> Path:
    plan = ingest.Plan(
        options.rounds,
        options.seconds or ingest.Plan().seconds,
        _numbers(options.ingest_connections),
        _loads(options),
        options.key,
        tuple(name.strip() for name in options.systems.split(";")),
        options.step_events,
    )
    return ingest.run(data, plan)


def _steps(data: Path, options: argparse.Namespace) -> Path:
    return shares.run(data, options.step_events, _loads(options), options.key)


def _loads(options: argparse.Namespace) -> tuple[loads.Load, ...]:
    return tuple(loads.Load.of(name, options.format) for name in options.sizes.split(","))


def _overload(data: Path, options: argparse.Namespace) -> Path:
    factors = tuple(float(text) for text in options.factors.split(","))
    plan = overload.Plan(options.overload_rounds, options.overload_seconds, options.limit, factors, options.format)
    return overload.run(data, plan)


def _outage(data: Path, options: argparse.Namespace) -> Path:
    return outage.run(data, options.pairs, options.outage_seconds, options.faults.split(","))


def _crash(data: Path, options: argparse.Namespace) -> Path:
    return crash.run(data, options.crashes, options.crash_seconds)


def _live(data: Path, options: argparse.Namespace) -> Path:
    return live.run(data, options.live_rounds, options.rate, options.live_seconds)


def _journey(data: Path, _options: argparse.Namespace) -> Path:
    return journey.run(data)


def _footprint(data: Path, options: argparse.Namespace) -> Path:
    return footprint.run(data, options.starts, options.idle_seconds)


def _rebuild(data: Path, options: argparse.Namespace) -> Path:
    return rebuild.run(data, options.rebuild_rounds, options.rebuild_events)


BENCHMARKS: dict[str, Callable[[Path, argparse.Namespace], Path]] = {
    "order": _order,
    "ingest": _ingest,
    "steps": _steps,  # a part of ingest, alone
    "overload": _overload,
    "outage": _outage,
    "crash": _crash,
    "live": _live,
    "footprint": _footprint,
    "journey": _journey,
    "rebuild": _rebuild,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmark", nargs="?", default="all", choices=[*BENCHMARKS, "all"])
    group = parser.add_argument_group("order, ingest and outage")
    group.add_argument("--rounds", type=int, default=5, help="interleaved rounds of order and ingest")
    group.add_argument("--seconds", type=int, help="of load in each run")
    group.add_argument("--connections", default="1,16,64", help="comma-separated")
    group.add_argument("--visitors", action="store_true", help="orders name their visitor (two events an order)")
    group.add_argument("--idempotency-keys", action="store_true", help="each order has an Idempotency-Key")
    group.add_argument("--pairs", type=int, default=12, help="rounds of healthy runs and each fault, interleaved")
    group.add_argument("--outage-seconds", type=int, default=2, help="of load in each run of outage")
    group.add_argument("--faults", default=",".join(redis_faults.FAULTS), help="comma-separated, of outage")
    group = parser.add_argument_group("ingest (with --rounds and --seconds) and steps")
    group.add_argument("--ingest-connections", default="16,64", help="comma-separated")
    sizes = ",".join(loads.LOADS)
    group.add_argument(
        "--sizes", default=sizes, help="events a request, comma-separated; browser: one, as a page's SDK"
    )
    group.add_argument("--systems", default=";".join(ingest.SYSTEMS), help="which are measured, separated by ;")
    group.add_argument("--format", default="segment", choices=["segment", "cloudevents"], help="of events on the wire")
    group.add_argument("--key", default="public", choices=["public", "secret"], help="Rushlight's write key")
    group.add_argument("--step-events", type=int, default=100_000, help="over how many each step is timed")
    group = parser.add_argument_group("overload (with --format)")
    group.add_argument("--overload-rounds", type=int, default=3)
    group.add_argument("--overload-seconds", type=int, default=10, help="of load in each run")
    group.add_argument("--limit", type=int, default=2000, help="events a second that Rushlight is set to take")
    group.add_argument("--factors", default="0.5,1,2,5", help="of the limit, comma-separated: what is offered")
    group = parser.add_argument_group("crash")
    group.add_argument("--crashes", type=int, default=3, help="of each part of each system")
    group.add_argument("--crash-seconds", type=int, default=8, help="of load around each crash")
    group = parser.add_argument_group("live")
    group.add_argument("--live-rounds", type=int, default=2)
    group.add_argument("--live-seconds", type=int, default=30)
    group.add_argument("--rate", type=int, default=100, help="orders per second")
    group = parser.add_argument_group("footprint")
    group.add_argument("--starts", type=int, default=5, help="starts on a fresh directory, each followed by one again")
    group.add_argument("--idle-seconds", type=int, default=60)
    group = parser.add_argument_group("rebuild")
    group.add_argument("--rebuild-rounds", type=int, default=5, help="interleaved rounds of reading and rebuilding")
    group.add_argument("--rebuild-events", type=int, default=300_000, help="in the journal")
    return parser


if __name__ == "__main__":
    sys.exit(main())
