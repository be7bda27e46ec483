"""What GA4's parameters mean in a report: items, orders and refunds. ``price`` is of one piece, after its ``discount``.

``value`` is never taken for an order's amount: it is what the items come to, and leaves out tax and shipping.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from rushlight.errors import Rejected
from rushlight.events.money import exact
from rushlight.ingest.limits import check_payload
from rushlight.ingest.names import currency_of, data_of, described, identifier, objects, product_id, quantity

FIELDS = {
    "page_location": "url",
    "page_title": "title",
    "page_referrer": "referrer",
    "firebase_screen": "name",
    "screen_name": "name",
}
# GA4's own names of what the catalogue calls otherwise.
NAMES = {"screen_view": "screen"}
REST = "rest"
_FIXED = {
    "data.visitorId": "client_id",
    "subject": "client_id",
    "data.customerId": "user_id",
    "type": "name",
    "time": "timestamp_micros",
    "id": "params.event_id",
}
_WORDS = [
    ("data.", "params."),
    (".lines", ".items"),
    (".orderId", ".transaction_id"),
    (".transactionId", ".transaction_id"),
    (".order_id", ".transaction_id"),
    (".productId", ".item_id"),
    (".product_id", ".item_id"),
    (".unitPrice", ".price"),
    (".searchTerm", ".search_term"),
    (".promotionId", ".promotion_id"),
    *((f".{FIELDS[name]}", f".{name}") for name in ("page_location", "page_title", "page_referrer")),
]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Params = dict[str, Any]
Item = Mapping[str, Any]


def behaviour(name: str, params: Params) -> Params:
    """The data of a catalogue event that a visitor did; of a price without a currency only that it was seen."""
    renamed = {ours: params[theirs] for theirs, ours in FIELDS.items() if params.get(theirs) is not None}
    return data_of(name, {**params, **renamed}, place="params")


def order(params: Params, country: Any) -> Params:
    """The data of ``order_created``.

    Raises:
        Rejected: no order id, currency or items, or an item without a price.
    """
    lines = [_line(item, place) for item, place in objects(params.get("items"), "params.items")]
    if not lines:
        raise Rejected("is required: an order is what its items come to", field="params.items", code="missing")
    data = {"orderId": _order_id(params), "currency": _currency(params), "lines": lines}
    data |= {name: params[name] for name in ("tax", "shipping") if params.get(name) is not None}
    return data | ({"country": country} if isinstance(country, str) and country else {})


def refund(params: Params, identity: str) -> Params:
    """The data of ``order_refunded``: the items that went back, else ``value``, else all that is left of the order.

    Args:
        identity: tells one part of a refund from another.

    Raises:
        Rejected: no order id; or items or a value without a currency, or items with neither prices nor a value.
    """
    items = objects(params.get("items"), "params.items")
    data: Params = {"orderId": _order_id(params)}
    value = params.get("value")
    if not items and value is None:
        return data | {"refundId": REST}
    data |= {name: params[name] for name in ("tax", "shipping") if params.get(name) is not None}
    data |= {
        "refundId": identifier(params.get("refund_id"), "params.refund_id") or identity,
        "currency": _currency(params),
    }
    if items and (value is None or all(item.get("price") is not None for item, _ in items)):
        return data | {"lines": [_refunded(item, place) for item, place in items]}
    return data | {"amount": value}


def personal(properties: Params, data: Params) -> Params | None:
    """User properties and what the sender says of the person; such values come as ``{"value": …}``.

    Raises:
        Rejected: more than can be kept.
    """
    said = {
        name: value["value"] if isinstance(value, Mapping) and "value" in value else value
        for name, value in {**properties, **data}.items()
    }
    check_payload(said, "user_properties")
    return said or None


def in_ga4(field: str) -> str:
    """A field of a report by the name that it has in a request of the Measurement Protocol."""
    if field in _FIXED:
        return _FIXED[field]
    for ours, theirs in _WORDS:
        field = field.replace(ours, theirs)
    return field


def time_of(micros: int | str | float) -> datetime:
    """The moment of microseconds since 1970.

    Raises:
        Rejected: it is no number, or no time.
    """
    try:
        return _EPOCH + timedelta(microseconds=int(micros))
    except (ValueError, OverflowError) as error:
        raise Rejected("is no time in microseconds since 1970", field="timestamp_micros", code="time") from error


def string(value: Any) -> str | None:
    """A text that is one and is not empty."""
    return value if isinstance(value, str) and value else None


def _line(item: Item, place: str) -> Params:
    pieces = quantity(item.get("quantity"), f"{place}.quantity")
    price = _amount(item, "price", place)
    if price is None:
        raise Rejected("is required: the price of one piece", field=f"{place}.price", code="missing")
    off = _amount(item, "discount", place) or Decimal(0)
    line = {
        "productId": product_id(item, place),
        "quantity": pieces,
        **described(item),
        "unitPrice": f"{price + off:f}",
    }
    return line | ({"discount": f"{off * pieces:f}"} if off else {})


def _refunded(item: Item, place: str) -> Params:
    pieces = quantity(item.get("quantity"), f"{place}.quantity")
    price = _amount(item, "price", place)
    if price is None:
        reason = "is required, or the refund's value: it says how much of the order went back"
        raise Rejected(reason, field=f"{place}.price", code="missing")
    return {"productId": product_id(item, place), "quantity": pieces, "amount": f"{price * pieces:f}"}


def _amount(item: Item, name: str, place: str) -> Decimal | None:
    said = item.get(name)
    return None if said is None or said == "" else exact(said, field=f"{place}.{name}")


def _order_id(params: Params) -> str:
    order_id = identifier(params.get("transaction_id"), "params.transaction_id")
    if order_id is None:
        raise Rejected("is required: it is the order's id", field="params.transaction_id", code="missing")
    return order_id


def _currency(params: Params) -> str:
    try:
        currency = currency_of(params.get("currency"), None)
    except Rejected as error:
        raise Rejected(error.reason, field="params.currency", code=error.code) from error
    if currency is None:
        raise Rejected("is required wherever money is named", field="params.currency", code="missing")
    return currency
