"""The life of one order: a map of what was reported about it, whose contribution to the figures is a pure function.

Because a report only ever adds to the map, and figures move by ``f(new) - f(old)``, any order of arrival (refund before
order, cancellation first) ends in the same figures.

The map: ``c`` what was ordered, ``r`` refunds ascending by id, ``x`` whether it was cancelled, ``m`` ids of payments.
A ``c`` or refund holds ``at`` (when), ``cur`` (currency), ``lines`` of ``[product, units, amount, discount]`` (in a
refund ``[product, units, amount]``), and ``g d t s u`` or ``r t s``. A refund of the whole rest has neither ``cur``
nor ``r t s``: what they are follows from the others (`rushlight.projections.refunds`). What was only tried is ``test``:
of a ``c`` that is a test the whole order is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from rushlight.events.envelope import Envelope
from rushlight.projections import keys
from rushlight.projections.refunds import refunds, shares
from rushlight.projections.state import Content

Amounts = Mapping[str, int]
Delta = dict[str, dict[str, int]]
"""Amounts by document key and path."""

CUSTOMER_COUNTERS = frozenset("ogdr")


class Names(NamedTuple):
    """Whose figures an order's contributions are."""

    shop: str
    source: str


def record(life: Content, event: Envelope) -> bool:
    """Add what an event reports to the order's life; whether that was news."""
    reporter = _REPORTERS.get(event.name)
    return reporter(life, event) if reporter else False


def status(life: Content) -> str:
    """``created``, ``paid``, ``refunded``, ``cancelled`` or ``test``."""
    ordered = life.get("c", {})
    if ordered.get("test"):
        return "test"
    if life.get("x"):
        return "cancelled"
    refunded = sum(refund["r"] + refund["t"] + refund["s"] for refund in refunds(life))
    if refunded and refunded >= total(ordered):
        return "refunded"
    return "paid" if life.get("m") else "created"


def total(ordered: Content) -> int:
    """What the customer owes: goods less discounts, plus tax and shipping; minor units."""
    return int(ordered.get("g", 0) - ordered.get("d", 0) + ordered.get("t", 0) + ordered.get("s", 0))


def contribution(life: Content, names: Names) -> Delta:
    """What the order as it stands adds to the figures. A cancelled one adds nothing, a test that it was one.

    What was ordered counts when it was ordered, what was refunded when it was refunded; gross is never rewritten by a
    refund. The tax and shipping that were given back are taken from tax and shipping.
    """
    delta: Delta = {}
    ordered = life.get("c")
    if ordered and ordered.get("test"):
        at = ordered["at"]
        key = f"{names.shop}/x/{keys.part(names.source)}/{keys.hour(at)}"
        return {key: {f"m.{keys.minute_of_hour(at)}.n": 1}}
    if life.get("x"):
        return delta
    customer = ordered.get("customer") if ordered else None
    if ordered:
        amounts = {
            "o": 1,
            "u": ordered["u"],
            "g": ordered["g"],
            "d": ordered["d"],
            "t": ordered["t"],
            "s": ordered["s"],
        }
        _money(delta, names, ordered, amounts, customer)
        products = product_prefix(names, ordered["at"], ordered["cur"])
        path = f"q.{keys.quarter_of_day(ordered['at'])}."
        for product, units, amount, discount in ordered["lines"]:
            _sum(delta, products + keys.part(product), path, {"u": units, "g": amount, "d": discount})
    for refund in refunds(life):
        amounts = {"r": refund["r"], "t": -refund["t"], "s": -refund["s"]}
        _money(delta, names, refund, amounts, customer or refund.get("customer"))
        products = product_prefix(names, refund["at"], refund["cur"])
        path = f"q.{keys.quarter_of_day(refund['at'])}."
        for product, amount in shares(refund, ordered):
            _sum(delta, products + keys.part(product), path, {"r": amount})
    return delta


def difference(new: Delta, old: Delta) -> Iterator[tuple[str, Amounts]]:
    """``f(new) - f(old)`` by document key, without zeros."""
    if not old:
        yield from new.items()
        return
    for key in new.keys() | old.keys():
        after, before = new.get(key, {}), old.get(key, {})
        changes = {path: after.get(path, 0) - before.get(path, 0) for path in after.keys() | before.keys()}
        changes = {path: change for path, change in changes.items() if change}
        if changes:
            yield key, changes


def product_prefix(names: Names, at: datetime, currency: str) -> str:
    """Prefix of the keys of products' sales on one UTC day; the product's id follows."""
    return f"{names.shop}/p/{keys.part(names.source)}/{keys.day(at)}/{currency}/"


def customer_key(names: Names, customer: str, currency: str) -> str:
    """Key of a customer's lifetime figures in one currency."""
    return f"{names.shop}/c/{keys.part(customer)}/{keys.part(names.source)}/{currency}"


def _money(delta: Delta, names: Names, fact: Content, amounts: Amounts, customer: str | None) -> None:
    at, currency = fact["at"], fact["cur"]
    place = f"{keys.part(names.source)}/{currency}"
    _sum(delta, f"{names.shop}/h/{place}/{keys.hour(at)}", f"m.{keys.minute_of_hour(at)}.", amounts)
    _sum(delta, f"{names.shop}/d/{place}/{keys.day(at)}", f"q.{keys.quarter_of_day(at)}.", amounts)
    if customer is not None:
        lifetime = {name: amount for name, amount in amounts.items() if name in CUSTOMER_COUNTERS}
        _sum(delta, customer_key(names, customer, currency), "", lifetime)


def _sum(delta: Delta, key: str, path: str, amounts: Amounts) -> None:
    sums = delta.get(key)
    if sums is None:
        sums = delta[key] = {}
    for name, amount in amounts.items():
        if amount:
            place = path + name
            sums[place] = sums.get(place, 0) + amount


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
        "u": sum([line[1] for line in lines]),
    }
    customer = payload.get("customerId") or event.customer_id
    if customer is not None:
        life["c"]["customer"] = customer
    if payload.get("country"):
        life["c"]["country"] = payload["country"]
    if _is_test(event):
        life["c"]["test"] = True
    return True


def _refunded(life: Content, event: Envelope) -> bool:
    payload = event.payload
    if _is_test(event):
        return False
    reported: list[Content] = life.setdefault("r", [])
    if any(refund["id"] == payload["refundId"] for refund in reported):
        return False
    lines = [[line["productId"], line.get("quantity", 0), line["amount"]] for line in payload.get("lines", ())]
    refund: Content = {"id": payload["refundId"], "at": event.occurred_at, "lines": lines}
    if payload.get("amount") is not None:
        refund |= {
            "cur": payload["currency"],
            "r": payload["amount"],
            "t": payload.get("tax", 0),
            "s": payload.get("shipping", 0),
        }
    customer = payload.get("customerId") or event.customer_id
    if customer is not None:
        refund["customer"] = customer
    reported.append(refund)
    reported.sort(key=lambda other: str(other["id"]))
    return True


def _paid(life: Content, event: Envelope) -> bool:
    paid: list[str] = life.setdefault("m", [])
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


def _is_test(event: Envelope) -> bool:
    return bool(event.payload.get("test") or (event.context or {}).get("test"))


_REPORTERS = {
    "order_created": _created,
    "order_refunded": _refunded,
    "order_paid": _paid,
    "order_cancelled": _cancelled,
}
