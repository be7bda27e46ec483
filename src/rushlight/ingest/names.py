"""What senders call things: Segment's and GA4's names of events and of a product's fields, and the catalogue's.

Names are compared without regard to case, spaces, ``_`` and ``-``. What the catalogue has no name for stays the shop's
own event under a name made of the one that was sent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from rushlight.errors import Rejected
from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.events.event import event_type
from rushlight.events.money import digits
from rushlight.events.pricing import positive
from rushlight.ingest.shapes import camel

Properties = Mapping[str, Any]

MAX_ID_CHARACTERS = 256
MAX_TEXT_CHARACTERS = 512
MAX_LINK_CHARACTERS = 2048
MAX_NAME_CHARACTERS = 64
REMEMBERED_NAMES = 2048
MONEY_PREFIX = "order_"

SEGMENT_NAMES = {
    "Products Searched": "search",
    "Product List Viewed": "view_item_list",
    "Product List Filtered": "view_item_list",
    "Product Clicked": "select_item",
    "Product Viewed": "view_item",
    "Product Added": "add_to_cart",
    "Product Removed": "remove_from_cart",
    "Product Added to Wishlist": "add_to_wishlist",
    "Wishlist Product Added to Cart": "add_to_cart",
    "Cart Viewed": "view_cart",
    "Checkout Started": "begin_checkout",
    "Checkout Step Viewed": "add_shipping_info",
    "Checkout Step Completed": "add_shipping_info",
    "Payment Info Entered": "add_payment_info",
    "Order Completed": "purchase",
    "Order Refunded": "refund",
    "Order Updated": "order_updated",
    "Order Cancelled": "order_cancelled",
    "Order Canceled": "order_cancelled",
    "Promotion Viewed": "view_promotion",
    "Promotion Clicked": "select_promotion",
    "Signed Up": "sign_up",
    "Signed In": "login",
}
"""The e-commerce events of Segment's specification under the catalogue's names."""

BEHAVIOUR = frozenset(
    {
        *("page_view", "screen", "search", "view_item", "view_item_list", "select_item", "add_to_cart"),
        *("remove_from_cart", "add_to_wishlist", "view_cart", "begin_checkout", "add_shipping_info"),
        *("add_payment_info", "purchase", "refund", "view_promotion", "select_promotion", "login", "sign_up"),
        *("identify", "alias", "group"),
    }
)
"""The catalogue's events of visitors."""

CATALOGUE = BEHAVIOUR | MONEY_EVENTS

MONEY_OF = {"purchase": "order_created", "refund": "order_refunded"}
"""What these say when they come with a secret key."""

PRODUCT_ID = ("product_id", "productId", "item_id", "itemId", "sku")
PRODUCT_NAME = ("name", "item_name")
PRODUCT_CATEGORY = ("category", "item_category")
_OTHER_NAMES = {
    "search_term": ("query", "search_term"),
    "transaction_id": ("order_id", "transaction_id"),
    "promotion_name": ("promotion_name", "name"),
    "creative_name": ("creative_name", "creative"),
    "creative_slot": ("creative_slot", "position"),
}
_LINKS = frozenset({"url", "referrer"})
_AS_SENT = frozenset({"amount", "currency"})
_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_BLANK = re.compile(r"[\s_-]+")


@lru_cache(maxsize=REMEMBERED_NAMES)
def event_name(sent: str) -> str:
    """The catalogue's name of an event, or one that a shop's own event may have (``Video Played`` → ``video_played``).

    A name without any Latin letter becomes ``event_`` and a digest: names that differ stay different. ``order_…`` is
    kept for money: what would be called so is called ``event_order_…``.
    """
    known = _KNOWN.get(_BLANK.sub("", sent).casefold())
    if known is not None:
        return known
    plain = unicodedata.normalize("NFKD", sent).encode("ascii", "ignore").decode()
    name = "_".join(filter(None, _BETWEEN_WORDS.split(plain))).lower()
    if not name[:1].isalpha() or name.startswith(MONEY_PREFIX):
        name = f"event_{name or _digest(sent)}"
    if len(name) > MAX_NAME_CHARACTERS:
        name = f"{name[: MAX_NAME_CHARACTERS - 9]}_{_digest(sent)}"
    return name


def first(properties: Properties, names: Iterable[str]) -> Any:
    """The first of these fields that says something; None and an empty text say nothing."""
    for name in names:
        value = properties.get(name)
        if value is not None and value != "":
            return value
    return None


def identifier(value: Any, field: str) -> str | None:
    """An id as text; a whole number is one too, and None or an empty text is no id.

    Raises:
        Rejected: it is something else, or too long.
    """
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > MAX_ID_CHARACTERS:
        raise Rejected(f"must be a text of 1 to {MAX_ID_CHARACTERS} characters", field=field, code="id")
    return value


