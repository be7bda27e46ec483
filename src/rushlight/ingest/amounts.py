"""Decimal amounts of a report become exact minor units, or the report is refused with the field that is wrong."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rushlight.errors import Rejected
from rushlight.events.catalogue import (
    Currency,
    Id,
    Item,
    OrderCreated,
    OrderPaid,
    OrderRefunded,
    Quantity,
    RefundLine,
    Text,
)
from rushlight.events.money import MAX_MINOR_UNITS, to_text
from rushlight.events.pricing import check_currency, positive, price

MAX_LINES = 500

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
    test: bool = False


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
    """``data`` of ``order_refunded``: ``amount`` is the goods' part; with ``lines`` it is their sum.

    Without any amount the whole rest of the order goes back.
    """

    refund_id: Id
    currency: Currency | None = None
    order_id: Id | None = None
    amount: Amount | None = None
    lines: Annotated[list[RefundLineReport], msgspec.Meta(max_length=MAX_LINES)] = []
    tax: Amount | None = None
    shipping: Amount | None = None
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
    priced = price(report, "data.")
    return OrderCreated(
        order_id=order_id,
        currency=report.currency,
        lines=priced.lines,
        gross=priced.gross,
        discounts=priced.discounts,
        tax=priced.tax,
        shipping=priced.shipping,
        total=priced.total,
        customer_id=report.customer_id,
        visitor_id=report.visitor_id,
        country=report.country,
        test=report.test,
    )


def order_paid(order_id: str, report: PaymentReport) -> OrderPaid:
    """The typed event of a payment.

    Raises:
        Rejected: as `order_created`.
    """
    check_currency(report.currency, "data.currency")
    amount = positive(report.amount, report.currency, "data.amount")
    return OrderPaid(order_id=order_id, payment_id=report.payment_id, currency=report.currency, amount=amount)


def order_refunded(order_id: str, report: RefundReport) -> OrderRefunded:
    """The typed event of a refund.

    Raises:
        Rejected: as `order_created`; or ``amount`` is not the sum of the lines.
    """
    currency = report.currency
    if not report.lines and report.amount is None and report.tax is None and report.shipping is None:
        return OrderRefunded(order_id=order_id, refund_id=report.refund_id, customer_id=report.customer_id)
    if currency is None:
        raise Rejected("is required with an amount", field="data.currency", code="missing")
    check_currency(currency, "data.currency")
    lines = [
        RefundLine(
            product_id=line.product_id,
            quantity=line.quantity,
            amount=positive(line.amount, currency, f"data.lines[{i}].amount"),
        )
        for i, line in enumerate(report.lines)
    ]
    goods = sum(line.amount for line in lines)
    amount = goods if report.amount is None else positive(report.amount, currency, "data.amount")
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
        tax=positive(report.tax or 0, currency, "data.tax"),
        shipping=positive(report.shipping or 0, currency, "data.shipping"),
        customer_id=report.customer_id,
    )


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
        check_currency(currency, f"{field}.currency")
        price = positive(report.price, currency, f"{field}.price")
    return Item(
        product_id=report.product_id,
        quantity=report.quantity,
        name=report.name,
        category=report.category,
        price=price,
        currency=currency,
    )
