"""Amounts are integer minor units of an ISO 4217 currency: exact, never floats, never summed across currencies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from functools import cache

from iso4217 import Currency

from rushlight.errors import Rejected

# The largest amount that BSON's and JSON readers' exact integers both hold.
MAX_MINOR_UNITS = 2**53 - 1
# What a sender may write; Python's own reading would also take 1_000, and digits of other scripts.
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\Z")
# Moves the point and rounds nothing; the default context keeps only 28 digits.
EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


@cache
def digits(currency: str) -> int:
    """Number of decimal digits of the currency's minor unit (ISO 4217 exponent: USD 2, JPY 0, KWD 3).

    Raises:
        Rejected: the code is unknown or has no minor unit (XAU, XXX).
    """
    try:
        exponent = Currency(currency).exponent
    except ValueError:
        exponent = None
    if exponent is None:
        raise Rejected(f"{currency!r} is not an ISO 4217 currency with a minor unit", field="currency", code="currency")
    return exponent


def to_minor(value: str | float | Decimal, currency: str, *, field: str = "amount") -> int:
    """Minor units of a decimal amount, exact: more digits than the currency has are refused, not rounded.

    Args:
        value: ``"12.50"``, ``12.5``, ``Decimal``; a float is read by its shortest decimal form.
        currency: ISO 4217 code.
        field: the name that an error gives.

    Raises:
        Rejected: not a finite decimal, too many digits, or beyond 2**53 - 1 minor units.
    """
    amount = exact(value, field=field).scaleb(digits(currency), EXACT)
    minor = int(amount)
    if minor != amount:
        raise Rejected(f"{value} has more digits than {currency} has", field=field, code="amount")
    return _bounded(minor, field)


def exact(value: str | float | Decimal, *, field: str = "amount") -> Decimal:
    """The decimal that was written, or Rejected naming the field when it is no finite number."""
    if isinstance(value, bool):
        raise Rejected("must be a decimal number, not a boolean", field=field, code="amount")
    text = str(value).strip()
    if not DECIMAL.match(text):
        raise Rejected(f"{text[:40]!r} is not a decimal number", field=field, code="amount")
    amount = Decimal(text)
    if abs(amount.adjusted()) > 30:
        raise Rejected(f"{text[:40]!r} is not a decimal number in range", field=field, code="amount")
    return amount


def to_text(minor: int, currency: str) -> str:
    """The decimal string with the currency's digits: ``to_text(1250, "USD") == "12.50"``."""
    places = digits(currency)
    if not places:
        return str(minor)
    whole, fraction = divmod(abs(minor), 10**places)
    return f"{'-' if minor < 0 else ''}{whole}.{fraction:0{places}d}"


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split ``total`` in proportion to ``weights`` so that the parts sum to it exactly.

    Largest remainder method (Hamilton's apportionment); ties go to the earlier part. With no positive weight the
    first part takes everything.

    Args:
        total: minor units, of either sign.
        weights: non-negative, for example minor units or quantities.

    Returns:
        One integer a weight; empty when there are no weights.
    """
    if not weights:
        return []
    whole = sum(weights)
    if not whole:
        return [total, *[0] * (len(weights) - 1)]
    sign = -1 if total < 0 else 1
    shares = [divmod(abs(total) * weight, whole) for weight in weights]
    parts = [quotient for quotient, _ in shares]
    order = sorted(range(len(shares)), key=lambda index: (-shares[index][1], index))
    for index in order[: abs(total) - sum(parts)]:
        parts[index] += 1
    return [sign * part for part in parts]


def _bounded(minor: int, field: str) -> int:
    if abs(minor) > MAX_MINOR_UNITS:
        raise Rejected("the amount is too large", field=field, code="amount")
    return minor
