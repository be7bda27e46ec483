"""An event in the present shape of its payload, whatever shape it was stored in."""

from __future__ import annotations

import msgspec

from rushlight.events.envelope import Envelope
from rushlight.events.event import event_type


def upcast(event: Envelope) -> Envelope:
    """The event as this code declares it: the same object, or a copy whose payload went through every upcaster since.

    What is stored stays what came.

    Raises:
        Rejected: the schema is newer than this code, or an upcaster fails on the payload.
    """
    declared = event_type(event.name)
    if declared is None or event.schema == declared.schema:
        return event
    payload = declared.upcast(event.payload, event.schema)
    return msgspec.structs.replace(event, payload=payload, schema=declared.schema)
