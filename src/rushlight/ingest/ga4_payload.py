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

FIELDS = {
    "page_location": "url",
    "page_title": "title",
    "page_referrer": "referrer",
    "search_term": "searchTerm",
    "transaction_id": "transactionId",
    "screen_name": "name",
    "firebase_screen": "name",
    "promotion_id": "promotionId",
    "promotion_name": "promotionName",
    "creative_name": "creativeName",
    "creative_slot": "creativeSlot",
    "method": "method",
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
    (".productId", ".item_id"),
    (".unitPrice", ".price"),
    *((f".{ours}", f".{theirs}") for theirs, ours in FIELDS.items() if theirs not in (ours, "firebase_screen")),
]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Params = dict[str, Any]


def behaviour(params: Params) -> Params:
    """The data of a catalogue event that a visitor did."""
    data = {ours: params[theirs] for theirs, ours in FIELDS.items() if params.get(theirs) is not None}
    if (order := text_of(params.get("transaction_id"))) is not None:
        data["transactionId"] = order
    if params.get("items") is not None:
        currency = _currency(params)
        data["currency"] = currency
        data["items"] = [_item(each, index, currency) for index, each in enumerate(_items(params))]
    return data


def order(params: Params, country: Any) -> Params:
    """The data of ``order_created``.

    Raises:
        Rejected: no order id, currency or items, or an item without a price.
    """
    lines = [_line(each, index) for index, each in enumerate(_items(params))]
    if not lines:
        raise Rejected("is required: an order is what its items come to", field="params.items", code="missing")
    data = {"orderId": _order_id(params), "currency": _required_currency(params), "lines": lines}
    data |= {name: params[name] for name in ("tax", "shipping") if params.get(name) is not None}
    return data | ({"country": country} if isinstance(country, str) and country else {})


def refund(params: Params, identity: str) -> Params:
    """The data of ``order_refunded``: the items that went back, else ``value``, else all that is left of the order.

    Args:
        identity: tells one part of a refund from another.

    Raises:
        Rejected: no order id; or items or a value without a currency, or items with neither prices nor a value.
    """
    items = _items(params)
    data: Params = {"orderId": _order_id(params)}
    value = params.get("value")
    if not items and value is None:
        return data | {"refundId": REST}
    data |= {name: params[name] for name in ("tax", "shipping") if params.get(name) is not None}
    data |= {"refundId": text_of(params.get("refund_id")) or identity, "currency": _required_currency(params)}
    if items and (value is None or all(each.get("price") is not None for each in items)):
        return data | {"lines": [_refunded(each, index) for index, each in enumerate(items)]}
    return data | {"amount": value}


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


def text_of(value: Any) -> str | None:
    """An id as text: senders give numbers, too."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def _items(params: Params) -> list[Mapping[str, Any]]:
    items = params.get("items") or []
    if not isinstance(items, list):
        raise Rejected("must be an array of items", field="params.items")
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise Rejected("must be an object", field=f"params.items[{index}]")
    return items


def _item(item: Mapping[str, Any], index: int, currency: str | None) -> Params:
    price = item.get("price")
    return {
        "productId": _product(item, index),
        "quantity": _quantity(item, index),
        "name": item.get("item_name"),
        "category": item.get("item_category"),
        # What it cost can only be kept with the currency; that it was seen can be kept without.
        **({"price": price, "currency": currency} if price is not None and currency else {}),
    }


def _line(item: Mapping[str, Any], index: int) -> Params:
    quantity = _quantity(item, index)
    price = _amount(item, "price", index)
    if price is None:
        raise Rejected("is required: the price of one piece", field=f"params.items[{index}].price", code="missing")
    off = _amount(item, "discount", index) or Decimal(0)
    line = {
        "productId": _product(item, index),
        "quantity": quantity,
        "name": item.get("item_name"),
        "category": item.get("item_category"),
        "unitPrice": f"{price + off:f}",
    }
    return line | ({"discount": f"{off * quantity:f}"} if off else {})


def _refunded(item: Mapping[str, Any], index: int) -> Params:
    quantity = _quantity(item, index)
    price = _amount(item, "price", index)
    if price is None:
        reason = "is required, or the refund's value: it says how much of the order went back"
        raise Rejected(reason, field=f"params.items[{index}].price", code="missing")
    return {"productId": _product(item, index), "quantity": quantity, "amount": f"{price * quantity:f}"}


def _product(item: Mapping[str, Any], index: int) -> str:
    product = text_of(item.get("item_id")) or text_of(item.get("item_name"))
    if product is None:
        raise Rejected("is required, or item_name", field=f"params.items[{index}].item_id", code="missing")
    return product


def _quantity(item: Mapping[str, Any], index: int) -> int:
    said = item.get("quantity")
    if said is None:
        return 1
    number = exact(said, field=f"params.items[{index}].quantity")
    if number != int(number):
        raise Rejected("must be a whole number", field=f"params.items[{index}].quantity", code="amount")
    return int(number)


def _amount(item: Mapping[str, Any], name: str, index: int) -> Decimal | None:
    said = item.get(name)
    return None if said is None else exact(said, field=f"params.items[{index}].{name}")


def _order_id(params: Params) -> str:
    order_id = text_of(params.get("transaction_id"))
    if order_id is None:
        raise Rejected("is required: it is the order's id", field="params.transaction_id", code="missing")
    return order_id


def _currency(params: Params) -> Any:
    said = params.get("currency")
    return said.upper() if isinstance(said, str) else said


def _required_currency(params: Params) -> Any:
    currency = _currency(params)
    if currency is None:
        raise Rejected("is required wherever money is named", field="params.currency", code="missing")
    return currency
