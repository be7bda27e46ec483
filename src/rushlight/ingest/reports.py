"""From what a sender reports to sealed events: one place for what each key may say, for ids, and for the checks.

Every dialect hands over `Report`s. A public key may report behaviour; a secret key may also report money. An order
whose visitor is known makes two events: the money, kept in order by order, and the visitor's ``purchase``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from rushlight.errors import Rejected
from rushlight.events.catalogue import MONEY_EVENTS, Id, OrderCreated
from rushlight.events.envelope import Envelope, millisecond
from rushlight.events.event import Event
from rushlight.events.ids import KeyClass, event_id, money_id
from rushlight.ingest.clock import FIRST_YEAR, LAST_YEAR
from rushlight.ingest.context.circumstances import Circumstances
from rushlight.ingest.explain import UNREADABLE, explained
from rushlight.ingest.identity import trusted_money_id
from rushlight.ingest.keys import Key
from rushlight.ingest.limits import check_payload, check_text
from rushlight.ingest.request import Decoded, Hint, Rejection, Report, Typed
from rushlight.ingest.shapes import Shape, camel, key_of, read, shape_of

PUBLIC_SOURCE = "web"
TRUSTED_SOURCE = "api"
EVENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
MAX_ID_CHARACTERS = 256


class _Who(msgspec.Struct, rename="camel", gc=False):
    """Whom a shop's own event is about."""

    visitor_id: Id | None = None
    customer_id: Id | None = None


_who_decoder = msgspec.json.Decoder(_Who)
_payload_decoder = msgspec.json.Decoder(dict[str, Any])


def source_of(key: Key) -> str:
    """The source under which the ledger counts what comes with this key."""
    return TRUSTED_SOURCE if key.kind == "secret" else PUBLIC_SOURCE


def seal_all(
    items: Sequence[Report | Typed | Rejection],
    key: Key,
    received_at: datetime,
    circumstances: Circumstances,
    first: int = 0,
) -> Decoded:
    """The events of a request: good ones are kept, whatever their neighbours are like.

    Args:
        first: the place of the first among the request's.
    """
    envelopes: list[Envelope] = []
    rejected: list[Rejection] = []
    hints: list[Hint] = []
    for index, item in enumerate(items, first):
        if isinstance(item, Rejection):
            rejected.append(item)
            continue
        try:
            if isinstance(item, Typed):
                envelopes.append(circumstances.surround(item.said, _typed(item, key, received_at)))
                continue
            envelopes += circumstances.put(item, seal(item, key, received_at))
        except Rejected as error:
            rejected.append(Rejection.of(index, error))
            continue
        if item.hint is not None:
            hints.append(Hint(index, item.hint))
    return Decoded(envelopes, len(items) - len(rejected), rejected, tuple(hints))


def _typed(item: Typed, key: Key, received_at: datetime) -> Envelope:
    """The envelope of what a visitor did. Its payload stays typed as long as nobody has to look inside."""
    return Envelope(
        id=_message_id(item, key),
        name=item.name,
        aggregate_id=item.visitor_id,
        payload=cast("Any", item.payload),
        occurred_at=received_at if item.occurred_at is None else millisecond(item.occurred_at),
        received_at=received_at,
        shop=key.shop,
        source=source_of(key),
        origin="",
        schema=item.schema,
        visitor_id=item.visitor_id,
        customer_id=item.customer_id,
        correlation_id=item.correlation_id,
    )


def seal(report: Report, key: Key, received_at: datetime) -> list[Envelope]:
    """The events that a report makes, checked and with their final ids.

    Raises:
        Rejected: naming the field and what would be right.
    """
    name = report.name
    if not EVENT_NAME.match(name):
        raise Rejected("must begin with a letter and have letters, digits, _ and - only", field="type", code="type")
    _check_identity(report)
    money = name in MONEY_EVENTS
    if key.kind != "secret" and (money or name.startswith("order_")):
        reason = f"{name} reports money, which a public key may not: send it from a server with a secret key"
        raise Rejected(reason, field="type", code="money_needs_secret_key")
    shape = shape_of(name)
    if shape is None:
        return [_custom(report, key, received_at)]
    fields = read(shape, report.data)
    event = shape.build(_key(shape, fields, report), fields)
    if money:
        return _money(event, report, key, received_at)
    return [_behaviour(event, fields.customer_id, report, key, received_at)]


