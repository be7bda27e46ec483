"""Which column holds which field is said or named alike, never guessed; what is missing is named."""

from __future__ import annotations

import pytest

from rushlight.errors import Rejected
from rushlight.ingest.history.columns import choose, parse_mapping

MINIMUM = ["order_id", "occurred_at", "product_id", "amount", "currency"]


def test_columns_of_the_fields_own_names_are_taken() -> None:
    """A file that speaks our names needs no mapping; other columns are left alone."""
    assert choose([*MINIMUM, "note"], {}, currency=None) == {name: name for name in MINIMUM}


def test_names_may_differ_in_case_and_punctuation() -> None:
    """``Order ID`` is order_id, as spreadsheets write it."""
    columns = ["Order ID", "Occurred-At", "PRODUCT_ID", " amount "]
    chosen = choose(columns, {}, currency="EUR")
    assert chosen == dict(zip(("order_id", "occurred_at", "product_id", "amount"), columns, strict=True))


def test_two_columns_that_look_alike_are_not_chosen_between() -> None:
    """An ambiguous name is an error that names both columns."""
    with pytest.raises(Rejected, match=r"order_id: could be 'Order ID' or 'order-id'"):
        choose(["Order ID", "order-id", *MINIMUM[1:]], {}, currency=None)


def test_a_mapping_is_preferred_and_can_leave_a_field_out() -> None:
    """What is mapped comes from there; an empty column means that the file does not have the field."""
    columns = [*MINIMUM, "basket", "discount"]
    chosen = choose(columns, {"order_id": "basket", "discount": ""}, currency=None)
    assert chosen["order_id"] == "basket"
    assert "discount" not in chosen


def test_missing_fields_are_named_beside_the_columns_that_exist() -> None:
    """The error says everything that one needs in order to write the mapping."""
    with pytest.raises(Rejected) as caught:
        choose(["basket_id", "sales_value"], {}, currency=None)
    for word in ("order_id", "occurred_at", "product_id", "amount", "currency", "basket_id, sales_value", "--map"):
        assert word in str(caught.value)


def test_unit_price_and_quantity_stand_in_for_the_amount() -> None:
    """A file without line amounts is fine when they can be multiplied; one of the two is not enough."""
    columns = ["order_id", "occurred_at", "product_id", "unit_price", "quantity"]
    assert "amount" not in choose(columns, {}, currency="EUR")
    with pytest.raises(Rejected, match="amount"):
        choose(columns[:-1], {}, currency="EUR")


def test_a_mapping_to_nowhere_is_an_error() -> None:
    """A mistyped column is not silently absent."""
    with pytest.raises(Rejected, match="customer_id: there is no column 'custmer'"):
        choose(MINIMUM, {"customer_id": "custmer"}, currency=None)


def test_pairs_are_read_from_the_command_line() -> None:
    """Only the first ``=`` parts field and column, so columns may contain it."""
    assert parse_mapping(["order_id=a=b", "discount="]) == {"order_id": "a=b", "discount": ""}


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (["order_id"], "is not FIELD=COLUMN"),
        (["ordre_id=x"], "no such field"),
        (["amount=a", "amount=b"], "given twice"),
    ],
)
def test_malformed_pairs_are_refused(pairs: list[str], reason: str) -> None:
    """A pair without ``=``, an unknown field, a field given twice."""
    with pytest.raises(Rejected, match=reason):
        parse_mapping(pairs)
