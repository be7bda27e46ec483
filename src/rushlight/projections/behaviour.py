"""Behaviour: the funnel by visitor session, products' views and adds, who is here, whose cart is open.

Documents (keys after the shop): ``v/{visitor}`` sessions, cart, ``seen`` and ``cartSeen``; ``f/{day}`` sessions that
reached each step (or a later one), by the quarter-hour in which they began; ``p/{day}/{product}`` views ``v`` and
adds ``a``. "In the last five minutes" is the reader's filter on ``seen``, never part of the fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rushlight.events.envelope import Envelope
from rushlight.projections import keys, session
from rushlight.projections.projection import Projection
from rushlight.projections.state import Content, State

STEPS = ("view", "cart", "checkout", "payment", "purchase")
STEP_OF = {
    "view_item": 1,
    "add_to_cart": 2,
    "begin_checkout": 3,
    "add_shipping_info": 3,
    "add_payment_info": 4,
    "purchase": 5,
}
PRODUCT_COUNTER_OF = {"view_item": "v", "add_to_cart": "a"}
CART_SIGN_OF = {"add_to_cart": 1, "remove_from_cart": -1}


class Behaviour(Projection):
    """Everything that follows from what visitors do."""

    name = "behaviour"

    def wants(self, event: Envelope) -> bool:
        """Only what a visitor did: the visitor is the aggregate."""
        return event.visitor_id is not None and event.visitor_id == event.aggregate_id

    def keys(self, event: Envelope) -> Sequence[str]:
        """The visitor."""
        return (_visitor_key(event),)

    def fold(self, state: State, event: Envelope) -> None:
        """Extend the visitor's session and cart, and count products."""
        visitor = state.document(_visitor_key(event))
        at = event.occurred_at
        at_ms = _milliseconds(at)
        visitor["shop"] = event.shop
        visitor["seen"] = max(at, visitor.get("seen", at))
        _fold_session(state, event, visitor, at_ms)
        _fold_cart(event, visitor, at_ms)
        _fold_products(state, event, at)


def _visitor_key(event: Envelope) -> str:
    return f"{event.shop}/v/{keys.part(event.aggregate_id)}"


def _fold_session(state: State, event: Envelope, visitor: Content, at_ms: int) -> None:
    step = STEP_OF.get(event.name, 0)
    visitor["sessions"], gone, come = session.join(visitor.get("sessions", []), at_ms, step)
    counts: dict[tuple[str, str], int] = {}
    for sign, changed in ((-1, gone), (1, come)):
        for start_ms, _, furthest in changed:
            start = _moment(start_ms)
            key, path = f"{event.shop}/f/{keys.day(start)}", f"q.{keys.quarter_of_day(start)}."
            for reached in range(1, furthest + 1):
                place = (key, f"{path}{reached}")
                counts[place] = counts.get(place, 0) + sign
    for (key, path), amount in counts.items():
        if amount:
            state.add(key, {path: amount})


def _fold_cart(event: Envelope, visitor: Content, at_ms: int) -> None:
    cart: dict[str, Any] = visitor.setdefault("cart", {})
    if sign := CART_SIGN_OF.get(event.name):
        changes = [(item["productId"], sign * item.get("quantity", 1)) for item in event.payload.get("items", ())]
        session.change_cart(cart, at_ms, changes)
    elif event.name == "purchase":
        session.clear_cart(cart, at_ms)
    else:
        return
    seen_ms = session.cart_seen_ms(cart)
    if seen_ms is None:
        visitor.pop("cartSeen", None)
    else:
        visitor["cartSeen"] = _moment(seen_ms)


def _fold_products(state: State, event: Envelope, at: datetime) -> None:
    counter = PRODUCT_COUNTER_OF.get(event.name)
    if counter is None:
        return
    change = {f"q.{keys.quarter_of_day(at)}.{counter}": 1}
    products = f"{event.shop}/p/{keys.day(at)}/"
    for item in event.payload.get("items", ()):
        product = item["productId"]
        key = products + keys.part(product)
        known = {"id": product, "name": item.get("name"), "category": item.get("category")}
        state.add(key, change)
        state.put(key, {field: value for field, value in known.items() if value})


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