def text(value: Any, limit: int = MAX_TEXT_CHARACTERS) -> str | None:
    """A text that only describes: what cannot be shown as such is left out."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and 0 < len(value) <= limit else None


def currency_of(value: Any, default: str | None) -> str | None:
    """A currency's code in capitals; the default where nothing was sent.

    Raises:
        Rejected: it is no text. Whether it is a currency is for others to say.
    """
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise Rejected("must be an ISO 4217 code", field="currency", code="currency")
    return value.strip().upper()


def quantity(value: Any, field: str) -> int:
    """A number of pieces, 1 where none was sent.

    Raises:
        Rejected: it is no whole number.
    """
    if value is None or value == "":
        return 1
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 16:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise Rejected("must be a whole number", field=field, code="quantity")
    return int(value)


def objects(value: Any, field: str) -> list[tuple[Mapping[str, Any], str]]:
    """The objects of a list, each with its place; one object may stand for a list of one.

    Raises:
        Rejected: it is, or holds, something else.
    """
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(value, field)]
    if not isinstance(value, list):
        raise Rejected("must be a list of objects", field=field, code="type")
    found: list[tuple[Mapping[str, Any], str]] = []
    for index, one in enumerate(value):
        if not isinstance(one, Mapping):
            raise Rejected("must be an object", field=f"{field}[{index}]", code="type")
        found.append((one, f"{field}[{index}]"))
    return found


def products_of(properties: Properties, place: str) -> list[tuple[Mapping[str, Any], str]]:
    """The products of an event: ``products`` or ``items``, or the one whose fields stand among the event's own."""
    name = "products" if properties.get("products") is not None else "items"
    if properties.get(name) is None and first(properties, PRODUCT_ID) is not None:
        return [(properties, place)]
    return objects(properties.get(name), f"{place}.{name}")


def product_id(product: Mapping[str, Any], field: str) -> str:
    """A product's id, or its name where it has none.

    Raises:
        Rejected: it has neither.
    """
    found = identifier(first(product, (*PRODUCT_ID, "id", *PRODUCT_NAME)), f"{field}.product_id")
    if found is None:
        raise Rejected("is required", field=f"{field}.product_id", code="missing")
    return found


def described(product: Mapping[str, Any]) -> dict[str, Any]:
    """Name and category, as far as they can be shown."""
    told = {"name": text(first(product, PRODUCT_NAME)), "category": text(first(product, PRODUCT_CATEGORY))}
    return {field: value for field, value in told.items() if value is not None}


def items(properties: Properties, *, place: str, currency: str | None) -> list[dict[str, Any]]:
    """The products that a visitor met, as the catalogue's ``items``; a price that is no amount is left out.

    Args:
        place: where the properties stand, for errors. currency: of prices that name none.
    """
    own = properties.get("currency") or currency
    found = []
    for product, field in products_of(properties, place):
        item = {
            "productId": product_id(product, field),
            "quantity": quantity(product.get("quantity"), f"{field}.quantity"),
            **described(product),
            **_price(product.get("price"), product.get("currency") or own),
        }
        found.append(item)
    return found


def data_of(name: str, properties: Properties, *, place: str, currency: str | None = None) -> dict[str, Any]:
    """The data of a catalogue event, field by field, from a sender's properties; what it has no field for is left.

    An event that the catalogue does not know keeps its properties as they are.

    Args:
        name: a catalogue name. place, currency: as for `items`.
    """
    declared = event_type(name)
    if declared is None or name not in CATALOGUE:
        return dict(properties)
    data: dict[str, Any] = {}
    for field in declared.__struct_fields__:
        if field == "items":
            data["items"] = items(properties, place=place, currency=currency)
        elif field != "visitor_id":
            value = first(properties, (*_OTHER_NAMES.get(field, (field,)), camel(field)))
            if field.endswith("_id") or field == "revision":
                value = identifier(value, f"{place}.{field}")
            elif field not in _AS_SENT:
                value = text(value, MAX_LINK_CHARACTERS if field in _LINKS else MAX_TEXT_CHARACTERS)
            if value is not None:
                data[camel(field)] = value
    return data


def _price(value: Any, currency: Any) -> dict[str, Any]:
    if value is None or not isinstance(currency, str) or isinstance(value, bool | list | dict):
        return {}
    code = currency.strip().upper()
    try:
        digits(code)
        positive(value, code, "price")
    except Rejected:
        return {}
    return {"price": value, "currency": code}


def _digest(sent: str) -> str:
    return blake2b(sent.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def _squeezed(names: Iterable[str]) -> dict[str, str]:
    return {_BLANK.sub("", name).casefold(): name for name in names}


_KNOWN = _squeezed(CATALOGUE) | {_BLANK.sub("", sent).casefold(): name for sent, name in SEGMENT_NAMES.items()}
