"""What a new order tells: the money under the order, and the purchase in its visitor's story."""

from __future__ import annotations

from rushlight.events.catalogue import OrderCreated
from rushlight.events.event import Event
from rushlight.events.pricing import Priced
from rushlight.orders.requests import NewOrder


def events_of(order_id: str, request: NewOrder, priced: Priced) -> list[Event]:
    """The order's own event, and the visitor's when it has one."""
    created = OrderCreated(
        order_id=order_id,
        currency=request.currency,
        lines=priced.lines,
        gross=priced.gross,
        discounts=priced.discounts,
        tax=priced.tax,
        shipping=priced.shipping,
        total=priced.total,
        customer_id=request.customer_id,
        visitor_id=request.visitor_id,
        country=request.country,
        test=request.test,
    )
    purchase = created.purchase()
    return [created] if purchase is None else [created, purchase]
