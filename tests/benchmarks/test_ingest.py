"""Runs of the ingest scenario: what counts, and what is set beside what."""

from __future__ import annotations

from benchmarks import ingest
from benchmarks.collectors import Cpu
from benchmarks.ingest import Measurement
from benchmarks.loads import Load, Run


def _run(scenario: str, number: int, requests: int, bad: int = 0) -> Measurement:
    run = Run(requests, 1_000_000, 500, 900, 1000, bad, 0, 0, 0, 0, request_ns=300)
    return Measurement(scenario, "50", 50, 16, number, run, requests * 50, Cpu(1, 0.5, 2), Cpu(1, 0.5, 4), 1.0)


def test_only_what_was_answered_with_success_counts() -> None:
    """A refused request brings no events, and what had to be consumed afterwards takes its time."""
    one = _run("rushlight", 1, requests=100, bad=20)
    assert one.acknowledged == 4000
    assert one.events_per_second == 4000
    assert one.sustained == 2000
    assert one.cpu_per_thousand(one.cpu_settled.whole) == 0.8


def test_ratios_are_taken_within_a_round() -> None:
    """Two rounds of different pace but the same ratio show that ratio, without a spread."""
    measured = [
        *(_run("nestjs-fastify", number, requests=100 * number) for number in (1, 2)),
        *(_run("rushlight", number, requests=300 * number) for number in (1, 2)),
    ]
    section = ingest.section(measured, {"nestjs-fastify": 1, "rushlight": 2}, Load.of("50", "segment"), 16)
    assert "3.00 (3.00–3.00)" in section
    assert "| rushlight      | 2 " in section
    assert "| 3.00 (3.00–3.00)" in section
    assert "50 events a request, 16 connections" in section
