"""Typed events state a payload once; checks name the field that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from rushlight.errors import Rejected
from rushlight.events import catalogue
from rushlight.events.catalogue import MONEY_EVENTS, Line, OrderCreated, OrderRefunded, PageView, Purchase
from rushlight.events.event import Event, event_type, validate

ORDER: dict[str, Any] = {
    "orderId": "o-1",
    "currency": "EUR",
    "lines": [{"productId": "tea", "quantity": 2, "amount": 1000, "discount": 100}],
    "gross": 1000,
    "discounts": 100,
    "total": 900,
}
MONEY_WORDS = ("created", "paid", "payment_failed", "updated", "shipped", "cancelled", "refunded")
BEHAVIOUR = (
    *("page_view", "search", "view_item", "view_item_list", "select_item", "view_cart", "add_to_cart"),
    *("remove_from_cart", "begin_checkout", "add_shipping_info", "add_payment_info", "purchase", "refund"),
    *("login", "sign_up", "identify", "alias", "group", "screen"),
    *("add_to_wishlist", "view_promotion", "select_promotion"),
)
REFUND: dict[str, Any] = {"orderId": "o-1", "refundId": "r-1", "currency": "EUR", "amount": 300}


def changed(payload: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the payload with another value at a dotted path."""
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(payload))
    holder: Any = copy
    *parents, name = path.split(".")
    for parent in parents:
        holder = holder[int(parent) if parent.isdigit() else parent]
    holder[int(name) if name.isdigit() else name] = value
    return copy


def test_a_typed_event_in_its_envelope_and_out_again() -> None:
    """Sealing gives camelCase payload, the aggregate and the persons; opening gives the same typed event."""
    event = OrderCreated(
        order_id="o-1",
        currency="EUR",
        lines=[Line(product_id="tea", quantity=2, amount=1000, discount=100)],
        gross=1000,
        discounts=100,
        total=900,
        customer_id="c-1",
        visitor_id="v-1",
    )
    at = datetime(2026, 11, 24, 8, 0, 0, 123_456, timezone(timedelta(hours=2)))
    envelope = event.seal(id="x", shop="default", source="orders", origin="o:o-1:1", occurred_at=at, version=1)
    assert (envelope.name, envelope.aggregate_id, envelope.schema, envelope.version) == ("order_created", "o-1", 1, 1)
    assert (envelope.customer_id, envelope.visitor_id) == ("c-1", "v-1")
    assert envelope.occurred_at == datetime(2026, 11, 24, 6, 0, 0, 123_000, UTC)
    assert envelope.payload == ORDER | {"customerId": "c-1", "visitorId": "v-1"}
    assert OrderCreated.open(envelope) == event


@pytest.mark.parametrize(
    ("path", "value", "field", "code"),
    [
        ("lines.0.quantity", "2", "payload.lines[0].quantity", "payload"),
        ("lines.0.quantity", 2.0, "payload.lines[0].quantity", "payload"),
        ("lines.0.quantity", True, "payload.lines[0].quantity", "payload"),
        ("lines.0.amount", -1, "payload.lines[0].amount", "payload"),
        ("lines.0.amount", 2**53, "payload.lines[0].amount", "payload"),
        ("lines.0.productId", "", "payload.lines[0].productId", "payload"),
        ("lines.0", "tea", "payload.lines[0]", "payload"),
        ("lines", None, "payload.lines", "payload"),
        ("orderId", "x" * 257, "payload.orderId", "payload"),
        ("gross", None, "payload.gross", "payload"),
        ("currency", "eur", "payload.currency", "payload"),
        ("currency", "EUR\n", "payload.currency", "payload"),
        ("currency", "XXX", "payload.currency", "currency"),
        ("gross", 999, "payload.gross", "amount"),
        ("discounts", 0, "payload.discounts", "amount"),
    ],
)
def test_wrong_orders(path: str, value: Any, field: str, code: str) -> None:
    """The path of the field that is wrong is told, whether its type, its range or its sum is."""
    with pytest.raises(Rejected) as refused:
        validate(OrderCreated, changed(ORDER, path, value))
    assert (refused.value.field, refused.value.code) == (field, code)


def test_a_missing_field() -> None:
    """What is missing is named by its wire name."""
    with pytest.raises(Rejected, match="refundId"):
        validate(OrderRefunded, {name: value for name, value in REFUND.items() if name != "refundId"})


def test_refunds_sum_to_their_lines_if_they_have_any() -> None:
    """Lines that do not add up are refused; without lines the amount stands alone."""
    lines = [{"productId": "tea", "amount": 100}, {"productId": "cup", "amount": 200}]
    assert validate(OrderRefunded, REFUND | {"lines": lines}).amount == 300
    assert validate(OrderRefunded, REFUND).lines == []
    assert validate(OrderRefunded, {"orderId": "o-1", "refundId": "r-1"}).amount is None
    for given, field in (({"currency": "EUR", "tax": 1}, "amount"), ({"amount": 1}, "currency")):
        with pytest.raises(Rejected) as refused:
            validate(OrderRefunded, {"orderId": "o-1", "refundId": "r-1", **given})
        assert refused.value.field == f"payload.{field}"
    with pytest.raises(Rejected) as refused:
        validate(OrderRefunded, REFUND | {"lines": lines[:1]})
    assert refused.value.field == "payload.amount"


def test_unknown_fields_of_newer_senders_are_let_be() -> None:
    """A field that this code does not know is no reason to refuse the event."""
    assert validate(PageView, {"visitorId": "v", "scrollDepth": 3}) == PageView(visitor_id="v")


def test_a_shop_declares_its_own() -> None:
    """A class with a name is found by it; the aggregate is its first field unless said; a wrong one is an error."""

    class Rated(Event, name="test_rated", schema=3, upcasters={1: dict, 2: dict}):
        product_id: str
        stars: int

    class Praised(Rated, name="test_praised", aggregate="user"):
        user: str

    assert event_type("test_rated") is Rated
    assert event_type("test_unknown") is None
    assert (Rated(product_id="tea", stars=5).aggregate_id, Rated.schema) == ("tea", 3)
    praised = Praised(product_id="tea", stars=5, user="u-1")
    assert (praised.aggregate_id, praised.payload()) == ("u-1", {"productId": "tea", "stars": 5, "user": "u-1"})
    with pytest.raises(TypeError, match="nobody"):

        class Wrong(Event, name="test_wrong", aggregate="nobody"):
            user: str


def test_the_catalogue() -> None:
    """The contract's names are there, money by its order and behaviour by its visitor."""
    assert {f"order_{word}" for word in MONEY_WORDS} == MONEY_EVENTS
    for name in MONEY_EVENTS:
        declared = event_type(name)
        assert declared is not None
        assert declared.aggregate == "order_id"
    for name in BEHAVIOUR:
        declared = event_type(name)
        assert declared is not None
        assert issubclass(declared, catalogue.Behaviour)
        assert declared.aggregate == "visitor_id"
    assert Purchase(visitor_id="v").payload() == {"visitorId": "v"}
