"""How a refund falls on goods, tax, shipping and lines: the parts sum to it exactly and never exceed what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rushlight.errors import Conflict, Rejected
from rushlight.events.catalogue import RefundLine
from rushlight.events.money import allocate, to_text
from rushlight.orders.life import Life
from rushlight.orders.requests import ReturnedLine
from rushlight.store.database import Document


class Part(NamedTuple):
    """The part of a refund that falls on one line of the order."""

    line: int
    quantity: int
    amount: int


class Split(NamedTuple):
    """A refund in parts; minor units. ``goods`` is the sum of the lines' amounts."""

    goods: int
    tax: int
    shipping: int
    parts: list[Part]


def the_rest(life: Life) -> Split:
    """Everything that is left: goods, tax, shipping and all pieces."""
    parts = [
        Part(line, pieces, amount)
        for line, (pieces, amount) in enumerate(zip(life.pieces, life.goods, strict=True))
        if pieces or amount
    ]
    return Split(sum(life.goods), life.tax, life.shipping, parts)


def by_amount(life: Life, amount: int, currency: str) -> Split:
    """An amount, spread over what is left of goods, tax and shipping, and the goods' part over the lines.

    Raises:
        Rejected: the amount is not positive.
        Conflict: it is more than is left.
    """
    if amount <= 0:
        raise Rejected("must be more than 0", field="amount", code="amount")
    if amount > life.left:
        raise Conflict(f"only {to_text(life.left, currency)} {currency} can still be refunded", code="refund")
    goods, tax, shipping = allocate(amount, [sum(life.goods), life.tax, life.shipping])
    shares = allocate(goods, life.goods)
    return Split(goods, tax, shipping, [Part(line, 0, share) for line, share in enumerate(shares) if share])


def by_lines(order: Document, life: Life, wanted: Sequence[ReturnedLine]) -> Split:
    """Pieces of products, with their share of the tax; shipping stays paid.

    A piece is worth what is left of its line divided by the pieces that are left, so earlier refunds by amount count.

    Raises:
        Rejected: the order has no such product.
        Conflict: fewer pieces are left.
    """
    pieces = [0] * len(life.pieces)
    for index, line in enumerate(wanted):
        _take(order, life, pieces, line, f"lines[{index}].productId")
    parts = [
        Part(line, taken, _first(life.goods[line], taken, life.pieces[line] - taken))
        for line, taken in enumerate(pieces)
        if taken
    ]
    goods, goods_left = sum(part.amount for part in parts), sum(life.goods)
    if goods_left:
        tax = _first(life.tax, goods, goods_left - goods)
    else:  # goods that cost nothing may still have been taxed: then pieces carry the tax
        tax = _first(life.tax, sum(pieces), sum(life.pieces) - sum(pieces))
    return Split(goods, tax, 0, parts)


def event_lines(order: Document, split: Split) -> list[RefundLine]:
    """The parts by product, as the event tells them."""
    products: dict[str, tuple[int, int]] = {}
    for part in split.parts:
        product = order["lines"][part.line]["productId"]
        quantity, amount = products.get(product, (0, 0))
        products[product] = quantity + part.quantity, amount + part.amount
    return [
        RefundLine(product_id=product, quantity=quantity, amount=amount)
        for product, (quantity, amount) in products.items()
    ]


def _take(order: Document, life: Life, pieces: list[int], wanted: ReturnedLine, field: str) -> None:
    places = [index for index, line in enumerate(order["lines"]) if line["productId"] == wanted.product_id]
    if not places:
        raise Rejected(f"the order has no product {wanted.product_id!r}", field=field)
    missing = wanted.quantity
    for index in places:
        taken = min(missing, life.pieces[index] - pieces[index])
        pieces[index] += taken
        missing -= taken
    if missing:
        left = sum(life.pieces[index] for index in places)
        raise Conflict(f"only {left} of {wanted.product_id} can still be refunded", code="refund")


def _first(total: int, first: int, second: int) -> int:
    return allocate(total, [first, second])[0] if first else 0
