"""Goodput, shares and events of overload runs are reckoned from their answers."""

from __future__ import annotations

import pytest

from benchmarks import overload
from benchmarks.offering import Answers, Outcome
from benchmarks.overload import Measurement, Plan

QUICK = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0}
PLAN = Plan(limit=100, factors=(1.0, 5.0))


def _run(factor: float, taken: int, refused: int) -> Measurement:
    answers = [Answers(202, taken, {"view": taken - 10, "cart": 0, "order": 10}, QUICK, QUICK, {})]
    if refused:
        answers.append(Answers(429, refused, {"view": refused, "cart": 0, "order": 0}, QUICK, QUICK, {2: refused - 1}))
    outcome = Outcome(taken + refused, 10.0, answers, 0, QUICK, QUICK, 0.1, 8, [])
    return Measurement(factor, 1, outcome, taken, [50_000_000, 51_000_000], 0.5)


def test_goodput_is_set_beside_the_best_pace() -> None:
    """The peak is the largest of the paces' medians, whichever pace that is."""
    runs = [_run(1.0, 1000, 0), _run(5.0, 900, 4100)]
    assert overload.peak(runs) == pytest.approx(100)
    assert runs[1].outcome.goodput == pytest.approx(90)


def test_orders_of_segment_make_two_events() -> None:
    """The ledger counts a named visitor's order twice: as money and as the funnel's purchase."""
    accepted = _run(1.0, 1000, 0).accepted
    assert overload.events_of(accepted, Plan(format="segment")) == 1010
    assert overload.events_of(accepted, Plan(format="cloudevents")) == 1000


def test_the_summary_shows_what_was_turned_away() -> None:
    """The table shows shares by kind, and rejections that did not say when to come back."""
    table, verdict = overload.summary([_run(1.0, 1000, 0), _run(5.0, 900, 4100)], PLAN)
    assert "| 500 (5 ×)" in table
    assert "2–2 (1 without)" in table
    assert "18 %, – %, 100 %" in table
    assert "90 % of the peak" in verdict
