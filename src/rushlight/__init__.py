"""Rushlight: real-time e-commerce analytics that cannot slow a checkout and cannot lose or double-count a sale.

The public surface; names are imported when they are first used, so that a role only loads what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rushlight.engine.reactions import run_reactions
    from rushlight.engine.subscription import subscribe
    from rushlight.errors import Conflict, Fenced, Rejected, Retryable, RushlightError, SetupError, Unavailable
    from rushlight.events.catalogue import (
        AddPaymentInfo,
        AddShippingInfo,
        AddToCart,
        AddToWishlist,
        Alias,
        BeginCheckout,
        Group,
        Identify,
        Item,
        Line,
        Login,
        OrderCancelled,
        OrderCreated,
        OrderPaid,
        OrderPaymentFailed,
        OrderRefunded,
        OrderShipped,
        OrderUpdated,
        PageView,
        Purchase,
        RefundLine,
        RemoveFromCart,
        Screen,
        Search,
        SelectItem,
        SelectPromotion,
        SignUp,
        ViewCart,
        ViewItem,
        ViewItemList,
        ViewPromotion,
    )
    from rushlight.events.envelope import Envelope
    from rushlight.events.event import Event
    from rushlight.ingest.publisher import EventBus
    from rushlight.projections.projection import Projection
    from rushlight.projections.state import State
    from rushlight.query.reader import ProjectionReader
    from rushlight.store.outbox import Outbox

_CATALOGUE = """
AddPaymentInfo AddShippingInfo AddToCart AddToWishlist Alias BeginCheckout Group Identify Item Line
Login OrderCancelled OrderCreated OrderPaid OrderPaymentFailed OrderRefunded OrderShipped
OrderUpdated PageView Purchase RefundLine RemoveFromCart Screen Search SelectItem SelectPromotion
SignUp ViewCart ViewItem ViewItemList ViewPromotion
"""
_MODULES = {
    "engine.reactions": "run_reactions",
    "engine.subscription": "subscribe",
    "errors": "Conflict Fenced Rejected Retryable RushlightError SetupError Unavailable",
    "events.catalogue": _CATALOGUE,
    "events.envelope": "Envelope",
    "events.event": "Event",
    "ingest.publisher": "EventBus",
    "projections.projection": "Projection",
    "projections.state": "State",
    "query.reader": "ProjectionReader",
    "store.outbox": "Outbox",
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "AddPaymentInfo",
    "AddShippingInfo",
    "AddToCart",
    "AddToWishlist",
    "Alias",
    "BeginCheckout",
    "Conflict",
    "Envelope",
    "Event",
    "EventBus",
    "Fenced",
    "Group",
    "Identify",
    "Item",
    "Line",
    "Login",
    "OrderCancelled",
    "OrderCreated",
    "OrderPaid",
    "OrderPaymentFailed",
    "OrderRefunded",
    "OrderShipped",
    "OrderUpdated",
    "Outbox",
    "PageView",
    "Projection",
    "ProjectionReader",
    "Purchase",
    "RefundLine",
    "Rejected",
    "RemoveFromCart",
    "Retryable",
    "RushlightError",
    "Screen",
    "Search",
    "SelectItem",
    "SelectPromotion",
    "SetupError",
    "SignUp",
    "State",
    "Unavailable",
    "ViewCart",
    "ViewItem",
    "ViewItemList",
    "ViewPromotion",
    "run_reactions",
    "subscribe",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
