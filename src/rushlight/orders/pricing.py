"""From a request to exact sums: ``gross = Σ amount``, ``total = gross - discounts + tax + shipping``, to the cent."""

from __future__ import annotations

from typing import NamedTuple

from rushlight.errors import Rejected
from rushlight.events.catalogue import Line
from rushlight.events.money import MAX_MINOR_UNITS, allocate, digits, to_minor, to_text
from rushlight.orders.requests import Amount, NewOrder, OrderLine


class Priced(NamedTuple):
    """The lines with the order's discount spread over them, and the sums; minor units."""

    lines: list[Line]
    gross: int
    discounts: int
    tax: int
    shipping: int

    @property
    def total(self) -> int:
        """What the customer pays."""
        return self.gross - self.discounts + self.tax + self.shipping


def price(order: NewOrder) -> Priced:
    """Work out an order's amounts.

    Raises:
        Rejected: an unknown currency, too many digits for it, a negative or absurd amount, a discount above what it
            is taken from; names the field.
    """
    currency = order.currency
    digits(currency)
    unit_prices = [
        None if line.unit_price is None else positive(line.unit_price, currency, "lines[%d].unitPrice", index)
        for index, line in enumerate(order.lines)
    ]
    amounts = [
        _amount(line, unit_price, currency, index)
        for index, (line, unit_price) in enumerate(zip(order.lines, unit_prices, strict=True))
    ]
    discounts = [
        0 if line.discount is None else _line_discount(line.discount, currency, index, amounts[index])
        for index, line in enumerate(order.lines)
    ]
    if order.discount is not None:
        discounts = _spread(order.discount, currency, amounts, discounts)
    gross = sum(amounts)
    tax = 0 if order.tax is None else positive(order.tax, currency, "tax")
    shipping = 0 if order.shipping is None else positive(order.shipping, currency, "shipping")
    if gross + tax + shipping > MAX_MINOR_UNITS:
        raise Rejected("the order's total is too large", field="lines", code="amount")
    lines = [
        Line(
            product_id=line.product_id,
            quantity=line.quantity,
            amount=amount,
            discount=discount,
            unit_price=unit_price,
            name=line.name,
            category=line.category,
        )
        for line, unit_price, amount, discount in zip(order.lines, unit_prices, amounts, discounts, strict=True)
    ]
    return Priced(lines, gross, sum(discounts), tax, shipping)


def positive(value: Amount, currency: str, field: str, index: int | None = None) -> int:
    """Minor units of an amount that may not be negative.

    Args:
        value: what was sent.
        currency: ISO 4217 code.
        field: the name that an error gives; with an ``index``, a pattern for it.

    Raises:
        Rejected: it is negative, or no amount of this currency.
    """
    try:
        minor = to_minor(value, currency)
    except Rejected as error:
        raise Rejected(error.reason, field=_field(field, index), code=error.code) from error
    if minor < 0:
        raise Rejected("must not be negative", field=_field(field, index), code="amount")
    return minor


def _field(pattern: str, index: int | None) -> str:
    return pattern if index is None else pattern % index


def _amount(line: OrderLine, unit_price: int | None, currency: str, index: int) -> int:
    if unit_price is None:
        if line.amount is None:
            raise Rejected("unitPrice or amount is required", field=f"lines[{index}].unitPrice", code="missing")
        return positive(line.amount, currency, "lines[%d].amount", index)
    amount = unit_price * line.quantity
    if amount > MAX_MINOR_UNITS:
        raise Rejected("the amount is too large", field=f"lines[{index}].unitPrice", code="amount")
    if line.amount is not None and positive(line.amount, currency, "lines[%d].amount", index) != amount:
        expected = to_text(amount, currency)
        raise Rejected(
            f"is not quantity times unitPrice ({expected}); leave one of the two out",
            field=f"lines[{index}].amount",
            code="amount",
        )
    return amount


def _line_discount(value: Amount, currency: str, index: int, amount: int) -> int:
    discount = positive(value, currency, "lines[%d].discount", index)
    if discount > amount:
        reason = f"is more than the line's amount ({to_text(amount, currency)})"
        raise Rejected(reason, field=f"lines[{index}].discount", code="amount")
    return discount


def _spread(value: Amount, currency: str, amounts: list[int], discounts: list[int]) -> list[int]:
    left = [amount - discount for amount, discount in zip(amounts, discounts, strict=True)]
    discount = positive(value, currency, "discount")
    if discount > sum(left):
        raise Rejected(f"is more than the goods cost ({to_text(sum(left), currency)})", field="discount", code="amount")
    return [own + share for own, share in zip(discounts, allocate(discount, left), strict=True)]
