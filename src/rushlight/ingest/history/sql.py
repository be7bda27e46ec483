"""The SQL that reads cells of any type as trimmed texts and times as UTC, and sorts lines by order; nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rushlight.ingest.history.columns import FIELDS
from rushlight.ingest.history.records import ID_FIELDS

FIRST_MICROSECOND = -62_135_596_800_000_000  # the years 1 to 9999
LAST_MICROSECOND = 253_402_300_799_999_999
BLANKS = "chr(32) || chr(9) || chr(10) || chr(13) || chr(160)"
TEXTS = tuple(field for field in FIELDS if field not in ("order_id", "occurred_at"))

# `back` foretells which lines are refunds, for the order of sending only: an order stands at its first sale.
SORT = (
    """CREATE TABLE starts AS
    SELECT order_id, start, size, row_number() OVER (ORDER BY start NULLS FIRST, order_id) - 1 AS number FROM (
        SELECT order_id, coalesce(min(micros) FILTER (NOT back), min(micros)) AS start, count(*) AS size
        FROM lines WHERE order_id IS NOT NULL GROUP BY order_id)""",
    """CREATE TABLE totals AS SELECT
    (SELECT count(*) FROM starts) AS orders, count(*) AS rows,
    count(*) FILTER (NOT back AND try_cast(discount AS DOUBLE) > 0) AS positive,
    count(*) FILTER (NOT back AND try_cast(discount AS DOUBLE) < 0) AS negative FROM lines""",
    "CREATE TABLE homeless AS SELECT row, fault FROM lines WHERE order_id IS NULL",
    """CREATE TABLE staged AS SELECT number, size, lines.* EXCLUDE (back)
    FROM lines JOIN starts USING (order_id) ORDER BY number, row""",
    "DROP TABLE lines",
    "DROP TABLE starts",
    "CHECKPOINT",
)


def lines(head: str, source: Mapping[str, tuple[str, str]], zone: str, table: str) -> str:
    """The statement that makes the table ``lines``.

    Args:
        head: expressions that give ``row`` and ``fault``.
        source: for each field that the file has, its quoted column and the column's type.
        zone: time zone of times without an offset.
        table: what to read from.
    """
    texts = {field: _as_text(field, *source[field]) if field in source else "NULL::VARCHAR" for field in FIELDS}
    at = _as_time(*source["occurred_at"], zone)
    picked = ", ".join(f"{texts[field]} AS {field}" for field in TEXTS)
    return f"""CREATE TABLE lines AS
    SELECT row, fault, order_id, micros, CASE WHEN micros IS NULL THEN time END AS time, {", ".join(TEXTS)},
        coalesce(starts_with(quantity, '-') OR starts_with(amount, '-'), false) AS back
    FROM (SELECT row, fault, order_id, time, {", ".join(TEXTS)},
        CASE WHEN micros BETWEEN {FIRST_MICROSECOND} AND {LAST_MICROSECOND} THEN micros END AS micros
        FROM (SELECT {head}, {texts["order_id"]} AS order_id, {texts["occurred_at"]} AS time, {picked},
            {at} AS micros FROM {table}))"""  # noqa: S608 - names are quoted, constants are ours


def _as_text(field: str, column: str, kind: str) -> str:
    text = f"CAST({column} AS VARCHAR)"
    if kind in ("DOUBLE", "FLOAT"):
        # By its text: isnan() trusts a Parquet file's minimum and maximum, which leave NaN out.
        text = f"nullif({text}, 'nan')"
        if field in ID_FIELDS:
            whole = f"{column} = trunc({column}) AND abs({column}) < 9007199254740992"
            text = f"CASE WHEN {whole} THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) ELSE {text} END"
    elif kind == "VARCHAR":
        text = column
    return f"nullif(trim({text}, {BLANKS}), '')"


def _as_time(column: str, kind: str, zone: str) -> str:
    """Microseconds since 1970 UTC. A time that clocks show twice counts as the second; one they skip, as if not."""
    if kind in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"):
        return f"epoch_us(CAST({column} AS TIMESTAMPTZ))"
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return f"epoch_us(timezone({literal(zone)}, CAST({column} AS TIMESTAMP)))"
    text = f"trim(CAST({column} AS VARCHAR), {BLANKS})"
    # "2013-06-19 10:53:34 -0400", as shops export it: the cast knows offsets only without the space.
    joined = rf"regexp_replace({text}, '\s+([+-]\d\d:?\d\d)$', '\1')"
    return f"epoch_us(coalesce(try_cast({text} AS TIMESTAMPTZ), try_cast({joined} AS TIMESTAMPTZ)))"


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def pattern(path: str) -> str:
    """A path as a string constant that matches this file only, whatever its name."""
    return literal(re.sub(r"[*?\[]", r"[\g<0>]", path))


def literal(text: str) -> str:
    """A string constant."""
    return "'" + text.replace("'", "''") + "'"
