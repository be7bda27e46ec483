"""Lines always sum to totals, and refunds never exceed what was paid."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushlight.errors import Conflict, Rejected
from rushlight.events.catalogue import OrderRefunded
from rushlight.events.pricing import price
from rushlight.orders.life import PAID, REFUNDED, life_of, view
from rushlight.orders.operations import Change, refund
from rushlight.orders.refunds import by_amount, by_lines, the_rest
from rushlight.orders.requests import NewOrder, OrderLine, Return, ReturnedLine

AT = datetime(2026, 1, 1, tzinfo=UTC)


def text(minor: int) -> str:
    """Minor units of USD as a request has them."""
    return f"{minor // 100}.{minor % 100:02d}"


cents = st.integers(0, 10**6)
lines = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(1, 5), st.integers(0, 10**5)), min_size=1, max_size=6
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A paid order as it is stored."""
    rows = draw(lines)
    goods = sum(quantity * unit for _, quantity, unit in rows)
    request = NewOrder(
        currency="USD",
        lines=[OrderLine(product_id=p, quantity=q, unit_price=text(u)) for p, q, u in rows],
        discount=text(draw(st.integers(0, goods))),
        tax=text(draw(cents)),
        shipping=text(draw(cents)),
    )
    priced = price(request)
    return {
        "_id": "o1",
        "shop": "default",
        "currency": "USD",
        "createdAt": AT,
        "lines": msgspec.to_builtins(priced.lines),
        "gross": priced.gross,
        "discounts": priced.discounts,
        "tax": priced.tax,
        "shipping": priced.shipping,
        "total": priced.total,
        "operations": [{"kind": "pay", "at": AT, "paymentId": "p", "amount": priced.total, "ref": "p"}],
    }


@given(documents())
def test_lines_sum_to_totals(order: dict[str, Any]) -> None:
    """``gross`` and ``discounts`` are exact sums of the lines, no discount exceeds its line, and the total adds up."""
    assert order["gross"] == sum(line["amount"] for line in order["lines"])
    assert order["discounts"] == sum(line.get("discount", 0) for line in order["lines"])
    assert all(0 <= line.get("discount", 0) <= line["amount"] for line in order["lines"])
    assert order["total"] == order["gross"] - order["discounts"] + order["tax"] + order["shipping"]


requests = st.one_of(
    st.builds(Return, amount=st.integers(1, 10**6).map(text)),
    st.builds(
        Return,
        lines=st.lists(
            st.builds(ReturnedLine, product_id=st.sampled_from(["a", "b", "c", "z"]), quantity=st.integers(1, 4)),
            min_size=1,
            max_size=3,
        ),
    ),
)


@given(documents(), st.lists(requests, max_size=8))
def test_refunds_never_exceed_what_was_paid(order: dict[str, Any], wanted: list[Return]) -> None:
    """After any row of refunds every part is within its bound, and the rest brings everything to exactly nothing."""
    for number, request in enumerate(wanted):
        apply_refund(order, request, str(number))
        life = life_of(order)
        assert 0 <= life.refunded <= life.paid == order["total"]
        assert life.left == life.paid - life.refunded
        assert min(*life.goods, *life.pieces, life.tax, life.shipping) >= 0
    life = life_of(order)
    if life.left:
        apply_refund(order, Return(), "rest")
        life = life_of(order)
        assert (life.status, life.refunded) == (REFUNDED, order["total"])
        assert {*life.goods, *life.pieces, life.tax, life.shipping} == {0}
    else:
        assert life.status in {PAID, REFUNDED}


def apply_refund(order: dict[str, Any], request: Return, reference: str) -> None:
    """Do one refund where it is allowed, and check that its event says the same as its operation."""
    try:
        change = refund(request)(order, reference, AT)
    except (Conflict, Rejected):
        return
    assert isinstance(change, Change)
    assert isinstance(change.event, OrderRefunded)
    assert change.event.amount == sum(line.amount for line in change.event.lines)
    assert change.event.amount == sum(part["amount"] for part in change.operation["lines"])
    if request.amount is not None:
        total = change.event.amount + change.event.tax + change.event.shipping
        assert text(total) == request.amount
    order["operations"].append(change.operation)


