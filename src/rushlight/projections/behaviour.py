"""Behaviour: the funnel by visitor session, products' views and adds, who is here, whose cart is open.

Documents (keys after the shop): ``v/{visitor}`` points of time, sessions, cart, ``seen`` and ``cartSeen``; ``f/{day}``
sessions that reached each step (or a later one), ``s/{day}`` sessions ``n``, engaged ones ``e``, by channel ``c`` and
device ``d``, ``u/{day}/{source}`` sessions that a campaign of this source brought, all by the quarter-hour in which
they began; ``p/{day}/{product}`` views ``v`` and adds ``a``; by event name, and in no other figure, what machines did
``b/{day}`` and what was only tried ``t/{day}``; ``n/{day}`` events of nobody, whose visitor did not agree to be
measured: of them products are counted, and no session. "In the last five minutes" is the reader's filter on ``seen``,
never part of the fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rushlight.events import catalogue
from rushlight.events.envelope import EPOCH, Envelope
from rushlight.projections import cart, keys
from rushlight.projections.counting import counts
from rushlight.projections.points import NO_CAMPAIGN, Point, point_of, source_of
from rushlight.projections.projection import Projection
from rushlight.projections.session import hear
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
# What machines may call their events is without end, and a document is not.
COUNTED_NAMES = frozenset(
    kind.event_name
    for kind in vars(catalogue).values()
    if isinstance(kind, type) and issubclass(kind, catalogue.Behaviour) and hasattr(kind, "event_name")
)
CUSTOM = "custom"
MAX_SOURCES = 100
MILLISECOND = timedelta(milliseconds=1)


class Behaviour(Projection):
    """Everything that follows from what visitors do."""

    name = "behaviour"
    version = 2

    def wants(self, event: Envelope) -> bool:
        """Only what a visitor did: the visitor is the aggregate, or is nobody."""
        if event.visitor_id is not None:
            return event.visitor_id == event.aggregate_id
        return _is_nobody(event)

    def keys(self, event: Envelope) -> Sequence[str]:
        """The visitor, where one is measured."""
        return () if _apart(event) else (_visitor_key(event),)

    def fold(self, state: State, event: Envelope) -> None:
        """Extend the visitor's session and cart, and count products."""
        at = event.occurred_at
        at_ms = (at - EPOCH) // MILLISECOND
        if letter := _apart(event):
            name = event.name if event.name in COUNTED_NAMES else CUSTOM
            day, quarter = keys.day_and_quarter(at_ms // keys.QUARTER_MS)
            state.add(f"{event.shop}/{letter}/{day}", {f"q.{quarter}.{name}": 1})
            if letter == "n":
                _fold_products(state, event, at_ms)
            return
        visitor = state.document(_visitor_key(event))
        visitor["shop"] = event.shop
        visitor["seen"] = max(at, visitor.get("seen", at))
        _fold_session(state, event, visitor, at_ms)
        _fold_cart(event, visitor, at_ms)
        _fold_products(state, event, at_ms)


def _apart(event: Envelope) -> str | None:
    """Where an event is counted that is in no visitor's story: ``b``, ``t`` or ``n``."""
    context = event.context
    if context is not None:
        if context.get("bot"):
            return "b"
        if context.get("test"):
            return "t"
    return "n" if event.visitor_id is None else None


def _is_nobody(event: Envelope) -> bool:
    consent = (event.context or {}).get("consent") or {}
    return consent.get("analytics_storage") == "denied" and event.name not in catalogue.MONEY_EVENTS


def _visitor_key(event: Envelope) -> str:
    return f"{event.shop}/v/{keys.part(event.aggregate_id)}"


def _fold_session(state: State, event: Envelope, visitor: Content, at_ms: int) -> None:
    point = point_of(event, at_ms, STEP_OF.get(event.name, 0))
    sources: dict[str, str] = visitor.get("sources", {})
    if point.campaign != NO_CAMPAIGN:
        sources = visitor["sources"] = _noted(sources, point, event)
    for key, amounts in counts(hear(visitor, point), event.shop, sources).items():
        state.add(key, amounts)


def _noted(sources: dict[str, str], point: Point, event: Envelope) -> dict[str, str]:
    """The visitor's campaigns with the one of this event."""
    number = str(point.campaign)
    if number in sources or len(sources) >= MAX_SOURCES:
        return sources
    return {**sources, number: source_of(event.context or {})}


def _fold_cart(event: Envelope, visitor: Content, at_ms: int) -> None:
    held: dict[str, Any] = visitor.setdefault("cart", {})
    if sign := CART_SIGN_OF.get(event.name):
        changes = [(item["productId"], sign * item.get("quantity", 1)) for item in event.payload.get("items", ())]
        cart.change_cart(held, at_ms, changes)
    elif event.name == "purchase":
        cart.clear_cart(held, at_ms)
    else:
        return
    seen_ms = cart.cart_seen_ms(held)
    if seen_ms is None:
        visitor.pop("cartSeen", None)
    else:
        visitor["cartSeen"] = _moment(seen_ms)


def _fold_products(state: State, event: Envelope, at_ms: int) -> None:
    counter = PRODUCT_COUNTER_OF.get(event.name)
    if counter is None:
        return
    day, quarter = keys.day_and_quarter(at_ms // keys.QUARTER_MS)
    change = {f"q.{quarter}.{counter}": 1}
    products = f"{event.shop}/p/{day}/"
    for item in event.payload.get("items", ()):
        product = item["productId"]
        key = products + keys.part(product)
        state.add(key, change)
        known = {"id": product}
        if name := item.get("name"):
            known["name"] = name
        if category := item.get("category"):
            known["category"] = category
        state.put(key, known)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
