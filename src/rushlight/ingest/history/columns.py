"""Says which column of a file holds which field, or names exactly what is missing; nothing is guessed beyond names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rushlight.errors import Rejected

FIELDS = (
    "order_id",
    "occurred_at",
    "customer_id",
    "product_id",
    "product_name",
    "category",
    "quantity",
    "unit_price",
    "amount",
    "discount",
    "currency",
    "country",
)
REQUIRED = ("order_id", "occurred_at", "product_id")


def parse_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """Read ``field=column`` pairs as the command line gives them; ``field=`` leaves the field out.

    Raises:
        Rejected: a pair without ``=``, an unknown field, or a field given twice.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not equals:
            raise Rejected(f"{pair!r} is not FIELD=COLUMN", field="--map", code="mapping")
        if field in mapping:
            raise Rejected(f"{field} is given twice", field="--map", code="mapping")
        mapping[field] = column
    _known(mapping)
    return mapping


def choose(columns: Sequence[str], mapping: Mapping[str, str], *, currency: str | None) -> dict[str, str]:
    """The column of each field that the file has.

    A field that the mapping does not name is taken from the column of its own name, upper or lower case, with any
    punctuation for the underscore (``Order ID`` is ``order_id``).

    Args:
        columns: the file's columns.
        mapping: column by field; an empty column leaves the field out.
        currency: the currency of rows that name none.

    Raises:
        Rejected: a column that does not exist or could be two, or a field that is needed and missing.
    """
    _known(mapping)
    chosen: dict[str, str] = {}
    for field in FIELDS:
        column = mapping[field] if field in mapping else _by_name(field, columns)
        if column and column not in columns:
            raise Rejected(f"there is no column {column!r}; {_listing(columns)}", field=field, code="mapping")
        if column:
            chosen[field] = column
    missing = [field for field in REQUIRED if field not in chosen]
    if "amount" not in chosen and not {"unit_price", "quantity"} <= chosen.keys():
        missing.append("amount (or unit_price and quantity)")
    if "currency" not in chosen and not currency:
        missing.append("currency (a column, or --currency for the whole file)")
    if missing:
        raise Rejected(
            f"no column for {', '.join(missing)}; {_listing(columns)}; name it with --map FIELD=COLUMN", code="mapping"
        )
    return chosen


def _known(mapping: Mapping[str, str]) -> None:
    unknown = [field for field in mapping if field not in FIELDS]
    if unknown:
        raise Rejected(
            f"{', '.join(unknown)}: no such field; the fields are {', '.join(FIELDS)}", field="--map", code="mapping"
        )


def _by_name(field: str, columns: Sequence[str]) -> str | None:
    if field in columns:
        return field
    alike = [column for column in columns if _plain(column) == field]
    if len(alike) > 1:
        raise Rejected(f"could be {' or '.join(map(repr, alike))}; say which with --map", field=field, code="mapping")
    return alike[0] if alike else None


def _plain(column: str) -> str:
    return re.sub(r"[\W_]+", "_", column.strip().lower()).strip("_")


def _listing(columns: Sequence[str]) -> str:
    return f"the file's columns are {', '.join(columns)}" if columns else "the file has no columns"
