"""A body is checked in full before anything is written, and an error names its field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rushlight.errors import Rejected
from rushlight.events.pricing import price
from rushlight.orders.requests import MAX_LINES, Payment, Return, read, read_key, read_order
from tests.orders.client import order

LINE = {"productId": "p1", "quantity": 1, "unitPrice": "1.00"}


def line(**fields: Any) -> dict[str, Any]:
    """An order of one line with these fields."""
    return order(lines=[LINE | fields])


WRONG: list[tuple[object, str, str]] = [
    ([], "", "invalid"),
    ({}, "currency", "missing"),
    ({"currency": "USD"}, "lines", "missing"),
    (order(currency="usd"), "currency", "invalid"),
    (order(currency="XXX"), "currency", "currency"),
    (order(currency="QQQ"), "currency", "currency"),
    (order(currency="USD\n"), "currency", "invalid"),
    (order(currency=840), "currency", "invalid"),
    (order(lines=[]), "lines", "invalid"),
    (order(lines={}), "lines", "invalid"),
    (order(lines=[LINE] * (MAX_LINES + 1)), "lines", "invalid"),
    (order(lines=[LINE, {"quantity": 1, "amount": 1}]), "lines[1].productId", "missing"),
    (order(lines=[LINE, LINE | {"price": 1}]), "lines[1].price", "unknown_field"),
    (order(occurredAt="2026-01-01T00:00:00Z"), "occurredAt", "unknown_field"),
    (order(orderId="a/b"), "orderId", "invalid"),
    (order(orderId=""), "orderId", "invalid"),
    (order(orderId="x" * 129), "orderId", "invalid"),
    (order(orderId=7), "orderId", "invalid"),
    (order(shop="Café"), "shop", "invalid"),
    (order(shop="a/b"), "shop", "invalid"),
    (order(customerId=""), "customerId", "invalid"),
    (order(customerId="a\x00b"), "customerId", "invalid"),
    (order(visitorId="a\nb"), "visitorId", "invalid"),
    (order(visitorId="v" * 257), "visitorId", "invalid"),
    (order(country="x" * 65), "country", "invalid"),
    (line(productId=""), "lines[0].productId", "invalid"),
    (line(productId="a\x1bb"), "lines[0].productId", "invalid"),
    (line(name="a\x00"), "lines[0].name", "invalid"),
    (line(quantity=0), "lines[0].quantity", "invalid"),
    (line(quantity=-1), "lines[0].quantity", "invalid"),
    (line(quantity=1.5), "lines[0].quantity", "invalid"),
    (line(quantity="1"), "lines[0].quantity", "invalid"),
    (line(quantity=10**30), "lines[0].quantity", "invalid"),
    (line(unitPrice=None), "lines[0].unitPrice", "missing"),
    (line(unitPrice="1.001"), "lines[0].unitPrice", "amount"),
    (line(unitPrice="-1"), "lines[0].unitPrice", "amount"),
    (line(unitPrice="1e40"), "lines[0].unitPrice", "amount"),
    (line(unitPrice="1" * 41), "lines[0].unitPrice", "invalid"),
    (line(unitPrice="NaN"), "lines[0].unitPrice", "amount"),
    (line(unitPrice="Infinity"), "lines[0].unitPrice", "amount"),
    (line(unitPrice=""), "lines[0].unitPrice", "amount"),
    (line(unitPrice="1,50"), "lines[0].unitPrice", "amount"),
    (line(unitPrice=True), "lines[0].unitPrice", "invalid"),
    (line(unitPrice=0.001), "lines[0].unitPrice", "amount"),
    (line(unitPrice=2**60), "lines[0].unitPrice", "amount"),
    (line(unitPrice="90000000000000", quantity=10**9), "lines[0].unitPrice", "amount"),
    (line(unitPrice="1.00", quantity=3, amount="2.99"), "lines[0].amount", "amount"),
    (line(discount="1.01"), "lines[0].discount", "amount"),
    (line(discount=-1), "lines[0].discount", "amount"),
    (line(unitPrice=None, amount="x"), "lines[0].amount", "amount"),
    (order(currency="JPY", lines=[LINE | {"unitPrice": "1.5"}]), "lines[0].unitPrice", "amount"),
    (order(discount="20.01"), "discount", "amount"),
    (order(discount="-1"), "discount", "amount"),
    (order(tax="-0.01"), "tax", "amount"),
    (order(shipping="0.001"), "shipping", "amount"),
    (order(tax="90071992547409.91", shipping="1"), "lines", "amount"),
]


@pytest.mark.parametrize(("body", "field", "code"), WRONG)
def test_what_is_wrong_is_named(body: object, field: str, code: str) -> None:
    """The error of a wrong body carries the path of its field and a stable code."""
    with pytest.raises(Rejected) as caught:
        price(read_order(msgspec.json.encode(body)))
    assert (caught.value.field, caught.value.code) == (field, code)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"currency": NaN}',
        b'{"currency":"\xff"}',
        b'{"currency":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"currency":"USD","lines":[]}{}',
        b'{"currency":"USD","lines":' + b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    """Broken JSON, other encodings, lone surrogates and bottomless nesting are refused as such."""
    with pytest.raises(Rejected) as caught:
        read_order(body)
    assert caught.value.code in {"json", "invalid"}


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [("USD", "19.98", 1998), ("USD", 19.98, 1998), ("USD", 20, 2000), ("JPY", "800", 800), ("KWD", "1.234", 1234)],
)
def test_amounts_are_strings_or_numbers(currency: str, amount: object, minor: int) -> None:
    """A decimal string and a JSON number mean the same exact amount."""
    body = order(currency=currency, lines=[{"productId": "p", "quantity": 1, "amount": amount}])
    assert price(read_order(msgspec.json.encode(body))).total == minor


def test_names_may_be_in_any_script() -> None:
    """Only control characters are refused: joined emoji and line breaks in a name are the shop's affair."""
    name = "👩‍🚀 Größe\n第一"
    assert read_order(msgspec.json.encode(line(name=name))).lines[0].name == name


def test_an_empty_body_asks_for_what_is_usual() -> None:
    """Pay and refund without a body mean the whole order."""
    assert read(Payment, b"").amount is None
    assert read(Return, b"").lines is None


@pytest.mark.parametrize("header", [b"", b"x" * 256, b"a\x00b", "clé".encode(), b"a\tb"])
def test_a_key_is_printable_ascii(header: bytes) -> None:
    """An Idempotency-Key that a log could not show is refused."""
    with pytest.raises(Rejected) as caught:
        read_key(header)
    assert (caught.value.field, caught.value.code) == ("Idempotency-Key", "key")