@given(documents(), st.lists(requests, max_size=6))
def test_an_earlier_answer_can_be_given_again(order: dict[str, Any], wanted: list[Return]) -> None:
    """What an order looked like after its first operations does not depend on what came later."""
    answers = [view(order, 0), view(order, 1)]
    for number, request in enumerate(wanted):
        before = len(order["operations"])
        apply_refund(order, request, str(number))
        if len(order["operations"]) > before:
            answers.append(view(order))
    assert [view(order, count) for count in range(len(order["operations"]) + 1)] == answers


def simple(amounts: list[tuple[str, int, int]], *, tax: int = 0, shipping: int = 0) -> dict[str, Any]:
    """A paid order of (product, quantity, amount) lines."""
    gross = sum(amount for _, _, amount in amounts)
    total = gross + tax + shipping
    return {
        "_id": "o1",
        "currency": "USD",
        "lines": [{"productId": p, "quantity": q, "amount": a} for p, q, a in amounts],
        "tax": tax,
        "shipping": shipping,
        "total": total,
        "operations": [{"kind": "pay", "at": AT, "paymentId": "p", "amount": total, "ref": "p"}],
    }


def test_an_amount_falls_on_everything_in_proportion() -> None:
    """Half of an order is half of its goods, tax and shipping, and no piece comes back for it."""
    split = by_amount(life_of(simple([("a", 1, 600), ("b", 1, 200)], tax=100, shipping=100)), 500, "USD")
    assert (split.goods, split.tax, split.shipping) == (400, 50, 50)
    assert [tuple(part) for part in split.parts] == [(0, 0, 300), (1, 0, 100)]


def test_pieces_bring_their_tax_but_not_the_shipping() -> None:
    """One of three equal pieces brings a third of the goods and of the tax; the rest brings what is left."""
    order = simple([("a", 3, 1000)], tax=100, shipping=500)
    life = life_of(order)
    split = by_lines(order, life, [ReturnedLine(product_id="a", quantity=1)])
    assert (split.goods, split.tax, split.shipping) == (333, 33, 0)
    rest = the_rest(life)
    assert (rest.goods, rest.tax, rest.shipping) == (1000, 100, 500)


def test_pieces_of_one_product_on_two_lines_are_taken_in_order() -> None:
    """A product that stands on two lines is returned from the first line first."""
    order = simple([("a", 1, 1000), ("b", 1, 1), ("a", 2, 1000)])
    split = by_lines(order, life_of(order), [ReturnedLine(product_id="a", quantity=2)])
    assert [tuple(part) for part in split.parts] == [(0, 1, 1000), (2, 1, 500)]


def test_taxed_goods_that_cost_nothing_carry_their_tax_by_the_piece() -> None:
    """With goods at 0 the tax goes back with the pieces."""
    order = simple([("a", 2, 0)], tax=10)
    assert by_lines(order, life_of(order), [ReturnedLine(product_id="a", quantity=1)]).tax == 5


def test_more_than_is_left_is_a_conflict() -> None:
    """Pieces or money beyond what is left are refused, and the message says what is left."""
    order = simple([("a", 2, 1000)])
    with pytest.raises(Conflict, match="only 2 of a"):
        by_lines(order, life_of(order), [ReturnedLine(product_id="a", quantity=3)])
    with pytest.raises(Conflict, match=r"only 10\.00 USD"):
        by_amount(life_of(order), 1001, "USD")
    with pytest.raises(Rejected):
        by_lines(order, life_of(order), [ReturnedLine(product_id="b", quantity=1)])
    with pytest.raises(Rejected):
        by_amount(life_of(order), 0, "USD")
