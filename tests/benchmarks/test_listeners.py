"""When a dashboard first showed an order, read from the frames it received."""

from __future__ import annotations

from benchmarks.clients.live import show
from benchmarks.listeners import Frame, shown_by_count, shown_by_id

FRAMES = [
    Frame(at=10, ids=[], count=5),
    Frame(at=20, ids=["b", "a"], count=7),
    Frame(at=30, ids=["c", "b"], count=None),
    Frame(at=40, ids=["d", "c"], count=9),
]


def test_an_order_is_shown_when_a_frame_first_lists_it() -> None:
    """Later frames that list it again do not count."""
    assert shown_by_id(FRAMES) == {"a": 20, "b": 20, "c": 30, "d": 40}


def test_the_nth_order_is_counted_when_the_figure_first_includes_it() -> None:
    """A frame without the figure says nothing, and an order that no frame counted stays unknown."""
    assert shown_by_count(FRAMES, base=5, orders=5) == [20, 20, 40, 40, None]


def test_both_kinds_of_frames_are_understood() -> None:
    """Figures with a list of orders, and one message for each order."""
    figures = show(
        {"orders": [{"orderId": "a"}], "today": {"currencies": {"USD": {"orders": 2}, "EUR": {"orders": 1}}}}
    )
    single = show({"orderId": "b", "lifetimeValue": "1.00"})
    assert (figures["ids"], figures["count"]) == (["a"], 3)
    assert (single["ids"], single["count"]) == (["b"], None)
