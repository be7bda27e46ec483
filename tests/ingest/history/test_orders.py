"""An order's amounts are exact, add up to the cent, and go as a whole or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushlight.errors import Rejected
from rushlight.events.catalogue import OrderCreated, OrderRefunded
from rushlight.events.ids import money_id
from rushlight.events.money import digits
from rushlight.ingest.history.orders import OrderMaker, split
from rushlight.ingest.history.stage import StagedOrder
from tests.ingest.history.files import make, row, write_csv, write_ndjson, write_parquet

AT = 1_709_287_200_000_000
CELLS = ("customer", "product", "name", "category", "quantity", "price", "amount", "discount", "currency", "country")


def line(number: int = 1, *, micros: int | None = AT, time: str | None = None, **cells: str | None) -> tuple[Any, ...]:
    """A staged line; every cell is a text."""
    values: dict[str, str | None] = {"product": "tea", "quantity": "1", "amount": "3.99", "currency": "EUR"}
    values |= cells
    return (number, None, micros, time, *(values.get(name) for name in CELLS))


def staged(*lines: tuple[Any, ...]) -> StagedOrder:
    """An order of these lines."""
    return StagedOrder(0, "A1", len(lines), list(lines))


def maker(**options: Any) -> OrderMaker:
    """A maker for the default shop."""
    return OrderMaker(**{"shop": "default", "source": "orders", "currency": None} | options)


def test_an_order_is_one_event_with_its_own_id() -> None:
    """The id is the order's, whoever reports it, so that an order known already is a duplicate."""
    (event,) = maker().make(staged(line(customer="c1", country="DE"), line(2, product="cup", amount="4"))).envelopes
    assert event.id == money_id("default", "orders", "A1", "order_created")
    assert (event.aggregate_id, event.version, event.customer_id) == ("A1", None, "c1")
    assert event.occurred_at == datetime(2024, 3, 1, 10, tzinfo=UTC)
    order = OrderCreated.open(event)
    assert (order.gross, order.discounts, order.total, order.country) == (799, 0, 799, "DE")
    assert [(part.product_id, part.quantity, part.amount) for part in order.lines] == [("tea", 1, 399), ("cup", 1, 400)]


@pytest.mark.parametrize(("currency", "minor"), [("JPY", 1234), ("EUR", 123400), ("KWD", 1234000)])
def test_minor_units_follow_the_currency(currency: str, minor: int) -> None:
    """Yen have no cents, Kuwaiti dinars have three digits."""
    (event,) = maker().make(staged(line(amount="1234", unit_price="1234", currency=currency))).envelopes
    assert event.payload["gross"] == minor


def test_a_float_counts_as_its_shortest_decimal(tmp_path: Path) -> None:
    """0.1 + 0.2 in a Parquet file is what it says, and rounds once with the order."""
    path = write_parquet(tmp_path / "f.parquet", [row("A", amount=3.99), row("A", amount=0.1 + 0.2)])
    assert make(path).payloads[0]["gross"] == 429


def test_an_order_is_rounded_once_half_to_even() -> None:
    """Three times 0.335 is 1.005, so 1.00; by lines it would have been 1.02 or 1.05."""
    (event,) = maker().make(staged(*(line(n, amount="0.335") for n in range(3)))).envelopes
    assert event.payload["gross"] == 100
    assert [part["amount"] for part in event.payload["lines"]] == [34, 33, 33]


@given(
    st.lists(st.decimals(0, 10**6, places=6), min_size=1, max_size=30),
    st.sampled_from(["JPY", "EUR", "KWD"]),
)
def test_lines_add_up_to_the_order(amounts: list[Decimal], currency: str) -> None:
    """Whatever the digits, the order is the exact sum rounded once and no line is a minor unit off its share."""
    exact = [amount.scaleb(digits(currency)) for amount in amounts]
    (event,) = (
        maker().make(staged(*(line(n, amount=str(a), currency=currency) for n, a in enumerate(amounts)))).envelopes
    )
    parts = [part["amount"] for part in event.payload["lines"]]
    assert event.payload["gross"] == sum(parts) == round(Fraction(sum(exact)))
    assert all(abs(part - share) < 2 for part, share in zip(parts, exact, strict=True))


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
def test_whole_amounts_are_not_touched(amounts: list[int]) -> None:
    """Where every line is exact there is nothing to allocate."""
    assert split(amounts) == (sum(amounts), amounts)


