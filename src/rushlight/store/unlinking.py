"""What ties an event to a person beyond its own id, and the event without it: no figure is made of any of this."""

from __future__ import annotations

from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.events.envelope import Envelope
from rushlight.store.database import Document

# An order keeps its customer's id, for the books; the way from there to what the person did ends.
OF_MONEY = ("visitorId",)
# What a visitor did keeps the visitor's id, of which the figures are made; whose customer that was is gone.
OF_BEHAVIOUR = ("customerId", "userId", "previousId", "transactionId")
FLOW = ("correlationId", "causationId", "trace")


def unlinked(event: Envelope) -> None:
    """Take from an event what ties it to its customer (behaviour) or to its visitor (money)."""
    money = event.name in MONEY_EVENTS
    if money:
        event.visitor_id = None
    else:
        event.customer_id = None
    for name in OF_MONEY if money else OF_BEHAVIOUR:
        event.payload.pop(name, None)
    event.correlation_id = event.causation_id = event.trace = None


def unlinking(*, money: bool) -> Document:
    """The same as an update of documents of the journal."""
    names = OF_MONEY if money else OF_BEHAVIOUR
    own = "visitorId" if money else "customerId"
    return {"$unset": dict.fromkeys([own, *FLOW, *(f"payload.{name}" for name in names)], "")}
