"""The latest orders of a shop, newest first."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rushlight.events.money import to_text
from rushlight.projections.keys import part
from rushlight.query.view import View, Wanted


class LatestOrder(msgspec.Struct, rename="camel", kw_only=True):
    """One order as the board lists it; ``status`` is ``created``, ``paid``, ``refunded`` or ``cancelled``."""

    order_id: str
    at: datetime
    currency: str
    total: str
    items: int
    country: str | None
    customer_id: str | None
    status: str


async def latest_orders(view: View, limit: int) -> list[LatestOrder]:
    """The newest orders that the source of record reported (each partition remembers its latest twenty)."""
    found = [
        order
        async for key, document in view.documents("money", Wanted.under("l/"))
        if key == f"l/{part(view.source)}"
        for order in document.get("orders", ())
    ]
    newest = sorted(found, key=lambda order: (order["at"], order["id"]), reverse=True)[:limit]
    return [
        LatestOrder(
            order_id=order["id"],
            at=order["at"],
            currency=order["currency"],
            total=to_text(order["total"], order["currency"]),
            items=int(order["items"]),
            country=order.get("country"),
            customer_id=order.get("customer"),
            status=order["status"],
        )
        for order in newest
    ]