def _money(event: Event, report: Report, key: Key, received_at: datetime) -> list[Envelope]:
    for name in ("customer_id", "visitor_id"):
        check_text(getattr(event, name, None), f"data.{camel(name)}")
    times = {"occurred_at": _occurred(report, received_at), "received_at": received_at}
    flow = {"correlation_id": report.correlation_id, "causation_id": report.causation_id, "trace": report.trace}
    common: dict[str, Any] = {"shop": key.shop, "source": TRUSTED_SOURCE, "origin": "", **times, **flow}
    message = f"{report.sender} {report.message_id}"
    money = event.seal(id=trusted_money_id(event, key.shop, TRUSTED_SOURCE, message), **common)
    twin = event.purchase() if isinstance(event, OrderCreated) else None
    if twin is None:
        return [money]
    twin_id = money_id(key.shop, TRUSTED_SOURCE, event.aggregate_id, twin.event_name)
    return [money, twin.seal(id=twin_id, customer_id=money.customer_id, **common)]


def _behaviour(event: Event, customer_id: str | None, report: Report, key: Key, received_at: datetime) -> Envelope:
    """The envelope of a catalogue's event. Its payload stays typed as long as nobody has to look inside."""
    check_text(customer_id, "data.customerId")
    visitor_id = event.aggregate_id
    return Envelope(
        id=_message_id(report, key),
        name=event.event_name,
        aggregate_id=visitor_id,
        payload=cast("Any", event),
        occurred_at=_occurred(report, received_at),
        received_at=received_at,
        shop=key.shop,
        source=source_of(key),
        origin="",
        schema=event.schema,
        visitor_id=getattr(event, "visitor_id", None),
        customer_id=customer_id or getattr(event, "customer_id", None),
        correlation_id=report.correlation_id,
        causation_id=report.causation_id,
        trace=report.trace,
    )


def _custom(report: Report, key: Key, received_at: datetime) -> Envelope:
    """A shop's own event, kept as it was sent."""
    try:
        if isinstance(report.data, dict):
            payload = report.data
            who = _Who() if report.visitor_id is not None else msgspec.convert(payload, _Who)
        else:
            data = report.data or b"{}"
            payload, who = _payload_decoder.decode(data), _who_decoder.decode(data)
    except UNREADABLE as error:
        raise explained(error, inside="data") from error
    check_payload(payload, "data")
    visitor_id = who.visitor_id or report.visitor_id
    customer_id = who.customer_id or report.customer_id
    about = visitor_id or report.subject
    if about is None:
        reason = "is required here, or the event's subject: it says whom the event is about"
        raise Rejected(reason, field="data.visitorId", code="missing")
    check_text(about, "data.visitorId")
    check_text(customer_id, "data.customerId")
    return Envelope(
        id=_message_id(report, key),
        name=report.name,
        aggregate_id=about,
        payload=payload,
        occurred_at=_occurred(report, received_at),
        received_at=received_at,
        shop=key.shop,
        source=source_of(key),
        origin="",
        visitor_id=visitor_id,
        customer_id=customer_id,
        correlation_id=report.correlation_id,
        causation_id=report.causation_id,
        trace=report.trace,
    )


def _check_identity(report: Report) -> None:
    for field, value in (("id", report.message_id), ("source", report.sender)):
        if not 0 < len(value) <= MAX_ID_CHARACTERS:
            raise Rejected(f"must have 1 to {MAX_ID_CHARACTERS} characters", field=field, code="id")
    if report.subject is not None:
        if not 0 < len(report.subject) <= MAX_ID_CHARACTERS:
            raise Rejected(f"must have 1 to {MAX_ID_CHARACTERS} characters", field="subject", code="id")
        check_text(report.subject, "subject")


def _key(shape: Shape, fields: Any, report: Report) -> str:
    key = key_of(shape, fields, report.subject)
    if not key.isprintable():
        check_text(key, f"data.{camel(shape.key)}")
    return key


def _class_of(key: Key) -> KeyClass:
    return "trusted" if key.kind == "secret" else "public"


def _message_id(report: Report | Typed, key: Key) -> str:
    return event_id(key.shop, _class_of(key), report.sender, report.message_id)


def _occurred(report: Report, received_at: datetime) -> datetime:
    """The sender's time, but never later than the receipt: nothing is reported before it happened."""
    if report.occurred_at is None:
        return received_at
    if not FIRST_YEAR <= report.occurred_at.year <= LAST_YEAR:
        raise Rejected(f"must not be before {FIRST_YEAR}", field="time", code="time")
    return min(millisecond(report.occurred_at), received_at)
