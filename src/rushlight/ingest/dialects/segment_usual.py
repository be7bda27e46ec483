"""Segment messages as most senders write them, read straight into what they become.

A page view, an event about products or one of the shop's own, whose fields have the types that Segment's specification
gives them. Whatever else a message may be is left to `rushlight.ingest.dialects.segment`, which reads anything: it and
this make the same of the same message. Only what neither would use, as ``integrations``, is not even decoded here: a
number beyond all range there turns nothing away.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import UNSET, Raw

from rushlight.errors import Rejected
from rushlight.events.catalogue import MAX_ITEMS, Item, PageView, ViewItem
from rushlight.events.event import event_type
from rushlight.events.money import digits
from rushlight.events.pricing import positive
from rushlight.ingest.clock import FIRST_YEAR, LAST_YEAR
from rushlight.ingest.context.pages import MAX_TITLE_CHARACTERS, clean, host_of, page_of
from rushlight.ingest.context.text import short
from rushlight.ingest.explain import UNREADABLE
from rushlight.ingest.limits import check_payload
from rushlight.ingest.names import (
    BEHAVIOUR,
    MAX_ID_CHARACTERS,
    MAX_LINK_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    event_name,
)
from rushlight.ingest.request import Given, Said, Typed
from rushlight.ingest.segment_shapes import (
    NO_LIBRARY,
    NO_PAGE,
    NOTHING,
    OTHER_IDS,
    Context,
    Message,
    PageProperties,
    Product,
    Properties,
    read_context,
    read_message,
    read_own,
    read_page,
    read_properties,
)
from rushlight.ingest.selling import DEFAULT_CURRENCY

SENDER = "segment"
MAX_SAID = 4096
MAX_SAID_BYTES = 2048
REMEMBERED_PRICES = 32_768
_ONLY_ITEMS = ViewItem.__struct_fields__
_ABSENT = (b"", b"null", b"{}")
_UNSAID = (None, "")


class Unusual(Exception):
    """The message has to be read in full."""


class Came(NamedTuple):
    """How a message came.

    Attributes:
        received_at: by our clock. context: of its batch. sent_at: of its batch.
    """

    received_at: datetime
    context: bytes = b""
    sent_at: Any = None


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
    sent = _text(message.event)
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
    visitor, customer = _who(message)
    return Typed(
        name=name,
        payload=declared(visitor_id=visitor, items=_items(properties)),
        schema=declared.schema,
        sender=SENDER,
        message_id=_id(message.message_id),
        visitor_id=visitor,
        customer_id=customer,
        occurred_at=_happened(message, came),
        correlation_id=_short_id(properties.checkout_id or properties.cart_id),
        said=_what_is_said(message, came, original, properties.url or None, properties.referrer or None),
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
    visitor, customer = _who(message)
    return Typed(
        name=name,
        payload=clean(properties),
        sender=SENDER,
        message_id=_id(message.message_id),
        visitor_id=visitor,
        customer_id=customer,
        occurred_at=_happened(message, came),
        correlation_id=_short_id(cart),
        said=_what_is_said(message, came, original, url or None, referrer or None),
    )


def _seen_page(message: Message, came: Came) -> Typed:
    given = message.properties
    page = read_page(given) if len(given) else PageProperties()
    if page.test is True or page.cart_id is not None or page.checkout_id is not None:
        raise Unusual
    visitor, customer = _who(message)
    said = _what_is_said(message, came, None, page.url or None, page.referrer or None)
    url = said.given.url if page.url is UNSET else page.url
    title = said.title if page.title is UNSET else page.title
    referrer = said.given.referrer if page.referrer is UNSET else page.referrer
    return Typed(
        name=PageView.event_name,
        payload=PageView(
            visitor_id=visitor,
            url=page_of(_link(url)),
            title=short(_text(title), MAX_TITLE_CHARACTERS),
            referrer=host_of(_link(referrer)),
            name=short(_text(message.name or page.name), MAX_TITLE_CHARACTERS),
            category=_text(message.category or page.category),
        ),
        schema=PageView.schema,
        sender=SENDER,
        message_id=_id(message.message_id),
        visitor_id=visitor,
        customer_id=customer,
        occurred_at=_happened(message, came),
        said=said,
    )


def _what_is_said(message: Message, came: Came, original: str | None, url: str | None, referrer: str | None) -> Said:
    context = bytes(message.context)
    if context in _ABSENT:
        context = came.context
    elif came.context not in _ABSENT:
        raise Unusual
    size = len(context) + len(original or "") + len(url or "") + len(referrer or "")
    return (
        _said(context, original, url, referrer)
        if size <= MAX_SAID_BYTES
        else _read_said(context, original, url, referrer)
    )


def _who(message: Message) -> tuple[str, str | None]:
    """Visitor and customer."""
    user, anonymous = message.user_id, message.anonymous_id
    customer = _id(user) if user is not None and user != "" else None
    if anonymous is not None and anonymous != "":
        return _id(anonymous), customer
    if customer is None:
        raise Unusual
    return customer, customer


def _id(value: Any) -> str:
    if value.__class__ is str and 0 < len(value) <= MAX_ID_CHARACTERS and value.isprintable():
        return value
    raise Unusual


def _short_id(value: str | None) -> str | None:
    return value if value and len(value) <= MAX_ID_CHARACTERS else None


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if value.__class__ is str and len(value) <= MAX_TEXT_CHARACTERS:
        return value
    raise Unusual


def _link(value: str | None) -> str | None:
    if value and len(value) > MAX_LINK_CHARACTERS:
        raise Unusual
    return value or None


def _happened(message: Message, came: Came) -> datetime | None:
    """As `rushlight.ingest.clock.corrected` of the usual: times in UTC that make sense."""
    said = message.timestamp if message.original_timestamp in _UNSAID else message.original_timestamp
    if said in _UNSAID:
        return None
    sent = message.sent_at or came.sent_at
    try:
        at = _utc(said)
        if sent not in _UNSAID:
            at = came.received_at - (_utc(sent) - at)
    except (OverflowError, ValueError, TypeError):
        raise Unusual from None
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise Unusual
    return min(at, came.received_at)


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not UTC or moment.year < FIRST_YEAR:
        raise Unusual
    return moment


def _items(properties: Properties) -> list[Item]:
    own = properties.currency or DEFAULT_CURRENCY
    products = properties.products
    if products is None:
        if properties.items is not None:
            raise Unusual
        if properties.product_id:
            return [_item(properties, own)]
        if any(getattr(properties, name) is not None for name in OTHER_IDS):
            raise Unusual
        return []
    if len(products) > MAX_ITEMS:
        raise Unusual
    return [_item(product, own) for product in products]


def _item(product: Product, own: str) -> Item:
    product_id, name, category = product.product_id, product.name, product.category
    if not product_id or len(product_id) > MAX_ID_CHARACTERS:
        raise Unusual
    quantity = 1 if product.quantity is None else product.quantity
    if not name:
        name = _text(product.item_name)
    elif len(name) > MAX_TEXT_CHARACTERS:
        name = None
    if not category:
        category = _text(product.item_category)
    elif len(category) > MAX_TEXT_CHARACTERS:
        category = None
    if product.price is None:
        return Item(product_id=product_id, quantity=quantity, name=name, category=category)
    price, currency = _price(product.price, product.currency or own)
    return Item(product_id=product_id, quantity=quantity, name=name, category=category, price=price, currency=currency)


@lru_cache(REMEMBERED_PRICES)
def _price(value: str | float, currency: str) -> tuple[int, str] | tuple[None, None]:
    """Minor units and the currency's code; nothing where it is no amount of one."""
    code = currency.strip().upper()
    try:
        digits(code)
        return positive(value, code, "price"), code
    except Rejected:
        return None, None


def _read_said(context: bytes, original: str | None, url: str | None, referrer: str | None) -> Said:
    """The circumstances, as `rushlight.ingest.segment_context.given` reads them."""
    told = read_context(context) if context not in _ABSENT else Context()
    page, library = told.page or NO_PAGE, told.library or NO_LIBRARY
    if page.name is not None or page.category is not None or page.cart_id is not None:
        raise Unusual
    name, version = _text(library.name), _text(library.version)
    consent = told.consent or {}
    preferences = consent.get("categoryPreferences")
    given = Given(
        library=f"{name}/{version}" if name and version else name,
        original=original,
        user_agent=_link(told.user_agent),
        ip=_text(told.ip),
        url=_link(page.url or url),
        referrer=_link(page.referrer or referrer),
        campaign=told.campaign or None,
        device=_text(told.device.type) if told.device else None,
        locale=_text(told.locale),
        time_zone=_text(told.timezone),
        consent=(preferences if isinstance(preferences, dict) else {}) or consent or None,
        test=told.test is True,
    )
    return Said(given, _text(page.title))


# Servers say the same again and again, and so does a browser as long as it is on one page.
_said = lru_cache(MAX_SAID)(_read_said)