def test_the_amount_may_follow_from_price_and_quantity() -> None:
    """A price with more digits than the currency is multiplied before it is rounded, and is not shown."""
    (event,) = maker().make(staged(line(amount=None, price="0.0125", quantity="200"))).envelopes
    assert event.payload["gross"] == 250
    assert "unitPrice" not in event.payload["lines"][0]
    (event,) = maker().make(staged(line(amount=None, price="1.25", quantity="3"))).envelopes
    assert (event.payload["gross"], event.payload["lines"][0]["unitPrice"]) == (375, 125)


def test_a_quantity_of_nothing_stays_a_sale() -> None:
    """Fuel points, deposits and coupons are lines without units."""
    (event,) = maker().make(staged(line(quantity="0", amount="0", discount="1"))).envelopes
    assert (event.name, event.payload["gross"], event.payload["total"]) == ("order_created", 0, -100)


def test_the_earliest_time_and_the_first_customer_count() -> None:
    """Lines that disagree make one order."""
    lines = [line(1, micros=AT + 5), line(2, micros=AT, customer="c1"), line(3, micros=AT + 9, customer="c2")]
    (event,) = maker().make(staged(*lines)).envelopes
    assert event.occurred_at == datetime(2024, 3, 1, 10, tzinfo=UTC)
    assert event.customer_id == "c1"


@pytest.mark.parametrize(
    "cells",
    [{"quantity": "-1"}, {"amount": "-3.99"}, {"quantity": "-1", "amount": "-3.99"}],
)
def test_a_negative_line_is_a_refund_of_its_order(cells: dict[str, str]) -> None:
    """Whether the quantity, the amount or both are negative, the same money goes back."""
    made = maker().make(staged(line(1, customer="c1"), line(2, micros=AT + 10**6, **cells)))
    sale, refund = made.envelopes
    assert (sale.name, sale.payload["gross"]) == ("order_created", 399)
    money = OrderRefunded.open(refund)
    assert (money.order_id, money.amount, money.customer_id) == ("A1", 399, "c1")
    assert [(part.product_id, part.quantity, part.amount) for part in money.lines] == [("tea", 1, 399)]
    assert refund.occurred_at == datetime(2024, 3, 1, 10, 0, 1, tzinfo=UTC)
    assert (made.totals.gross, made.totals.refunds, made.totals.net) == (399, 399, 0)


def test_a_refund_without_its_sale_stands_alone() -> None:
    """A credit note with a number of its own is a refund and no order."""
    made = maker().make(staged(line(quantity="-1", amount="-3.99")))
    assert [event.name for event in made.envelopes] == ["order_refunded"]
    assert (made.totals.orders, made.totals.net) == (0, -399)


def test_refunds_of_different_times_are_different_refunds() -> None:
    """Lines that went back together are one refund; its id follows from its content, not from the order of lines."""
    back = [line(1, quantity="-1"), line(2, quantity="-1", product="cup"), line(3, quantity="-1", micros=AT + 10**6)]
    first, second = maker().make(staged(*back)).envelopes
    assert [len(event.payload["lines"]) for event in (first, second)] == [2, 1]
    assert first.id != second.id
    turned = maker().make(staged(back[1], back[0], back[2])).envelopes
    assert {event.id for event in turned} == {first.id, second.id}
    other = maker().make(staged(line(1, quantity="-1", amount="4.00"), *back[1:])).envelopes
    assert other[0].id != first.id


def test_discounts_may_be_written_as_negative_numbers(tmp_path: Path) -> None:
    """A file that writes them so throughout means the same as one that does not."""
    plain = write_csv(tmp_path / "plain.csv", [row("A", discount="1.00"), row("B", discount="0")])
    signed = write_csv(tmp_path / "signed.csv", [row("A", discount="-1.00"), row("B", discount="0")])
    assert make(plain).facts == make(signed).facts
    assert make(write_csv(tmp_path / "p.csv", [row("A", discount="1.00")])).payloads[0]["total"] == 299


def test_a_discount_of_the_other_sign_is_refused(tmp_path: Path) -> None:
    """In a file with both signs nobody can tell what the negative one means."""
    made = make(write_csv(tmp_path / "f.csv", [row("A", discount="1.00"), row("B", discount="-1.00")]))
    assert [(fault.row, fault.field) for fault in made.faults] == [(3, "discount")]
    assert len(made.envelopes) == 1


