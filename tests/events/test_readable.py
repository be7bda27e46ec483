"""Amounts are shown with their currency's digits, wherever in a payload they stand."""

from __future__ import annotations

from rushlight.events.readable import readable


def test_an_orders_amounts_are_decimal_strings() -> None:
    """The order's currency holds for its lines; counts and names stay what they are."""
    line = {"productId": "p", "quantity": 2, "amount": 1998, "discount": 5, "unitPrice": 999}
    shown = readable("order_created", {"orderId": "1", "currency": "USD", "gross": 1998, "lines": [line]})
    assert shown == {
        "orderId": "1",
        "currency": "USD",
        "gross": "19.98",
        "lines": [{"productId": "p", "quantity": 2, "amount": "19.98", "discount": "0.05", "unitPrice": "9.99"}],
    }


def test_each_item_has_its_own_currency() -> None:
    """Yen have no digits, dinars three; a price without a currency stays a number."""
    items = [{"price": 800, "currency": "JPY"}, {"price": 1500, "currency": "KWD"}, {"price": 3}]
    shown = readable("view_item", {"visitorId": "v", "items": items})
    assert [item["price"] for item in shown["items"]] == ["800", "1.500", 3]


def test_a_shops_own_event_is_left_alone() -> None:
    """Nothing is known of a custom event's numbers."""
    payload = {"currency": "USD", "amount": 5}
    assert readable("gift_wrapped", payload) == payload
