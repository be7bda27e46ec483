"""The life of one order: a map of what was reported about it, whose contribution to the figures is a pure function.

Because a report only ever adds to the map, and figures move by ``f(new) - f(old)``, any order of arrival (refund before
order, cancellation first) ends in the same figures.

The map: ``c`` what was ordered, ``r`` refunds ascending by id, ``x`` whether it was cancelled, ``p`` ids of payments.
A ``c`` or refund holds ``at`` (when), ``cur`` (currency), ``lines`` of ``[product, units, amount, discount]`` (in a
refund ``[product, units, amount]``), and ``g d t s u`` or ``r t s``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from rushlight.events.envelope import Envelope
from rushlight.projections import keys
from rushlight.projections.state import Content

Amounts = dict[str, int]
Delta = dict[tuple[str, str], int]


class Names(NamedTuple):
    """Where one order's contributions go."""

    shop: str
    source: str


def record(life: Content, event: Envelope) -> bool:
    """Add what an event reports to the order's life; whether that was news."""
    reporter = _REPORTERS.get(event.name)
    return reporter(life, event) if reporter else False


def status(life: Content) -> str:
    """``created``, ``paid``, ``refunded`` or ``cancelled``."""
    if life.get("x"):
        return "cancelled"
    ordered = life.get("c", {})
    refunded = sum(refund["r"] + refund["t"] + refund["s"] for refund in life.get("r", ()))
    if refunded and refunded >= total(ordered):
        return "refunded"
    return "paid" if life.get("p") else "created"


def total(ordered: Content) -> int:
    """What the customer owes: goods less discounts, plus tax and shipping; minor units."""
    return int(ordered.get("g", 0) - ordered.get("d", 0) + ordered.get("t", 0) + ordered.get("s", 0))


def contribution(life: Content, names: Names) -> Delta:
    """What the order as it stands adds to the figures: amounts by (document key, path). A cancelled one adds nothing.

    What was ordered counts when it was ordered, what was refunded when it was refunded; gross is never rewritten by a
    refund. The tax and shipping that were given back are taken from tax and shipping.
    """
    delta: Delta = {}
    if life.get("x"):
        return delta
    ordered = life.get("c")
    customer = ordered.get("customer") if ordered else None
    if ordered:
        amounts = {"o": 1, **{name: ordered[name] for name in "ugdts"}}
        _money(delta, names, ordered, amounts, customer)
        for product, units, amount, discount in ordered["lines"]:
            _product(delta, names, ordered, product, {"u": units, "g": amount, "d": discount})
    for refund in life.get("r", ()):
        amounts = {"r": refund["r"], "t": -refund["t"], "s": -refund["s"]}
        _money(delta, names, refund, amounts, customer or refund.get("customer"))
        for product, _, amount in refund["lines"]:
            _product(delta, names, refund, product, {"r": amount})
    return delta


def difference(new: Delta, old: Delta) -> Iterator[tuple[str, str, int]]:
    """``f(new) - f(old)`` as (document key, path, amount), without zeros."""
    for place, amount in new.items():
        if change := amount - old.get(place, 0):
            yield (*place, change)
    for place, amount in old.items():
        if amount and place not in new:
            yield (*place, -amount)


def product_key(names: Names, at: datetime, currency: str, product: str) -> str:
    """Key of a product's sales on one UTC day."""
    return f"{names.shop}/p/{keys.part(names.source)}/{keys.day(at)}/{currency}/{keys.part(product)}"


def customer_key(names: Names, customer: str, currency: str) -> str:
    """Key of a customer's lifetime figures in one currency."""
    return f"{names.shop}/c/{keys.part(customer)}/{keys.part(names.source)}/{currency}"


def _money(delta: Delta, names: Names, fact: Content, amounts: Amounts, customer: str | None) -> None:
    at, currency = fact["at"], fact["cur"]
    place = f"{keys.part(names.source)}/{currency}"
    hour, minute = f"{names.shop}/h/{place}/{keys.hour(at)}", f"m.{keys.minute_of_hour(at)}."
    day, quarter = f"{names.shop}/d/{place}/{keys.day(at)}", f"q.{keys.quarter_of_day(at)}."
    for name, amount in amounts.items():
        if amount:
            _sum(delta, hour, minute + name, amount)
            _sum(delta, day, quarter + name, amount)
            if customer is not None and name in "ogdr":
                _sum(delta, customer_key(names, customer, currency), name, amount)


def _product(delta: Delta, names: Names, fact: Content, product: str, amounts: Amounts) -> None:
    key = product_key(names, fact["at"], fact["cur"], product)
    quarter = f"q.{keys.quarter_of_day(fact['at'])}."
    for name, amount in amounts.items():
        if amount:
            _sum(delta, key, quarter + name, amount)


def _sum(delta: Delta, key: str, path: str, amount: int) -> None:
    place = (key, path)
    delta[place] = delta.get(place, 0) + amount


def _created(life: Content, event: Envelope) -> bool:
    if "c" in life:
        return False
    payload = event.payload
    lines = [
        [line["productId"], line["quantity"], line["amount"], line.get("discount", 0)] for line in payload["lines"]
    ]
    life["c"] = {
        "at": event.occurred_at,
        "cur": payload["currency"],
        "lines": lines,
        "g": payload["gross"],
        "d": payload.get("discounts", 0),
        "t": payload.get("tax", 0),
        "s": payload.get("shipping", 0),
        "u": sum(line[1] for line in lines),
    }
    customer = payload.get("customerId") or event.customer_id
    if customer is not None:
        life["c"]["customer"] = customer
    if payload.get("country"):
        life["c"]["country"] = payload["country"]
    return True


def _refunded(life: Content, event: Envelope) -> bool:
    payload = event.payload
    refunds: list[Content] = life.setdefault("r", [])
    if any(refund["id"] == payload["refundId"] for refund in refunds):
        return False
    refund: Content = {
        "id": payload["refundId"],
        "at": event.occurred_at,
        "cur": payload["currency"],
        "lines": [[line["productId"], line.get("quantity", 0), line["amount"]] for line in payload.get("lines", ())],
        "r": payload["amount"],
        "t": payload.get("tax", 0),
        "s": payload.get("shipping", 0),
    }
    customer = payload.get("customerId") or event.customer_id
    if customer is not None:
        refund["customer"] = customer
    refunds.append(refund)
    refunds.sort(key=lambda other: str(other["id"]))
    return True


def _paid(life: Content, event: Envelope) -> bool:
    paid: list[Any] = life.setdefault("p", [])
    if event.payload["paymentId"] in paid:
        return False
    paid.append(event.payload["paymentId"])
    paid.sort()
    return True


def _cancelled(life: Content, _event: Envelope) -> bool:
    if life.get("x"):
        return False
    life["x"] = True
    return True


_REPORTERS = {
    "order_created": _created,
    "order_refunded": _refunded,
    "order_paid": _paid,
    "order_cancelled": _cancelled,
}
