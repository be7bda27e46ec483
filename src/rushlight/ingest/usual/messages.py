"""Segment messages as most senders write them, read straight into what they become.

A page view, an event about products or one of the shop's own, whose fields have the types that Segment's specification
gives them. Whatever else a message may be is left to `rushlight.ingest.dialects.segment`, which reads anything: it and
this make the same of the same message. Only what neither would use, as ``integrations``, is not even decoded here: a
number beyond all range there turns nothing away.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Raw

from rushlight.errors import Rejected
from rushlight.events.catalogue import PageView, ViewItem
from rushlight.events.event import event_type
from rushlight.ingest.context.pages import MAX_TITLE_CHARACTERS, clean, host_of, page_of
from rushlight.ingest.context.text import short
from rushlight.ingest.explain import UNREADABLE
from rushlight.ingest.limits import check_payload
from rushlight.ingest.names import BEHAVIOUR, event_name
from rushlight.ingest.request import Typed
from rushlight.ingest.usual.fields import Came, Unusual, happened, identifier, link_of, short_id, text_of, who
from rushlight.ingest.usual.items import items_of
from rushlight.ingest.usual.said import what_is_said
from rushlight.ingest.usual.shapes import (
    NOTHING,
    Message,
    PageProperties,
    read_message,
    read_own,
    read_page,
    read_properties,
)

SENDER = "segment"
_ONLY_ITEMS = ViewItem.__struct_fields__


def read(text: bytes | Raw, kind: str | None, came: Came) -> Typed | None:
    """What a message says; None for one that has to be read in full.

    Args:
        kind: what its route takes, None where the message says so itself.
    """
    try:
        message = read_message(text)
        kind = kind or message.type
        if kind == "track":
            return _tracked(message, came)
        if kind == "page":
            return _seen_page(message, came)
    except (Unusual, Rejected, *UNREADABLE):
        pass
    return None


def _tracked(message: Message, came: Came) -> Typed:
    sent = text_of(message.event)
    if sent is None:
        raise Unusual
    name = event_name(sent)
    original = sent if sent != name else None
    declared: Any = event_type(name)
    if declared is None:
        return _own(message, came, name, original)
    if name not in BEHAVIOUR or declared.__struct_fields__ != _ONLY_ITEMS:
        raise Unusual
    given = message.properties
    properties = read_properties(given) if len(given) else NOTHING
    if properties.test is True:
        raise Unusual
    visitor, customer = who(message)
    return Typed(
        name=name,
        payload=declared(visitor_id=visitor, items=items_of(properties)),
        schema=declared.schema,
        sender=SENDER,
        message_id=identifier(message.message_id),
        visitor_id=visitor,
        customer_id=customer,
        occurred_at=happened(message, came),
        correlation_id=short_id(properties.checkout_id or properties.cart_id),
        said=what_is_said(message, came, original, properties.url or None, properties.referrer or None),
    )


def _own(message: Message, came: Came, name: str, original: str | None) -> Typed:
    """A shop's own event, which keeps its properties as they are."""
    given = message.properties
    properties = read_own(given) if len(given) else {}
    url, referrer, cart = (properties.get(field) for field in ("url", "referrer", "cart_id"))
    if properties.get("test") is True or properties.get("checkout_id") is not None:
        raise Unusual
    if not all(each is None or each.__class__ is str for each in (url, referrer, cart)):
        raise Unusual
    check_payload(properties, "properties")
    visitor, customer = who(message)
    return Typed(
        name=name,
        payload=clean(properties),
        sender=SENDER,
        message_id=identifier(message.message_id),
        visitor_id=visitor,
        customer_id=customer,
        occurred_at=happened(message, came),
        correlation_id=short_id(cart),
        said=what_is_said(message, came, original, url or None, referrer or None),
    )


def _seen_page(message: Message, came: Came) -> Typed:
    given = message.properties
    page = read_page(given) if len(given) else PageProperties()
    if page.test is True or page.cart_id is not None or page.checkout_id is not None:
        raise Unusual
    visitor, customer = who(message)
    said = what_is_said(message, came, None, page.url or None, page.referrer or None)
    url = said.given.url if page.url is UNSET else page.url
    title = said.title if page.title is UNSET else page.title
    referrer = said.given.referrer if page.referrer is UNSET else page.referrer
    return Typed(
        name=PageView.event_name,
        payload=PageView(
            visitor_id=visitor,
            url=page_of(link_of(url)),
            title=short(text_of(title), MAX_TITLE_CHARACTERS),
            referrer=host_of(link_of(referrer)),
            name=short(text_of(message.name or page.name), MAX_TITLE_CHARACTERS),
            category=text_of(message.category or page.category),
        ),
        schema=PageView.schema,
        sender=SENDER,
        message_id=identifier(message.message_id),
        visitor_id=visitor,
        customer_id=customer,
        occurred_at=happened(message, came),
        said=said,
    )
