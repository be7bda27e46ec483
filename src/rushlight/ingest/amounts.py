"""Decimal amounts of a report become exact minor units, or the report is refused with the field that is wrong."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec

from rushlight.errors import Rejected
from rushlight.events.catalogue import (
    Currency,
    Id,
    Item,
    Line,
    OrderCreated,
    OrderPaid,
    OrderRefunded,
    Purchase,
    Quantity,
    RefundLine,
    Text,
)
from rushlight.events.money import MAX_MINOR_UNITS, allocate, digits, to_minor, to_text

MAX_LINES = 500
REMEMBERED_PRICES = 4096

# A decimal string is exact; a JSON number is read by its shortest decimal form.
Amount = Annotated[str, msgspec.Meta(max_length=40)] | int | float


# Unknown fields are refused: a misspelt ``discount`` must not be counted as the full price.
class LineReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """One line: ``unitPrice`` or ``amount`` (the whole line before discount), or both if they agree."""

    product_id: Id
    quantity: Quantity = 1
    unit_price: Amount | None = None
    amount: Amount | None = None
    discount: Amount | None = None
    name: Text | None = None
    category: Text | None = None


class OrderReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """``data`` of ``order_created``. An order-level ``discount`` is spread over the lines."""

    currency: Currency
    lines: Annotated[list[LineReport], msgspec.Meta(min_length=1, max_length=MAX_LINES)]
    order_id: Id | None = None
    customer_id: Id | None = None
    visitor_id: Id | None = None
    discount: Amount | None = None
    tax: Amount = 0
    shipping: Amount = 0
    country: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class PaymentReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """``data`` of ``order_paid``."""

    payment_id: Id
    currency: Currency
    amount: Amount
    order_id: Id | None = None


class RefundLineReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """The part of a refund that falls on one product."""

    product_id: Id
    amount: Amount
    quantity: Quantity = 0


class RefundReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """``data`` of ``order_refunded``: ``amount`` is the goods' part; with ``lines`` it is their sum."""

    refund_id: Id
    currency: Currency
    order_id: Id | None = None
    amount: Amount | None = None
    lines: Annotated[list[RefundLineReport], msgspec.Meta(max_length=MAX_LINES)] = []
    tax: Amount = 0
    shipping: Amount = 0
    customer_id: Id | None = None


class ItemReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """A product as a visitor met it."""

    product_id: Id
    quantity: Quantity = 1
    name: Text | None = None
    category: Text | None = None
    price: Amount | None = None
    currency: Currency | None = None


def order_created(order_id: str, report: OrderReport) -> OrderCreated:
    """The typed event of an order: ``gross = Σ amount``, ``total = gross - discounts + tax + shipping``.

    Raises:
        Rejected: an unknown currency, too many digits, a negative or absurd amount, a discount above what it is
            taken from; names the field.
    """
    currency = report.currency
    _check_currency(currency)
    amounts = [_line_amount(line, currency, f"data.lines[{i}]") for i, line in enumerate(report.lines)]
    discounts = [
        0 if line.discount is None else _at_most(line.discount, amount, currency, f"data.lines[{i}].discount")
        for i, (line, amount) in enumerate(zip(report.lines, amounts, strict=True))
    ]
    if report.discount is not None:
        left = [amount - discount for amount, discount in zip(amounts, discounts, strict=True)]
        spread = allocate(_at_most(report.discount, sum(left), currency, "data.discount"), left)
        discounts = [own + share for own, share in zip(discounts, spread, strict=True)]
    gross, off = sum(amounts), sum(discounts)
    tax, shipping = _minor(report.tax, currency, "data.tax"), _minor(report.shipping, currency, "data.shipping")
    if gross + tax + shipping > MAX_MINOR_UNITS:
        raise Rejected("the order's total is too large", field="data.lines", code="amount")
    return OrderCreated(
        order_id=order_id,
        currency=currency,
        lines=[
            _line(line, amount, discount, currency, f"data.lines[{i}]")
            for i, (line, amount, discount) in enumerate(zip(report.lines, amounts, discounts, strict=True))
        ],
        gross=gross,
        discounts=off,
        tax=tax,
        shipping=shipping,
        total=gross - off + tax + shipping,
        customer_id=report.customer_id,
        visitor_id=report.visitor_id,
        country=report.country,
    )


def order_paid(order_id: str, report: PaymentReport) -> OrderPaid:
    """The typed event of a payment.

    Raises:
        Rejected: as `order_created`.
    """
    _check_currency(report.currency)
    amount = _minor(report.amount, report.currency, "data.amount")
    return OrderPaid(order_id=order_id, payment_id=report.payment_id, currency=report.currency, amount=amount)


