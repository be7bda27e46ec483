"""What ties an event to a person beyond its own id, and the event without it: no figure is made of any of this.

An order keeps its customer's id, for the books, and loses the way to what the person did. What a visitor did keeps the
visitor's id, of which the figures are made, and loses whose customer that was. What a payload may have to have stays
there as a word that names nobody, so that each stored event can still be read.
"""

from __future__ import annotations

from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.events.envelope import Envelope

NOBODY = "erased"
NAMING = ("customerId", "userId", "previousId")
# A visitor's purchase says which order it was.
PURCHASES = frozenset({"purchase", "refund"})
FLOW = ("correlationId", "causationId", "trace")


def unlinked(event: Envelope) -> None:
    """Take from an event what ties it to its customer (behaviour) or to its visitor (money)."""
    payload = event.payload
    if event.name in MONEY_EVENTS:
        # A visitor with the order's own id is named by it in any case, and figures of visitors count that event.
        if event.visitor_id != event.aggregate_id:
            event.visitor_id = None
            payload.pop("visitorId", None)
    else:
        event.customer_id = None
        payload.update({name: NOBODY for name in NAMING if name in payload})
        if event.name in PURCHASES:
            payload.pop("transactionId", None)
    event.correlation_id = event.causation_id = event.trace = None