@pytest.mark.parametrize("discount", ["0.99", "-0.99"])
def test_a_refund_gives_back_what_was_paid(discount: str) -> None:
    """The discount of a line that goes back was never paid, whatever its sign."""
    (refund,) = maker().make(staged(line(quantity="-1", amount="-3.99", discount=discount))).envelopes
    assert refund.payload["amount"] == 300


@pytest.mark.parametrize(
    ("cells", "field", "reason"),
    [
        ({"product": None}, "product_id", "is empty"),
        ({"product": "x" * 257}, "product_id", "more than 256"),
        ({"amount": "12,50"}, "amount", "'12,50' is not a decimal number"),
        ({"amount": "nan"}, "amount", "not a decimal number"),
        ({"amount": "1e20"}, "amount", "too large"),
        ({"amount": None, "price": "1", "quantity": None}, "amount", "is empty"),
        ({"quantity": "1.5"}, "quantity", "is not a whole number"),
        ({"quantity": "two"}, "quantity", "not a decimal number"),
        ({"price": "free"}, "unit_price", "not a decimal number"),
        ({"discount": "-1"}, "discount", "is negative"),
        ({"currency": "EURO"}, "currency", "not an ISO 4217 currency"),
        ({"currency": "XAU"}, "currency", "not an ISO 4217 currency"),
        ({"currency": None}, "currency", "is empty"),
        ({"country": "x" * 65}, "country", "more than 64"),
        ({"micros": None, "time": "yesterday"}, "occurred_at", "'yesterday' is not a time"),
        ({"micros": None}, "occurred_at", "is empty"),
    ],
)
def test_a_bad_line_names_row_and_field_and_holds_its_order_back(
    cells: dict[str, Any], field: str, reason: str
) -> None:
    """Without the line the order would be wrong for ever: the corrected file could not complete it."""
    made = maker().make(staged(line(7), line(8, **cells)))
    assert made.envelopes == []
    (fault,) = made.faults
    assert (fault.row, fault.field, fault.order_id) == (8, field, "A1")
    assert reason in str(fault)


def test_every_bad_line_of_an_order_is_told() -> None:
    """One run names everything that is to be corrected."""
    made = maker().make(staged(line(1, amount="x"), line(2), line(3, quantity="y")))
    assert [fault.row for fault in made.faults] == [1, 3]


def test_an_order_has_one_currency() -> None:
    """Amounts of two currencies are never summed."""
    made = maker().make(staged(line(1), line(2, currency="USD")))
    assert [(fault.row, fault.field) for fault in made.faults] == [(2, "currency")]


def test_rows_without_a_currency_take_the_one_that_was_given() -> None:
    """A column goes before the option."""
    (event,) = maker(currency="USD").make(staged(line(currency=None))).envelopes
    assert event.payload["currency"] == "USD"
    (event,) = maker(currency="USD").make(staged(line(currency="eur"))).envelopes
    assert event.payload["currency"] == "EUR"


def test_an_order_that_fits_no_event_is_refused() -> None:
    """An id that stands for "none" gathers lines without end; memory stays bounded and the order is named."""
    many = [line(n, name="n" * 500) for n in range(600)]
    (fault,) = maker().make(staged(*many)).faults
    assert "do not fit" in fault.reason
    (fault,) = maker().make(StagedOrder(0, "A1", 10**7, [line()])).faults
    assert "10000000 lines" in fault.reason


def test_sums_beyond_exact_numbers_are_refused() -> None:
    """Readers of JSON and BSON hold integers up to 2**53."""
    with pytest.raises(Rejected, match="too large"):
        split([2**53 - 1, 1])


def test_labels_are_cut_rather_than_refused() -> None:
    """A long name costs no money."""
    (event,) = maker().make(staged(line(name="n" * 600, category="c" * 600))).envelopes
    assert [len(event.payload["lines"][0][name]) for name in ("name", "category")] == [512, 512]


def test_payloads_are_what_the_catalogue_declares(tmp_path: Path) -> None:
    """What is imported passes the checks that are made at the door."""
    cells = {"product_name": "Tea", "category": "Drinks", "unit_price": "3.99", "discount": "0.5", "country": "DE"}
    rows = [row("A", customer_id="c", **cells), row("A", quantity=-1, **cells | {"discount": "0"})]
    for write, name in ((write_csv, "f.csv"), (write_ndjson, "f.ndjson"), (write_parquet, "f.parquet")):
        sale, refund = make(write(tmp_path / name, rows)).envelopes
        assert OrderCreated.open(sale).payload() == sale.payload
        assert OrderRefunded.open(refund).payload() == refund.payload
