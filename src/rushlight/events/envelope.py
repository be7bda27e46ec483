"""The envelope that every event travels in: the same bytes in the stream, the log, the outbox and the journal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time_ns
from typing import Any

import msgspec

from rushlight.errors import Rejected

MAX_ID_CHARACTERS = 256
MAX_ENVELOPE_BYTES = 256 * 1024
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Envelope(
    msgspec.Struct,
    gc=False,
    kw_only=True,
    omit_defaults=True,
    rename={
        "name": "eventName",
        "aggregate_id": "aggregateId",
        "occurred_at": "timestamp",
        "received_at": "receivedAt",
        "visitor_id": "visitorId",
        "customer_id": "customerId",
        "correlation_id": "correlationId",
        "causation_id": "causationId",
    },
):
    """One event as it is stored. Times are UTC with millisecond precision, which is what BSON keeps.

    Attributes:
        id: 32 hexadecimal digits; equal ids are the same event.
        name: a catalogue name (``order_created``) or a shop's own.
        aggregate_id: what the event is about and the key of its partition (order id, or visitor id for behaviour).
        payload: plain JSON values; amounts are integer minor units.
        occurred_at: when it happened. received_at: when it was acknowledged.
        schema: version of the payload's shape.
        version: dense number within the aggregate (1, 2, …), where its producer keeps one.
        shop: the tenant. source: who reports it (``orders``, ``web`` …).
        origin: which acknowledgement this is: ``o:{order}:{number}`` or ``w:{log}:{number}``.
        correlation_id, causation_id: the flow it belongs to and the event that caused it.
        trace: W3C ``traceparent``.
        context: the circumstances (device, channel, consent …), see `rushlight.events.context.Context`.
        personal: what names a person (e-mail, name, address …). It travels in the log and the stream only: a commit
            puts it into ``subjects``, and no other reader ever sees it.
    """

    id: str
    name: str
    aggregate_id: str
    payload: dict[str, Any]
    occurred_at: datetime
    received_at: datetime
    shop: str
    source: str
    origin: str
    schema: int = 1
    version: int | None = None
    visitor_id: str | None = None
    customer_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    trace: str | None = None
    context: dict[str, Any] | None = None
    personal: dict[str, Any] | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    """The wire form: JSON, camelCase names as in the journal (``aggregateId``, ``eventName``, ``timestamp`` …)."""
    return _encoder.encode(envelope)


def decode(data: bytes | str) -> Envelope:
    """Read the wire form; times come in UTC and cut to the millisecond, as the journal will give them back.

    Raises:
        Rejected: the bytes are not an envelope; the reason names the field.
    """
    try:
        envelope = _decoder.decode(data)
        if not _is_kept(envelope.occurred_at):
            envelope.occurred_at = millisecond(envelope.occurred_at)
        if not _is_kept(envelope.received_at):
            envelope.received_at = millisecond(envelope.received_at)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, OverflowError) as error:
        raise Rejected(str(error), code="envelope") from error
    return envelope


def _is_kept(moment: datetime) -> bool:
    return moment.tzinfo is UTC and not moment.microsecond % 1000


def now() -> datetime:
    """The present in UTC, cut to the millisecond."""
    return at_millisecond(time_ns() // 1_000_000)


@lru_cache(16)
def at_millisecond(milliseconds: int) -> datetime:
    """The moment so long after 1970; what comes in the same millisecond shares it."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def millisecond(moment: datetime) -> datetime:
    """The same moment in UTC, cut to the millisecond (a naive time counts as UTC)."""
    if _is_kept(moment):
        return moment
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    utc = aware if aware.tzinfo is UTC else aware.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)
