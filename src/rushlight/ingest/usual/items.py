"""Products of usual messages."""

from __future__ import annotations

from functools import lru_cache

from rushlight.errors import Rejected
from rushlight.events.catalogue import MAX_ITEMS, Item
from rushlight.events.money import digits
from rushlight.events.pricing import positive
from rushlight.ingest.names import MAX_ID_CHARACTERS, MAX_TEXT_CHARACTERS
from rushlight.ingest.selling import DEFAULT_CURRENCY
from rushlight.ingest.usual.fields import Unusual, text_of
from rushlight.ingest.usual.shapes import OTHER_IDS, Product, Properties

REMEMBERED_PRICES = 32_768


def items_of(properties: Properties) -> list[Item]:
    """The products that an event is about, or the one.

    Raises:
        Unusual: they are told otherwise.
    """
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
        name = text_of(product.item_name)
    elif len(name) > MAX_TEXT_CHARACTERS:
        name = None
    if not category:
        category = text_of(product.item_category)
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
