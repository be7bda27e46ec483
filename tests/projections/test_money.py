"""Sales follow from the lives of orders, whatever order their events come in."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushlight.events.catalogue import Line, OrderCancelled, OrderPaid, OrderRefunded, OrderUpdated, RefundLine
from rushlight.events.envelope import Envelope
from rushlight.projections.money import LATEST_ORDERS, Money
from tests.projections import oracle
from tests.projections.folding import fold
from tests.projections.making import BEGIN, order_lives, placed, sealed

TEA = Line(product_id="tea", quantity=2, amount=1000, discount=100, name="Tea", category="Drinks")
CUP = Line(product_id="cup", quantity=1, amount=500, name="Cup")


def figures(events: list[Envelope]) -> oracle.Figures:
    """Every number that the fold makes of the events, keys unescaped as the oracle writes them."""
    numbers = oracle.flat(fold(Money(), events), "hdpcx")
    return {(key.replace("%2F", "/").replace("%25", "%"), path): number for (key, path), number in numbers.items()}


@given(order_lives())
def test_any_order_of_arrival_gives_the_figures(events: list[Envelope]) -> None:
    """Events of orders in any order, some of them twice, give what all of them together mean."""
    assert figures(oracle.unique(events)) == oracle.money(events)


@given(order_lives(), st.randoms())
def test_two_orders_of_arrival_are_equal(events: list[Envelope], random_: random.Random) -> None:
    """The figures and the latest orders of one permutation are those of another."""
    once = oracle.unique(events)
    again = random_.sample(once, len(once))
    assert figures(once) == figures(again)
    latest = {key: content for key, content in fold(Money(), once).items() if "/l/" in key}
    assert {key: content for key, content in fold(Money(), again).items() if "/l/" in key} == latest


@given(order_lives())
def test_repeats_change_nothing(events: list[Envelope]) -> None:
    """Folding a report again, should it come under another event id, moves no figure."""
    assert figures([*events, *events]) == oracle.money(events)


@given(order_lives(), st.booleans())
def test_cancelled_orders_are_nowhere(events: list[Envelope], first: bool) -> None:
    """Once every order is cancelled all figures are zero, whether it was said first or last; a test stays a test."""
    cancelled = [sealed(OrderCancelled(order_id=event.aggregate_id), BEGIN, source=event.source) for event in events]
    left = figures([*cancelled, *events] if first else [*events, *cancelled])
    assert [key for key, _ in left if "/x/" not in key] == []


@given(order_lives(always_created=True))
def test_all_sums_agree(events: list[Envelope]) -> None:
    """Minutes, quarter-hours and products sum to the same sales, currency by currency."""
    sums: dict[str, Counter[tuple[str, str, str]]] = {kind: Counter() for kind in "hdp"}
    for (key, path), number in figures(events).items():
        _, kind, *rest = key.split("/")
        if kind in sums:
            source, currency = (rest[0], rest[2]) if kind == "p" else (rest[0], rest[1])
            sums[kind][source, currency, path.rsplit(".", 1)[1]] += number
    assert +sums["h"] == +sums["d"]
    goods = Counter({place: number for place, number in sums["d"].items() if place[2] in "ugdr"})
    assert +sums["p"] == +goods


def test_customers_sum_to_sales() -> None:
    """When every order has a customer, lifetime values sum to net sales."""
    events = [
        placed("o-1", [TEA, CUP], BEGIN, customer_id="c-1"),
        placed("o-2", [CUP], BEGIN, customer_id="c-2"),
        placed("o-3", [TEA], BEGIN + timedelta(days=3), customer_id="c-1"),
        sealed(OrderRefunded(order_id="o-1", refund_id="r", currency="EUR", amount=300), BEGIN),
    ]
    documents = fold(Money(), events)
    customers = {key: content for key, content in documents.items() if "/c/" in key}
    assert customers == {
        "default/c/c-1/orders/EUR": {
            "o": 2,
            "g": 2500,
            "d": 200,
            "r": 300,
            "first": BEGIN,
            "last": BEGIN + timedelta(days=3),
        },
        "default/c/c-2/orders/EUR": {"o": 1, "g": 500, "first": BEGIN, "last": BEGIN},
    }


def test_refund_before_its_order() -> None:
    """A refund counts when it comes; when its order comes later, it moves to that order's customer and products."""
    refund = sealed(
        OrderRefunded(order_id="o-1", refund_id="r", currency="EUR", amount=701, tax=10, shipping=5),
        BEGIN + timedelta(hours=1),
    )
    assert figures([refund]) == {
        ("default/h/orders/EUR/2026-11-24T23", "m.00.r"): 701,
        ("default/h/orders/EUR/2026-11-24T23", "m.00.t"): -10,
        ("default/h/orders/EUR/2026-11-24T23", "m.00.s"): -5,
        ("default/d/orders/EUR/2026-11-24", "q.92.r"): 701,
        ("default/d/orders/EUR/2026-11-24", "q.92.t"): -10,
        ("default/d/orders/EUR/2026-11-24", "q.92.s"): -5,
    }
    both = figures([refund, placed("o-1", [TEA, CUP], BEGIN, customer_id="c-1")])
    assert both["default/c/c-1/orders/EUR", "r"] == 701
    # 900 of 1400 were paid for tea: 450.64 of 701.
    assert both["default/p/orders/2026-11-24/EUR/tea", "q.92.r"] == 451
    assert both["default/p/orders/2026-11-24/EUR/cup", "q.92.r"] == 250


