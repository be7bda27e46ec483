"""Segment's HTTP API, as its SDKs and RudderStack's send it: one message a request, or a ``batch`` of them.

``messageId`` is an event's identity, whatever route it came by; without one nothing tells a resend from a new event.
Under a secret key ``Order Completed`` and ``Order Refunded`` report money, under a public one they are behaviour.
"""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex
from typing import Any

import msgspec

from rushlight.errors import Rejected
from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.ingest import names
from rushlight.ingest.clock import corrected
from rushlight.ingest.explain import UNREADABLE
from rushlight.ingest.lenient import check_size, split_member
from rushlight.ingest.limits import MAX_EVENT_BYTES, TooLarge
from rushlight.ingest.names import identifier, text
from rushlight.ingest.request import Answer, Decoded, Rejection, Report, Request, Typed
from rushlight.ingest.segment_context import given, in_segment, mapping
from rushlight.ingest.segment_messages import Message, properties_of, told
from rushlight.ingest.usual import messages
from rushlight.ingest.usual.fields import Came
from rushlight.ingest.usual.messages import SENDER

KINDS = {"t": "track", "p": "page", "s": "screen", "i": "identify", "g": "group", "a": "alias"}
PATHS: dict[str, str | None] = {
    **{f"/v1/{word}": kind for short, kind in KINDS.items() for word in (short, kind)},
    **dict.fromkeys(("/v1/batch", "/v1/b", "/v1/import")),
}
"""The routes with the kind of message that each takes; None takes batches."""
ACCEPTED_ONE = b'{"success":true,"accepted":1,"rejected":[]}'
UNREAD_TIME = "timestamp is no time since 1990: the time of receipt counts"


class _Keyed(msgspec.Struct, rename="camel", gc=False):
    write_key: str = ""


_keyed_decoder = msgspec.json.Decoder(_Keyed)


class Segment:
    """The dialect."""

    name = "segment"

    def key_in(self, request: Request, /) -> str:
        """``writeKey`` of the body."""
        try:
            return _keyed_decoder.decode(request.body).write_key
        except UNREADABLE:
            return ""

    def decode(self, request: Request, /) -> Iterable[Report | Typed | Rejection]:
        """Read a request, whatever its content type.

        Raises:
            TooLarge: more than 2,500 events, or the only one is larger than one may be.
            Rejected: the body as a whole cannot be read.
        """
        kind = PATHS[request.path]
        if kind is None:
            return self._batch(request)
        if len(request.body) > MAX_EVENT_BYTES:
            raise TooLarge(f"an event may have {MAX_EVENT_BYTES >> 10} KiB", code="too_large")
        usual = messages.read(request.body, kind, Came(request.received_at))
        return [usual or _read(0, _object(request.body, "the body "), kind, {}, request)]

    def _batch(self, request: Request) -> Iterable[Report | Typed | Rejection]:
        rest, items = split_member(request.body, "batch")
        shared = _object(rest)
        if not isinstance(shared, dict) or not items:
            raise Rejected("is required: an array of messages", field="batch", code="missing")
        context = mapping(shared, "context")
        came = Came(request.received_at, msgspec.json.encode(context) if context else b"", shared.get("sentAt"))
        return (self._one(index, item, came, shared, request) for index, item in enumerate(items))

    def _one(self, index: int, item: Any, came: Came, shared: Message, request: Request) -> Report | Typed | Rejection:
        if item.__class__ is msgspec.Raw and len(item) <= MAX_EVENT_BYTES:
            usual = messages.read(item, None, came)
            if usual is not None:
                return usual
        return _read(index, item, None, shared, request)

    def answer(self, _request: Request, decoded: Decoded, /) -> Answer:
        """200, as Segment answers also what it drops; the body says what was turned away, and why."""
        if decoded.accepted == 1 and not decoded.rejected and not decoded.hints:
            return Answer(200, ACCEPTED_ONE)
        body = {"success": True, "accepted": decoded.accepted, "rejected": [*map(in_segment, decoded.rejected)]}
        return Answer(200, msgspec.json.encode(body | ({"hints": decoded.hints} if decoded.hints else {})))


def _object(body: bytes | msgspec.Raw, what: str = "") -> Any:
    try:
        return msgspec.json.decode(body)
    except UNREADABLE as error:
        raise Rejected(f"{what}is not JSON: {str(error)[:200]}", code="json") from error


def _read(index: int, item: Any, kind: str | None, shared: Message, request: Request) -> Report | Rejection:
    try:
        if isinstance(item, Rejected):
            raise item
        if isinstance(item, bytes | msgspec.Raw):
            check_size(item)
            item = _object(item)
        if not isinstance(item, dict):
            raise Rejected("must be an object", code="type")
        return _report(item, kind or _kind_of(item), shared, request)
    except Rejected as error:
        return Rejection.of(index, error)


def _kind_of(message: Message) -> str:
    kind = message.get("type")
    if not isinstance(kind, str) or kind.lower() not in KINDS.values():
        raise Rejected(f"must be one of {', '.join(KINDS.values())}", field="type", code="type")
    return kind.lower()


def _report(message: Message, kind: str, shared: Message, request: Request) -> Report:
    user, anonymous = (identifier(message.get(name), name) for name in ("userId", "anonymousId"))
    visitor = anonymous or user
    if visitor is None:
        raise Rejected("is required, or anonymousId: one of them says who did it", field="userId", code="missing")
    message_id = identifier(message.get("messageId"), "messageId") or token_hex(16)
    context = mapping(shared, "context") | mapping(message, "context")
    said = names.first(message, ("originalTimestamp", "timestamp"))
    at = corrected(said, names.first(message, ("sentAt",)) or shared.get("sentAt"), request.received_at)
    properties = properties_of(message, kind)
    name, data, personal, hint, original = told(message, kind, context, message_id, trusted=request.trusted)
    if name in names.BEHAVIOUR:
        data |= {"visitorId": visitor, "customerId": user}
    elif name == "order_created":
        data |= {"visitorId": visitor} | ({"customerId": user} if user else {})
    elif name == "order_refunded" and user:
        data["customerId"] = user
    return Report(
        name=name,
        sender=SENDER,
        message_id=message_id,
        data=data,
        subject=None if name in MONEY_EVENTS else visitor,
        occurred_at=at,
        correlation_id=text(names.first(properties, ("checkout_id", "cart_id")), names.MAX_ID_CHARACTERS),
        given=given(context, properties, original, no_id=not message.get("messageId")),
        personal=personal,
        visitor_id=visitor,
        customer_id=user,
        hint=hint or (UNREAD_TIME if said is not None and at is None else None),
    )
