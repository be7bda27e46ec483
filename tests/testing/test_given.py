"""`given(events).then(projection(Kind) == {…})`: what it folds, and what it finds wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from rushlight import Envelope, Event, Line, OrderCreated, Projection, Rejected, State
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.money import Money
from rushlight.testing import Given, given, projection, sealed
from tests.projections.folding import fold


class Wrapped(Event, name="wrapped_for_a_test", aggregate="order_id"):
    """An event of a shop's own."""

    order_id: str
    paper: str = "plain"


class Papers(Projection):
    """Counts papers, and remembers the last."""

    name = "papers_for_a_test"
    events = frozenset({"wrapped_for_a_test"})

    def fold(self, state: State, event: Envelope) -> None:
        """Count it."""
        state.add(f"{event.shop}/papers", {event.payload.get("paper", "plain"): 1})
        state.high(f"{event.shop}/papers", "last", event.occurred_at)


class Orders(Projection):
    """One document an order, read and rewritten."""

    name = "orders_for_a_test"

    def keys(self, event: Envelope) -> Sequence[str]:
        """The order's."""
        return (f"{event.shop}/{event.aggregate_id}",)

    def fold(self, state: State, event: Envelope) -> None:
        """Append it."""
        state.document(self.keys(event)[0]).setdefault("papers", []).append(event.payload.get("paper", "plain"))


class Forgetful(Orders):
    """The bug: it reads what it did not name."""

    def keys(self, event: Envelope) -> Sequence[str]:  # noqa: ARG002 - that is the bug
        """Nothing."""
        return ()

    def fold(self, state: State, event: Envelope) -> None:
        """Append it."""
        state.document(f"{event.shop}/{event.aggregate_id}").setdefault("papers", []).append("one")


class Unstorable(Papers):
    """The bug: a set is nothing that BSON has."""

    def fold(self, state: State, event: Envelope) -> None:
        """Put it."""
        state.put(f"{event.shop}/papers", {"seen": {event.aggregate_id}})


ONE, TWO = Wrapped(order_id="A-1", paper="stars"), Wrapped(order_id="A-2", paper="dots")


def test_figures_and_defaults() -> None:
    """Typed events, envelopes and lists of them, in order, with ids and times of their own."""
    moment = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
    story = given(ONE, [TWO, sealed(ONE, shop="berlin", occurred_at=moment)])
    story.then(
        projection(Papers)
        == {
            "default/papers": {"stars": 1, "dots": 1, "last": datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)},
            "berlin/papers": {"stars": 1, "last": moment},
        },
        projection(Orders)
        == {
            "default/A-1": {"papers": ["stars"]},
            "default/A-2": {"papers": ["dots"]},
            "berlin/A-1": {"papers": ["stars"]},
        },
    )
    assert len({event.id for event in story.events}) == len({event.origin for event in story.events}) == 3
    given().then(projection(Papers) == {})


def test_several_partitions_are_merged_for_the_reader() -> None:
    """Sums are the same however many partitions there are."""
    counted = Papers()
    many = [Wrapped(order_id=f"A-{n}") for n in range(20)]
    last = datetime(2026, 1, 1, 12, 0, 19, tzinfo=UTC)
    given(many).then(projection(counted) == {"default/papers": {"plain": 20, "last": last}})
    with pytest.raises(AssertionError):
        given(many).then(projection(counted, partitions=8) == {"default/papers": {"plain": 21, "last": last}})


def test_the_house_projections_fold_the_same() -> None:
    """Rushlight's own projections make of a story what a plain fold makes."""
    line = Line(product_id="mug", quantity=2, amount=3998)
    story = given(OrderCreated(order_id="A-1", currency="USD", lines=[line], gross=3998, total=3998))
    for kind in (Money, Behaviour):
        story.then(projection(kind) == fold(kind(), story.events))


@pytest.mark.parametrize(
    ("kind", "expected", "word"),
    [
        (Papers, {"default/papers": {"stars": 3}}, "and not"),
        (Forgetful, {"default/A-1": {"papers": ["one", "one"]}}, "keys"),
        (Unstorable, {"default/papers": {"seen": {"A-1"}}}, "cannot be stored"),
    ],
)
def test_what_is_wrong_is_said(kind: type[Projection], expected: dict[str, Any], word: str) -> None:
    """Other figures, a document that `keys` does not name, a value that cannot be stored."""
    with pytest.raises(AssertionError, match=word):
        given(ONE, ONE).then(projection(kind) == expected)


def test_a_comparison_alone_says_nothing() -> None:
    """It must not pass where somebody forgot `then`, nor be compared with anything but documents."""
    with pytest.raises(TypeError, match="then"):
        assert projection(Papers) == {}
    with pytest.raises(TypeError, match="documents"):
        assert projection(Papers) == 3
    wrong: Any = {}
    with pytest.raises(TypeError, match="comparisons"):
        given(ONE).then(wrong)
    assert isinstance(given(ONE), Given)


def test_events_are_checked() -> None:
    """What a producer would be refused, a test is refused too."""
    broken: Any = Wrapped(order_id="A-1", paper=3)  # type: ignore[arg-type]
    with pytest.raises(Rejected, match="paper"):
        given(broken)