def test_a_refund_never_rewrites_gross() -> None:
    """Gross and discounts stay where and what they were; what went back stands beside them at its own time."""
    order = placed("o-1", [TEA], BEGIN, tax=90, shipping=50)
    lines = [RefundLine(product_id="tea", amount=900, quantity=2)]
    refund = OrderRefunded(order_id="o-1", refund_id="r", currency="EUR", amount=900, lines=lines, tax=90, shipping=50)
    before = figures([order])
    after = figures([order, sealed(refund, BEGIN + timedelta(hours=2))])
    assert {place: after[place] for place in before} == before
    assert after["default/h/orders/EUR/2026-11-25T00", "m.00.r"] == 900
    assert fold(Money(), [order, sealed(refund, BEGIN)])["default/l/orders"]["orders"][0]["status"] == "refunded"


@pytest.mark.parametrize("first", [True, False])
def test_test_orders_are_counted_and_in_no_figure(first: bool) -> None:
    """Nor are their refunds and payments, whatever arrives first; a test refund of a real order is none."""
    tried = placed("o-1", [TEA], BEGIN, customer_id="c-1", test=True)
    told = placed("o-2", [TEA], BEGIN)
    told.context = {"test": True}
    rest = [
        sealed(OrderRefunded(order_id=order, refund_id="r", currency="EUR", amount=300), BEGIN)
        for order in ("o-1", "o-2")
    ]
    rest.append(sealed(OrderPaid(order_id="o-1", payment_id="p", currency="EUR", amount=900), BEGIN))
    events = [tried, told, *rest] if first else [*rest, tried, told]
    assert figures(events) == {("default/x/orders/2026-11-24T22", "m.00.n"): 2}
    documents = fold(Money(), events)
    assert {order["status"] for order in documents["default/l/orders"]["orders"]} == {"test"}
    assert not any("/c/" in key and "first" in content for key, content in documents.items())
    real = placed("o-3", [TEA], BEGIN)
    back = sealed(OrderRefunded(order_id="o-3", refund_id="r", currency="EUR", amount=300), BEGIN)
    back.context = {"test": True}
    assert figures([back, real]) == figures([real])


def test_no_money_event_is_too_small() -> None:
    """An order of total 0 counts as an order; a line of quantity 0 keeps its amount."""
    free = placed("o-1", [Line(product_id="tea", quantity=0, amount=100, discount=100)], BEGIN)
    numbers = figures([free])
    assert numbers["default/d/orders/EUR/2026-11-24", "q.88.o"] == 1
    assert numbers["default/p/orders/2026-11-24/EUR/tea", "q.88.g"] == 100


def test_what_is_known_of_a_product() -> None:
    """A product's document says its id, name and category, also when the id needs escaping in the key."""
    odd = Line(product_id="a/b%", quantity=1, amount=1, name="A", category="K")
    documents = fold(Money(), [placed("o/1", [odd], BEGIN)])
    product = documents["default/p/orders/2026-11-24/EUR/a%2Fb%25"]
    assert product == {"q": {"88": {"u": 1, "g": 1}}, "id": "a/b%", "name": "A", "category": "K"}
    assert "default/o/orders/o%2F1" in documents


@pytest.mark.parametrize("seed", range(5))
def test_latest_orders(seed: int) -> None:
    """The latest twenty by time, newest first, with what became of them, from any order of arrival."""
    events = [placed(f"o-{n:02d}", [TEA], BEGIN + timedelta(seconds=n // 2)) for n in range(60)]
    events += [
        sealed(OrderPaid(order_id=f"o-{n:02d}", payment_id="p", currency="EUR", amount=900), BEGIN)
        for n in range(0, 60, 3)
    ]
    events += [sealed(OrderCancelled(order_id=f"o-{n:02d}"), BEGIN) for n in range(0, 60, 7)]
    events.append(sealed(OrderUpdated(order_id="o-59", revision="1"), BEGIN))
    random.Random(seed).shuffle(events)
    assert LATEST_ORDERS == 20
    assert fold(Money(), events)["default/l/orders"]["orders"] == oracle.latest_orders(events, "default", "orders")


def test_a_refund_without_an_amount_is_of_the_rest() -> None:
    """Goods, tax and shipping go back less what other refunds account for, to the cent and whenever they are told."""
    order = placed("o-1", [TEA, CUP, TEA], BEGIN, tax=90, shipping=50, customer_id="c-1")
    whole = sealed(OrderRefunded(order_id="o-1", refund_id="full"), BEGIN + timedelta(hours=1))
    part = RefundLine(product_id="cup", amount=301)
    partial = sealed(
        OrderRefunded(order_id="o-1", refund_id="r", currency="EUR", amount=301, lines=[part], tax=30),
        BEGIN + timedelta(hours=2),
    )
    documents = fold(Money(), [whole, order])
    assert documents["default/h/orders/EUR/2026-11-24T23"]["m"]["00"] == {"r": 2300, "t": -90, "s": -50}
    assert documents["default/c/c-1/orders/EUR"]["r"] == 2300
    assert documents["default/l/orders"]["orders"][0]["status"] == "refunded"
    assert figures([whole]) == {}
    for events in itertools.permutations([order, whole, partial, whole]):
        numbers = figures(list(events))
        assert numbers["default/h/orders/EUR/2026-11-24T23", "m.00.r"] == 1999
        assert numbers["default/h/orders/EUR/2026-11-24T23", "m.00.t"] == -60
        assert numbers["default/p/orders/2026-11-24/EUR/cup", "q.92.r"] == 199
        assert numbers["default/p/orders/2026-11-24/EUR/tea", "q.92.r"] == 1800
