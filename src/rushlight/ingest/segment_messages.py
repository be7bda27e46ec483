"""What each kind of Segment message says, in the catalogue's words."""

from __future__ import annotations

from typing import Any, NamedTuple

from rushlight.errors import Rejected
from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.ingest import names, selling
from rushlight.ingest.limits import check_payload
from rushlight.ingest.segment_context import mapping

Message = dict[str, Any]


class Told(NamedTuple):
    """An event by its name and data.

    Attributes:
        personal: what names a person. hint: for the sender. original: the sent name, where it is another.
    """

    name: str
    data: Message
    personal: Message | None = None
    hint: str | None = None
    original: str | None = None


def told(message: Message, kind: str, context: Message, message_id: str, *, trusted: bool) -> Told:
    """What a message says.

    Args:
        kind: ``track``, ``page`` and so on. context: merged with its batch's. trusted: whether it may be of money.

    Raises:
        Rejected: a field that the kind needs is absent or malformed; names it.
    """
    properties = properties_of(message, kind)
    if kind == "track":
        return _tracked(message, properties, message_id, trusted=trusted)
    if kind in ("page", "screen"):
        name = "page_view" if kind == "page" else "screen"
        page = mapping(context, "page") if kind == "page" else {}
        said = {field: message[field] for field in ("name", "category") if message.get(field)}
        return Told(name, names.data_of(name, page | properties | said, place="properties"))
    if kind == "identify":
        personal = mapping(context, "traits") | properties
        check_payload(personal, "traits")
        return Told(kind, {}, personal or None)
    if kind == "alias" and not message.get("userId"):
        raise Rejected("is required: whom previousId turned out to be", field="userId", code="missing")
    check_payload(properties, "traits")
    data = names.data_of(kind, message | {"name": properties.get("name")}, place="")
    return Told(kind, data, {"group": properties} if properties else None)


def properties_of(message: Message, kind: str) -> Message:
    """``properties``, or the ``traits`` of the kinds that have these.

    Raises:
        Rejected: it is there and no object.
    """
    name = "traits" if kind in ("identify", "group") else "properties"
    if isinstance(message.get(name), dict | None):
        return mapping(message, name)
    raise Rejected("must be an object", field=name, code="type")


def _tracked(message: Message, properties: Message, message_id: str, *, trusted: bool) -> Told:
    sent = names.text(message.get("event"))
    if sent is None:
        raise Rejected("is required: the event's name", field="event", code="missing")
    name = names.event_name(sent)
    if trusted:
        name = names.MONEY_OF.get(name, name)
    original = sent if sent != name else None
    if name in MONEY_EVENTS and not trusted:
        return Told(name, {}, original=original)  # what it says is turned away unread
    if name == "order_created":
        data, hint = selling.order_created(properties, "properties")
        return Told(name, data, hint=hint, original=original)
    if name == "order_refunded":
        return Told(name, selling.order_refunded(properties, "properties", message_id), original=original)
    data = names.data_of(name, properties, place="properties", currency=selling.DEFAULT_CURRENCY)
    if name == "order_updated":
        data.setdefault("revision", message_id)
    return Told(name, data, original=original)