def order_refunded(order_id: str, report: RefundReport) -> OrderRefunded:
    """The typed event of a refund.

    Raises:
        Rejected: as `order_created`; or ``amount`` is not the sum of the lines.
    """
    currency = report.currency
    _check_currency(currency)
    lines = [
        RefundLine(
            product_id=line.product_id,
            quantity=line.quantity,
            amount=_minor(line.amount, currency, f"data.lines[{i}].amount"),
        )
        for i, line in enumerate(report.lines)
    ]
    goods = sum(line.amount for line in lines)
    amount = goods if report.amount is None else _minor(report.amount, currency, "data.amount")
    if lines and amount != goods:
        raise Rejected(f"is not the sum of the lines ({to_text(goods, currency)})", field="data.amount", code="amount")
    if amount > MAX_MINOR_UNITS:
        raise Rejected("the refund is too large", field="data.lines", code="amount")
    return OrderRefunded(
        order_id=order_id,
        refund_id=report.refund_id,
        currency=currency,
        amount=amount,
        lines=lines,
        tax=_minor(report.tax, currency, "data.tax"),
        shipping=_minor(report.shipping, currency, "data.shipping"),
        customer_id=report.customer_id,
    )


def purchase_of(order: OrderCreated, visitor_id: str) -> Purchase:
    """What the order is in its visitor's story."""
    items = [
        Item(
            product_id=line.product_id,
            quantity=line.quantity,
            name=line.name,
            category=line.category,
            price=line.unit_price,
            currency=None if line.unit_price is None else order.currency,
        )
        for line in order.lines[:200]
    ]
    return Purchase(visitor_id=visitor_id, transaction_id=order.order_id, items=items)


def item(report: ItemReport, currency: str | None, field: str) -> Item:
    """An item with its price in minor units.

    Args:
        currency: the event's, for items that give none.

    Raises:
        Rejected: a price without a currency, or one that is no amount of it.
    """
    currency = report.currency or currency
    price = None
    if report.price is not None:
        if currency is None:
            raise Rejected("is required with a price", field=f"{field}.currency", code="missing")
        _check_currency(currency, f"{field}.currency")
        price = _minor(report.price, currency, f"{field}.price")
    return Item(
        product_id=report.product_id,
        quantity=report.quantity,
        name=report.name,
        category=report.category,
        price=price,
        currency=currency,
    )


def _line(line: LineReport, amount: int, discount: int, currency: str, field: str) -> Line:
    unit_price = None if line.unit_price is None else _minor(line.unit_price, currency, f"{field}.unitPrice")
    return Line(
        product_id=line.product_id,
        quantity=line.quantity,
        amount=amount,
        discount=discount,
        unit_price=unit_price,
        name=line.name,
        category=line.category,
    )


def _line_amount(line: LineReport, currency: str, field: str) -> int:
    if line.unit_price is None:
        if line.amount is None:
            raise Rejected("unitPrice or amount is required", field=f"{field}.unitPrice", code="missing")
        return _minor(line.amount, currency, f"{field}.amount")
    amount = _minor(line.unit_price, currency, f"{field}.unitPrice") * line.quantity
    if amount > MAX_MINOR_UNITS:
        raise Rejected("the amount is too large", field=f"{field}.unitPrice", code="amount")
    if line.amount is not None and _minor(line.amount, currency, f"{field}.amount") != amount:
        expected = to_text(amount, currency)
        raise Rejected(
            f"is not quantity times unitPrice ({expected}); leave one of the two out",
            field=f"{field}.amount",
            code="amount",
        )
    return amount


def _at_most(value: Amount, limit: int, currency: str, field: str) -> int:
    minor = _minor(value, currency, field)
    if minor > limit:
        raise Rejected(f"is more than it is taken from ({to_text(limit, currency)})", field=field, code="amount")
    return minor


def _minor(value: Amount, currency: str, field: str) -> int:
    try:
        # The same prices come again and again; only strings, because 1, 1.0 and True are one key.
        return _price(value, currency) if value.__class__ is str else _fresh_minor(value, currency, field)
    except Rejected:
        return _fresh_minor(value, currency, field)


@lru_cache(maxsize=REMEMBERED_PRICES)
def _price(value: Amount, currency: str) -> int:
    return _fresh_minor(value, currency, "")


def _fresh_minor(value: Amount, currency: str, field: str) -> int:
    minor = to_minor(value, currency, field=field)
    if minor < 0:
        raise Rejected("must not be negative", field=field, code="amount")
    return minor


def _check_currency(currency: str, field: str = "data.currency") -> None:
    try:
        digits(currency)
    except Rejected as error:
        raise Rejected(error.reason, field=field, code=error.code) from error
