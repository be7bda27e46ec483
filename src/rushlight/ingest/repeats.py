"""Reports that say what was said before, of another visitor or at another time, are checked and sealed by halves.

What a shop's visitors report repeats itself: the same product, seen by the next one. A `Content` is such a report
without who, when and its message id; a `Mould` is what the first of its kind was sealed to, by how it came.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Any, cast

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from rushlight.events.envelope import Envelope
from rushlight.events.ids import KeyClass, event_id
from rushlight.ingest.names import BEHAVIOUR
from rushlight.ingest.request import Report

MAX_MOULDS = 16
_encode = msgspec.json.Encoder().encode
COPY: Callable[[Envelope], Envelope] = Envelope.__copy__  # type: ignore[attr-defined]


class Again(msgspec.Struct, frozen=True, gc=False):
    """A report of which only this is new. Ids are printable and have 1 to 256 characters.

    Attributes:
        occurred_at: as a `Report` has it, and between 1990 and 9000.
    """

    content: Content
    message_id: str
    visitor_id: str
    customer_id: str | None
    occurred_at: datetime | None

    @property
    def name(self) -> str:
        """The event's name."""
        return self.content.name

    @property
    def sender(self) -> str:
        """Whose message id it is."""
        return self.content.sender


class Mould:
    """What reports of one content that came in one manner become."""

    __slots__ = ("_envelope", "_key_class", "_rest", "_sender")

    def __init__(self, event: Envelope, rest: dict[str, Any] | None, sender: str, key_class: KeyClass) -> None:
        # What all of them share is encoded once: an envelope holds JSON as it is.
        self._envelope = replace(event, payload=Raw(_encode(event.payload)), context=Raw(_encode(event.context)))
        # Of the payload, what stands behind the visitor's id; None for one without.
        self._rest = None if rest is None else b"," + _encode(rest)[1:] if rest else b"}"
        self._sender = sender
        self._key_class = key_class

    def cast(self, again: Again, occurred_at: datetime, received_at: datetime) -> Envelope:
        """The event of one more report."""
        event = COPY(self._envelope)
        event.id = event_id(event.shop, self._key_class, self._sender, again.message_id)
        event.aggregate_id = event.visitor_id = visitor = again.visitor_id
        event.customer_id = again.customer_id
        event.occurred_at = occurred_at
        event.received_at = received_at
        if self._rest is not None:
            event.payload = cast("Any", Raw(b'{"visitorId":' + _encode(visitor) + self._rest))
        return event


class Content:
    """A report of behaviour, without who, when and its message id."""

    __slots__ = ("_moulds", "_report", "name", "sender")

    def __init__(self, report: Report) -> None:
        self.name = report.name
        self.sender = report.sender
        self._report = report
        self._moulds: dict[Hashable, Mould] = {}

    def mould(self, manner: Hashable) -> Mould | None:
        """The mould for reports that come in this manner, if there is one."""
        return self._moulds.get(manner)

    def report(self, again: Again) -> Report:
        """The whole report."""
        report = self._report
        visitor, customer = again.visitor_id, again.customer_id
        data = report.data
        if report.name in BEHAVIOUR:
            data = {**data, "visitorId": visitor, "customerId": customer}
        return replace(
            report,
            message_id=again.message_id,
            data=data,
            subject=visitor,
            occurred_at=again.occurred_at,
            visitor_id=visitor,
            customer_id=customer,
        )

    def learn(self, manner: Hashable, again: Again, event: Envelope, key_class: KeyClass) -> None:
        """Make a mould of what the report became, where all that was its own stands in known places."""
        if event.personal is not None or not event.aggregate_id == event.visitor_id == again.visitor_id:
            return  # a visitor may be called as nobody is: only the link says that this is one
        rest = None
        if self.name in BEHAVIOUR:
            rest = {name: value for name, value in event.payload.items() if name != "visitorId"}
            if "customerId" in rest or len(rest) == len(event.payload):
                return
        if len(self._moulds) >= MAX_MOULDS:
            self._moulds.clear()
        self._moulds[manner] = Mould(event, rest, self.sender, key_class)
