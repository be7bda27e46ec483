"""Money: sales by minute and quarter-hour, products' sales, customers' lifetime value, the latest orders.

One projection keeps all of them because all follow from the same life of the same order, which has to be kept only
once. Documents (keys after the shop): ``o/{source}/{order}`` the order's life; ``h/{source}/{currency}/{hour}`` and
``d/{source}/{currency}/{day}``; ``p/{source}/{day}/{currency}/{product}``; ``c/{customer}/{source}/{currency}``;
``l/{source}`` the latest orders; ``x/{source}/{hour}`` orders that were tests, which count in nothing else.

Counters: ``o`` orders, ``u`` units, ``g`` gross, ``d`` discounts, ``r`` refunds, ``t`` tax, ``s`` shipping. Lifetime
value is historic: ``net = g - d - r`` of all a customer's orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.events.envelope import Envelope
from rushlight.projections import keys, order
from rushlight.projections.projection import Projection
from rushlight.projections.state import Content, State

LATEST_ORDERS = 20


class Money(Projection):
    """Everything that follows from the lives of orders."""

    name = "money"
    version = 2
    events = MONEY_EVENTS

    def keys(self, event: Envelope) -> Sequence[str]:
        """The order's life and the latest orders."""
        return (_life_key(event), _latest_key(event))

    def fold(self, state: State, event: Envelope) -> None:
        """Record the report, and move the figures by what it changed."""
        life = state.document(_life_key(event))
        names = order.Names(event.shop, event.source)
        before = order.contribution(life, names) if life else {}
        if not order.record(life, event):
            return
        for key, amounts in order.difference(order.contribution(life, names), before):
            state.add(key, amounts)
        ordered = life.get("c")
        if ordered is not None:
            if event.name == "order_created" and not ordered.get("test"):
                _describe(state, event, ordered, names)
            _keep_latest(state, event, life, ordered)


def _life_key(event: Envelope) -> str:
    return f"{event.shop}/o/{keys.part(event.source)}/{keys.part(event.aggregate_id)}"


def _latest_key(event: Envelope) -> str:
    return f"{event.shop}/l/{keys.part(event.source)}"


def _describe(state: State, event: Envelope, ordered: Content, names: order.Names) -> None:
    """What is known of a product or customer beside its counters."""
    at, currency = ordered["at"], ordered["cur"]
    products = order.product_prefix(names, at, currency)
    for line in event.payload["lines"]:
        product = line["productId"]
        known = {"id": product, "name": line.get("name"), "category": line.get("category")}
        state.put(products + keys.part(product), {field: value for field, value in known.items() if value})
    customer = ordered.get("customer")
    if customer is not None:
        key = order.customer_key(names, customer, currency)
        state.low(key, "first", at)
        state.high(key, "last", at)


def _keep_latest(state: State, event: Envelope, life: Content, ordered: Content) -> None:
    key = _latest_key(event)
    entries: list[dict[str, Any]] = (state.peek(key) or {}).get("orders", [])
    if len(entries) == LATEST_ORDERS and ordered["at"] < entries[-1]["at"]:
        return
    entry = {
        "id": event.aggregate_id,
        "at": ordered["at"],
        "currency": ordered["cur"],
        "total": order.total(ordered),
        "items": ordered["u"],
        "customer": ordered.get("customer"),
        "country": ordered.get("country"),
        "status": order.status(life),
    }
    rest = [other for other in entries if other["id"] != entry["id"]]
    if rest and (entry["at"], entry["id"]) < (rest[0]["at"], rest[0]["id"]):
        rest = sorted([entry, *rest], key=lambda other: (other["at"], other["id"]), reverse=True)
    else:
        rest.insert(0, entry)
    state.document(key)["orders"] = rest[:LATEST_ORDERS]
