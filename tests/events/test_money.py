"""Amounts are exact: digits per currency, no silent rounding, and parts that sum to the whole."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushlight.errors import Rejected
from rushlight.events.money import MAX_MINOR_UNITS, allocate, digits, to_minor, to_text

CURRENCIES = {"JPY": 0, "ISK": 0, "USD": 2, "EUR": 2, "MGA": 2, "KWD": 3, "BHD": 3, "CLF": 4, "UYW": 4}
MINOR = st.integers(-MAX_MINOR_UNITS, MAX_MINOR_UNITS)


@pytest.mark.parametrize(("currency", "expected"), CURRENCIES.items())
def test_every_class_of_exponent(currency: str, expected: int) -> None:
    """Currencies have 0, 2, 3 or 4 digits as ISO 4217 says, not as somebody's habits do."""
    assert digits(currency) == expected


@pytest.mark.parametrize("code", ["XAU", "XXX", "XTS", "ZZZ", "usd", "USD\n", "US", "", "€"])
def test_no_currency(code: str) -> None:
    """Gold, test codes, unknown and misspelt ones have no minor unit: they are refused, not taken for two digits."""
    with pytest.raises(Rejected) as refused:
        digits(code)
    assert (refused.value.field, refused.value.code) == ("currency", "currency")


@given(MINOR, st.sampled_from(sorted(CURRENCIES)))
def test_text_and_back(minor: int, currency: str) -> None:
    """The decimal string has the currency's digits and means the same amount."""
    text = to_text(minor, currency)
    assert to_minor(text, currency) == minor
    assert len(text.partition(".")[2]) == CURRENCIES[currency]
    assert Fraction(text) == Fraction(minor, 10 ** CURRENCIES[currency])


@pytest.mark.parametrize(
    ("value", "minor"),
    [
        ("12.50", 1250),
        (" 12.5 ", 1250),
        (12.5, 1250),
        (0.1, 10),
        (Decimal("0.07"), 7),
        (3, 300),
        ("1e3", 100000),
        ("12.500000", 1250),
        ("-0", 0),
        (".5", 50),
        ("5.", 500),
        ("+1", 100),
        ("90071992547409.91", MAX_MINOR_UNITS),
    ],
)
def test_what_counts_as_an_amount(value: str | float | Decimal, minor: int) -> None:
    """Decimal strings, numbers by their shortest decimal form, exponents; trailing zeros say nothing."""
    assert to_minor(value, "USD") == minor


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "12,50",
            "1_000",
            "١٢",
            "１２",
            "1 000",
            "$5",
            "0x10",
            "NaN",
            "Infinity",
            "-inf",
            "1e400",
            "--1",
            ".",
            "1e",
        ),
        *(float("nan"), float("inf"), True, "1.001", 1e-7, "90071992547409.92", 1e300),
        "1.0000000000000000000000000000000001",
        "12345678901234567890123456789.00",
    ],
)
def test_what_does_not(value: str | float) -> None:
    """No separators, foreign digits, infinities, booleans; never more digits than the currency has, however many."""
    with pytest.raises(Rejected) as refused:
        to_minor(value, "USD", field="data.amount")
    assert (refused.value.field, refused.value.code) == ("data.amount", "amount")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
def test_either_exact_or_refused(value: Decimal) -> None:
    """An amount is what was written or it is refused; there is no third way."""
    try:
        minor = to_minor(value, "USD")
    except Rejected:
        assert (Fraction(value) * 100).denominator != 1 or abs(value.adjusted()) > 30
    else:
        assert Fraction(value) * 100 == minor


@given(st.integers(-(10**16), 10**16), st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_parts_sum_to_the_whole(total: int, weights: list[int]) -> None:
    """Parts sum to the total, have its sign, and none is a unit or more off its proportion."""
    parts = allocate(total, weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)
    assert all(part * total >= 0 for part in parts)
    if whole := sum(weights):
        assert all(
            abs(Fraction(part) - Fraction(total * weight, whole)) < 1
            for part, weight in zip(parts, weights, strict=True)
        )
        assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if not weight)


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=12))
def test_a_negative_total_mirrors_a_positive_one(total: int, weights: list[int]) -> None:
    """Giving back goes to the same lines as taking."""
    assert allocate(-total, weights) == [-part for part in allocate(total, weights)]


def test_ties_and_edges() -> None:
    """The earlier part takes the odd unit; without weights there are no parts, without positive ones the first."""
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert allocate(2, [1, 1, 1]) == [1, 1, 0]
    assert allocate(5, []) == []
    assert allocate(5, [0, 0]) == [5, 0]
    assert allocate(0, [3, 4]) == [0, 0]
