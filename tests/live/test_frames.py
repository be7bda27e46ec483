"""Deltas applied to a snapshot give the next snapshot, and say no more than what changed."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rushlight.live.frames import Frames
from rushlight.live.picture import Picture
from rushlight.live.shapes import LivePoint
from rushlight.query.counters import Total
from rushlight.query.freshness import CompleteTo
from rushlight.query.span import minute_of
from tests.query.world import moment

START = moment("2026-11-27T10:00")
LOCAL = ZoneInfo("Europe/Berlin")
HEAD = {"shop", "version", "asOf", "completeTo"}

Frame = dict[str, Any]


def picture(second: int, *, orders: dict[tuple[str, int], int] | None = None, **figures: Any) -> Picture:
    """A picture with so many orders by (currency, minute of the window)."""
    begin = minute_of(START) + second // 60
    points: dict[str, dict[int, LivePoint]] = {}
    for (currency, minute), count in (orders or {}).items():
        total = Total(currency)
        total.add({"o": count, "g": 100 * count})
        if count and minute_of(START) + minute >= begin:
            at = minute_of(START) + minute
            points.setdefault(currency, {})[at] = LivePoint.of(at, total, LOCAL)
    as_of = START + timedelta(seconds=second)
    complete_to = CompleteTo(money=as_of, behaviour=as_of)
    return Picture(as_of=as_of, complete_to=complete_to, figures=figures, series_from=begin, points=points, local=LOCAL)


def applied(board: Frame, delta: Frame) -> Frame:
    """What a client makes of a delta: keys replace, points of the series merge by their moment."""
    merged = {**board, **delta}
    if "series" in delta:
        currencies = {}
        for currency in board["series"]["currencies"].keys() | delta["series"]["currencies"].keys():
            points = {
                point["at"]: point
                for series in (board["series"], delta["series"])
                for point in series["currencies"].get(currency, [])
                if point["at"] >= delta["series"]["from"]
            }
            currencies[currency] = [points[at] for at in sorted(points)]
        merged["series"] = {**delta["series"], "currencies": currencies}
    return merged


def visible(board: Frame) -> Frame:
    """The board without points that show nothing."""
    series = board["series"]
    currencies = {name: [point for point in points if point["orders"]] for name, points in series["currencies"].items()}
    return {**board, "series": {**series, "currencies": {name: some for name, some in currencies.items() if some}}}


@pytest.mark.parametrize("seed", range(5))
def test_deltas_lead_from_snapshot_to_snapshot(seed: int) -> None:
    """Whatever comes, goes, or moves out of the window."""
    chance = random.Random(seed)
    frames = Frames("default")
    frames.advance(picture(0, visitors=0))
    board = json.loads(frames.snapshot())
    orders: dict[tuple[str, int], int] = {}
    for second in range(1, 400, 7):
        orders[chance.choice(("USD", "JPY")), chance.randint(0, 8)] = chance.randint(0, 2)
        delta = json.loads(frames.advance(picture(second, orders=orders, visitors=chance.randint(0, 1))))
        assert delta["version"] == board["version"] + 1
        board = applied(board, delta)
        assert visible(board) == visible(json.loads(frames.snapshot()))


def test_a_delta_says_only_what_changed() -> None:
    """Equal figures and equal points are not sent again; the head always is."""
    frames = Frames("default")
    frames.advance(picture(0, orders={("USD", 1): 1, ("USD", 2): 1}, visitors=3, carts=1))
    delta = json.loads(frames.advance(picture(1, orders={("USD", 1): 1, ("USD", 2): 2}, visitors=3, carts=2)))
    assert delta.keys() == HEAD | {"carts", "series"}
    assert [point["orders"] for point in delta["series"]["currencies"]["USD"]] == [2]
    assert (
        json.loads(frames.advance(picture(2, orders={("USD", 1): 1, ("USD", 2): 2}, visitors=3, carts=2))).keys()
        == HEAD
    )


def test_a_point_that_comes_to_nothing_is_told() -> None:
    """A cancelled order's minute is sent once more, with zeros in the currency's digits."""
    frames = Frames("default")
    frames.advance(picture(0, orders={("JPY", 1): 1}))
    delta = json.loads(frames.advance(picture(1)))
    (point,) = delta["series"]["currencies"]["JPY"]
    assert point == {
        "at": "2026-11-27T11:01:00+01:00",
        "orders": 0,
        "units": 0,
        "gross": "0",
        "discounts": "0",
        "refunds": "0",
        "net": "0",
    }


def test_a_heartbeat_changes_nothing_but_the_time() -> None:
    """While there is no newer picture, frames go on and say how old the figures are."""
    frames = Frames("default")
    frames.advance(picture(0, visitors=1))
    beat = json.loads(frames.repeat(START + timedelta(seconds=5)))
    assert beat == {
        "shop": "default",
        "version": 2,
        "asOf": "2026-11-27T10:00:05Z",
        "completeTo": {"money": "2026-11-27T10:00:00Z", "behaviour": "2026-11-27T10:00:00Z"},
    }


def test_a_snapshot_has_the_version_of_the_last_frame() -> None:
    """So that the next delta is the one that follows it."""
    frames = Frames("default")
    frames.advance(picture(0, visitors=1))
    frames.advance(picture(1, visitors=2))
    snapshot = json.loads(frames.snapshot())
    assert (snapshot["version"], snapshot["snapshot"], snapshot["visitors"]) == (2, True, 2)
