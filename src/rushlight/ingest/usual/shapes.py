"""The fields of usual Segment messages with the types that the specification gives them; other types do not decode."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from rushlight.events.catalogue import Quantity


class Message(msgspec.Struct, rename="camel", gc=False):
    """A message, its properties and context unread."""

    type: Any = None
    event: Any = None
    message_id: Any = None
    user_id: Any = None
    anonymous_id: Any = None
    timestamp: Any = None
    original_timestamp: Any = None
    sent_at: Any = None
    name: Any = None
    category: Any = None
    properties: Raw = Raw(b"")
    context: Raw = Raw(b"")


class Product(msgspec.Struct, gc=False):
    """A product among others, or the only one."""

    product_id: str | None = None
    name: str | None = None
    category: str | None = None
    price: float | int | str | None = None
    currency: str | None = None
    quantity: Quantity | None = None
    item_name: Any = None
    item_category: Any = None


OTHER_IDS = ("camel_product_id", "item_id", "camel_item_id", "sku")


class Properties(Product, gc=False, rename={"camel_product_id": "productId", "camel_item_id": "itemId"}):
    """What is said of products."""

    camel_product_id: Any = None
    item_id: Any = None
    camel_item_id: Any = None
    sku: Any = None
    products: list[Product] | None = None
    items: Any = None
    cart_id: str | None = None
    checkout_id: str | None = None
    url: str | None = None
    referrer: str | None = None
    test: Any = None


class PageProperties(msgspec.Struct, gc=False):
    """What is said of a page, where absence is not emptiness."""

    url: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET
    referrer: str | UnsetType | None = UNSET
    name: str | None = None
    category: str | None = None
    cart_id: Any = None
    checkout_id: Any = None
    test: Any = None


class Library(msgspec.Struct, gc=False):
    """The SDK."""

    name: str | None = None
    version: str | None = None


class Page(msgspec.Struct, gc=False):
    """The page that an event happened on."""

    url: str | None = None
    referrer: str | None = None
    title: Any = None
    name: Any = None
    category: Any = None
    cart_id: Any = None


class Device(msgspec.Struct, gc=False):
    """What the sender runs on."""

    type: str | None = None


class Context(msgspec.Struct, rename={"user_agent": "userAgent"}, gc=False):
    """The circumstances."""

    library: Library | None = None
    page: Page | None = None
    device: Device | None = None
    user_agent: str | None = None
    ip: str | None = None
    locale: str | None = None
    timezone: str | None = None
    campaign: dict[str, Any] | None = None
    consent: dict[str, Any] | None = None
    test: Any = None


read_message = msgspec.json.Decoder(Message).decode
read_properties = msgspec.json.Decoder(Properties).decode
read_own = msgspec.json.Decoder(dict[str, Any]).decode
read_page = msgspec.json.Decoder(PageProperties).decode
read_context = msgspec.json.Decoder(Context).decode
NOTHING = Properties()
NO_PAGE = Page()
NO_LIBRARY = Library()
