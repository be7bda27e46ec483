"""The arithmetic of the benchmarks."""

from __future__ import annotations

import math

import pytest

from benchmarks import report
from benchmarks.load import Run
from benchmarks.order import Measurement


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.51, 3.0), (0.99, 4.0), (1.0, 4.0), (0.0, 1.0)])
def test_percentile_is_a_value_that_occurred(share: float, expected: float) -> None:
    """A percentile is the smallest value that at least this share does not exceed."""
    assert report.percentile([4.0, 1.0, 3.0, 2.0], share) == expected


def test_nothing_measured_is_not_zero() -> None:
    """The figures of no runs are unknown, and a table shows a dash for them."""
    assert math.isnan(report.median([]))
    assert math.isnan(report.percentile([], 0.5))
    assert report.number(report.median([])) == "–"


def test_a_table_reads_well_in_its_source() -> None:
    """Columns are padded to their widest cell."""
    assert report.table(["a", "bb"], [["123", "4"]]) == "| a   | bb |\n|-----|----|\n| 123 | 4  |"


def test_a_refused_order_is_not_an_order_served() -> None:
    """Orders per second leave out what was answered with an error, and catching up lowers the sustained pace."""
    run = Run(
        requests=1000,
        duration_us=2_000_000,
        p50_us=1,
        p99_us=2,
        max_us=3,
        bad_status=100,
        connect_errors=0,
        read_errors=0,
        write_errors=0,
        timeouts=5,
    )
    measured = Measurement(
        scenario="x",
        connections=16,
        round=1,
        run=run,
        cpu_us=0.0,
        largest_backlog=0,
        largest_lag=0.0,
        catch_up=1.0,
    )
    assert (run.per_second, run.failures, measured.sustained) == (450.0, 105, 300.0)
