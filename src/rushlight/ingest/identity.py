"""Which money events are the same report: one rule for every road on which trusted money comes in."""

from __future__ import annotations

from rushlight.events.catalogue import OrderCreated
from rushlight.events.event import Event
from rushlight.events.ids import money_id
from rushlight.store.outbox import REFERENCES


def trusted_money_id(event: Event, shop: str, source: str, message: str) -> str:
    """Id of a money event: by its order and kind, and what tells several of a kind apart.

    Args:
        message: the sender's message id, for a kind of which an order may have several and that carries no payment,
            refund or shipment id and no revision.
    """
    reference = next((str(getattr(event, field)) for field in REFERENCES if hasattr(event, field)), "")
    if not reference and not isinstance(event, OrderCreated):
        reference = message
    return money_id(shop, source, event.aggregate_id, event.event_name, reference)
