"""What a new order tells: the money under the order, and the purchase in its visitor's story."""

from __future__ import annotations

from rushlight.events.catalogue import Item, OrderCreated, Purchase
from rushlight.events.event import Event
from rushlight.events.pricing import Priced
from rushlight.orders.requests import NewOrder

MAX_PURCHASE_ITEMS = 200


def events_of(order_id: str, request: NewOrder, priced: Priced) -> list[Event]:
    """The order's own event, and the visitor's when the visitor is known."""
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
    )
    if request.visitor_id is None:
        return [created]
    items = [
        Item(
            product_id=line.product_id,
            quantity=line.quantity,
            name=line.name,
            category=line.category,
            price=line.unit_price,
            currency=request.currency,
        )
        for line in priced.lines[:MAX_PURCHASE_ITEMS]
    ]
    return [created, Purchase(visitor_id=request.visitor_id, transaction_id=order_id, items=items)]
