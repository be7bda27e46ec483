"""From amounts to exact sums: ``gross = Σ amount``, ``total = gross - discounts + tax + shipping``, to the cent.

One piece of code for every road by which an order comes in: a checkout and a shop's report are checked alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from rushlight.errors import Rejected
from rushlight.events.catalogue import Line
from rushlight.events.money import MAX_MINOR_UNITS, allocate, digits, to_minor, to_text

REMEMBERED_PRICES = 4096

Amount = str | int | float
"""A decimal string is exact; a JSON number is read by its shortest decimal form."""


class UnpricedLine(Protocol):
    """A line as it was sent: ``unit_price`` or ``amount`` (the whole line before discount), or both if they agree."""

    @property
    def product_id(self) -> str:
        """What was ordered."""

    @property
    def quantity(self) -> int:
        """How many pieces."""

    @property
    def unit_price(self) -> Amount | None:
        """Of one piece."""

    @property
    def amount(self) -> Amount | None:
        """Of the whole line before discount."""

    @property
    def discount(self) -> Amount | None:
        """Taken off the line."""

    @property
    def name(self) -> str | None:
        """The product's name."""

    @property
    def category(self) -> str | None:
        """The product's category."""


class Unpriced(Protocol):
    """An order as it was sent. An order-level ``discount`` is spread over the lines."""

    @property
    def currency(self) -> str:
        """ISO 4217 code."""

    @property
    def lines(self) -> Sequence[UnpricedLine]:
        """At least one."""

    @property
    def discount(self) -> Amount | None:
        """Taken off the whole order."""

    @property
    def tax(self) -> Amount | None:
        """Of the whole order."""

    @property
    def shipping(self) -> Amount | None:
        """Of the whole order."""


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


def price(order: Unpriced, at: str = "") -> Priced:
    """Work out an order's amounts.

    Args:
        at: what stands before the names of fields in errors, for example ``data.``.

    Raises:
        Rejected: an unknown currency, too many digits for it, a negative or absurd amount, a discount above what it
            is taken from; names the field.
    """
    currency = order.currency
    check_currency(currency, f"{at}currency")
    rows = [_row(line, currency, f"{at}lines[%d]", index) for index, line in enumerate(order.lines)]
    discounts = [discount for _, _, discount in rows]
    gross = sum([amount for _, amount, _ in rows])
    if order.discount is not None:
        left = [amount - discount for _, amount, discount in rows]
        spread = allocate(_at_most(order.discount, sum(left), currency, f"{at}discount"), left)
        discounts = [own + share for own, share in zip(discounts, spread, strict=True)]
    tax = 0 if order.tax is None else positive(order.tax, currency, f"{at}tax")
    shipping = 0 if order.shipping is None else positive(order.shipping, currency, f"{at}shipping")
    if gross + tax + shipping > MAX_MINOR_UNITS:
        raise Rejected("the order's total is too large", field=f"{at}lines", code="amount")
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
        for line, (unit_price, amount, _), discount in zip(order.lines, rows, discounts, strict=True)
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
        # The same prices come again and again; only strings, because 1, 1.0 and True are one key.
        return _known(value, currency) if value.__class__ is str else _minor(value, currency)
    except Rejected as error:
        raise Rejected(error.reason, field=field if index is None else field % index, code=error.code) from error


def check_currency(currency: str, field: str) -> None:
    """Raise Rejected under this field's name when a code is no currency with a minor unit."""
    try:
        digits(currency)
    except Rejected as error:
        raise Rejected(error.reason, field=field, code=error.code) from error


@lru_cache(maxsize=REMEMBERED_PRICES)
def _known(value: Amount, currency: str) -> int:
    return _minor(value, currency)


def _minor(value: Amount, currency: str) -> int:
    minor = to_minor(value, currency)
    if minor < 0:
        raise Rejected("must not be negative", code="amount")
    return minor


def _row(line: UnpricedLine, currency: str, field: str, index: int) -> tuple[int | None, int, int]:
    """Unit price, amount and own discount of a line."""
    unit_price, amount = _amount(line, currency, field, index)
    discount = 0
    if line.discount is not None:
        discount = _at_most(line.discount, amount, currency, f"{field}.discount", index)
    return unit_price, amount, discount


def _amount(line: UnpricedLine, currency: str, field: str, index: int) -> tuple[int | None, int]:
    if line.unit_price is None:
        if line.amount is None:
            reason = "unitPrice or amount is required"
            raise Rejected(reason, field=f"{field % index}.unitPrice", code="missing")
        return None, positive(line.amount, currency, f"{field}.amount", index)
    unit_price = positive(line.unit_price, currency, f"{field}.unitPrice", index)
    amount = unit_price * line.quantity
    if amount > MAX_MINOR_UNITS:
        raise Rejected("the amount is too large", field=f"{field % index}.unitPrice", code="amount")
    if line.amount is not None and positive(line.amount, currency, f"{field}.amount", index) != amount:
        raise Rejected(
            f"is not quantity times unitPrice ({to_text(amount, currency)}); leave one of the two out",
            field=f"{field % index}.amount",
            code="amount",
        )
    return unit_price, amount


def _at_most(value: Amount, limit: int, currency: str, field: str, index: int | None = None) -> int:
    minor = positive(value, currency, field, index)
    if minor > limit:
        reason = f"is more than it is taken from ({to_text(limit, currency)})"
        raise Rejected(reason, field=field if index is None else field % index, code="amount")
    return minor
