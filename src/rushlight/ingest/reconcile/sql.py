"""The SQL of the comparison: one row an order on either side, and what differs between the two.

``reported`` is the file, one row an order id; ``reports`` the journal's money events; ``recorded`` what they come to,
one row for each source and order. ``t`` is the order's time in units of the file's own precision.
"""

from __future__ import annotations

from rushlight.ingest.history.sql import literal

MILLISECOND, SECOND, MINUTE = 1_000, 1_000_000, 60_000_000
AMOUNTS = ("units", "gross", "discounts", "refunds")

TABLES = (
    """CREATE TABLE reported (order_id VARCHAR, fault VARCHAR, micros BIGINT, sale BOOLEAN, currency VARCHAR,
    units BIGINT, gross BIGINT, discounts BIGINT, refunds BIGINT, customer VARCHAR)""",
    """CREATE TABLE reports (source VARCHAR, order_id VARCHAR, kind VARCHAR, reference VARCHAR, seq BIGINT,
    road VARCHAR, micros BIGINT, currency VARCHAR, units BIGINT, gross BIGINT, discounts BIGINT, refunds BIGINT,
    customer VARCHAR)""",
)

# As the money projection has it: the first report of a sale or of one refund counts, one without an amount is of the
# rest and nothing while there is no sale, and a cancellation ends the order.
RECORDED = """CREATE TABLE recorded AS
    SELECT source, order_id, coalesce(bool_or(kind = 'cancelled'), false) AS cancelled,
        count(*) FILTER (kind = 'created') > 0 AS sale,
        count(*) FILTER (kind = 'refunded' AND refunds IS NOT NULL) > 0 AS refund,
        coalesce(min(micros) FILTER (kind = 'created'), min(micros)) AS micros,
        coalesce(min(currency) FILTER (kind = 'created'), min(currency)) AS currency,
        coalesce(min(customer) FILTER (kind = 'created'), min(customer)) AS customer,
        list_sort(list(DISTINCT road)) AS roads,
        CAST(coalesce(sum(units), 0) AS BIGINT) AS units, CAST(coalesce(sum(gross), 0) AS BIGINT) AS gross,
        CAST(coalesce(sum(discounts), 0) AS BIGINT) AS discounts, CAST(coalesce(sum(refunds), 0) + CASE
            WHEN bool_or(kind = 'refunded' AND refunds IS NULL) AND bool_or(kind = 'created')
            THEN greatest(0, sum(gross) - sum(discounts) - coalesce(sum(refunds), 0)) ELSE 0 END AS BIGINT) AS refunds
    FROM (SELECT * FROM reports
        QUALIFY row_number() OVER (PARTITION BY source, order_id, kind, reference ORDER BY seq) = 1)
    GROUP BY source, order_id"""

SOURCES = """SELECT DISTINCT source FROM reports"""

HAS = """SELECT count(units) > 0, count(customer) > 0 FROM reported"""

FINDINGS = ("missing_in_journal", "missing_in_file", "unreadable", "status", "currency", "time", *AMOUNTS, "customer")
"""What can be wrong with an order, in the order in which it is told."""


def precision(zone: str) -> str:
    """Whether all times of the file are whole milliseconds, seconds, minutes and local days."""
    whole = ", ".join(f"bool_and(micros % {unit} = 0)" for unit in (MILLISECOND, SECOND, MINUTE))
    return f"""SELECT {whole}, bool_and({_local("micros", zone)} = date_trunc('day', {_local("micros", zone)}))
    FROM reported WHERE micros IS NOT NULL"""  # noqa: S608 - our names


def ticks(unit: int | None, zone: str) -> str:
    """An order's time in units of microseconds, or (None) as a local day."""
    if unit is None:
        return f"date_diff('day', TIMESTAMP '1970-01-01', date_trunc('day', {_local('micros', zone)}))"
    return f"micros // {unit}"


def _local(column: str, zone: str) -> str:
    return f"timezone({literal(zone)}, make_timestamptz({column}))"


def compared(source: str, tick: str, *, units: bool, customers: bool) -> str:
    """The statement that makes ``compared``, every order with its two sides and the list of its findings.

    Args:
        source: whose reports in the journal are meant. tick: from `ticks`.
        units, customers: whether the file says anything of them.
    """
    both = "f.order_id IS NOT NULL AND f.fault IS NULL AND j.order_id IS NOT NULL AND j.counts"
    alive = f"{both} AND NOT j.cancelled"
    conditions = {
        "missing_in_journal": "f.order_id IS NOT NULL AND f.fault IS NULL AND (j.order_id IS NULL OR NOT j.counts)",
        "missing_in_file": "f.order_id IS NULL AND j.counts AND NOT j.cancelled AND j.t BETWEEN span.low AND span.high",
        "unreadable": "f.fault IS NOT NULL",
        "status": f"{both} AND (j.cancelled OR f.sale <> j.sale)",
        "currency": f"{alive} AND f.currency <> j.currency",
        "time": f"{alive} AND f.sale = j.sale AND f.t <> j.t",
        **{name: f"{alive} AND coalesce(f.{name}, 0) <> j.{name}" for name in AMOUNTS},
        "customer": f"{alive} AND f.customer IS DISTINCT FROM j.customer",
    }
    if not units:
        del conditions["units"]
    if not customers:
        del conditions["customer"]
    findings = ", ".join(f"CASE WHEN {condition} THEN '{name}' END" for name, condition in conditions.items())
    columns = ", ".join(
        f"{side}.{name} AS {letter}_{name}"
        for side, letter in (("f", "f"), ("j", "j"))
        for name in ("sale", "micros", "currency", *AMOUNTS, "customer")
    )
    return f"""CREATE TABLE compared AS
    WITH f AS (SELECT *, {tick} AS t FROM reported),
        span AS (SELECT min(t) AS low, max(t) AS high FROM f),
        j AS (SELECT *, {tick} AS t, sale OR refund AS counts FROM recorded WHERE source = {literal(source)})
    SELECT coalesce(f.order_id, j.order_id) AS order_id, f.fault, j.cancelled, j.roads, {columns},
        f.order_id IS NOT NULL AS in_file, coalesce(j.counts, false) AS in_journal,
        f.order_id IS NOT NULL OR coalesce(j.t BETWEEN span.low AND span.high, false) AS inside,
        list_filter([{findings}], lambda finding: finding IS NOT NULL) AS findings
    FROM f FULL OUTER JOIN j USING (order_id) CROSS JOIN span"""  # noqa: S608 - our names


DIFFERENCES = """SELECT order_id, findings, fault, cancelled, roads, in_file, in_journal,
    f_sale, f_micros, f_currency, f_units, f_gross, f_discounts, f_refunds, f_customer,
    j_sale, j_micros, j_currency, j_units, j_gross, j_discounts, j_refunds, j_customer
    FROM compared WHERE len(findings) > 0 ORDER BY coalesce(f_micros, j_micros), order_id"""
COUNTS = """SELECT count(*) FILTER (in_file), count(*) FILTER (in_journal AND inside AND NOT cancelled),
    count(*) FILTER (len(findings) > 0) FROM compared"""
KINDS = "SELECT kind, count(*) FROM (SELECT unnest(findings) AS kind FROM compared) GROUP BY kind"
FILE_TOTALS = """SELECT f_currency, count(*) FILTER (f_sale), sum(f_units), sum(f_gross), sum(f_discounts),
    sum(f_refunds) FROM compared WHERE in_file AND fault IS NULL GROUP BY 1"""
JOURNAL_TOTALS = """SELECT j_currency, count(*) FILTER (j_sale), sum(j_units), sum(j_gross), sum(j_discounts),
    sum(j_refunds) FROM compared WHERE in_journal AND inside AND NOT cancelled GROUP BY 1"""
# Orders that came by more than one road: under two names, of which only the source of record makes figures.
ROADS = """SELECT order_id, list([source, CAST(sale AS VARCHAR), CAST(cancelled AS VARCHAR), currency,
        CAST(units AS VARCHAR), CAST(gross AS VARCHAR), CAST(discounts AS VARCHAR), CAST(refunds AS VARCHAR)]
        ORDER BY source)
    FROM recorded WHERE (sale OR refund) AND order_id IN (SELECT order_id FROM recorded WHERE sale OR refund
        GROUP BY order_id HAVING count(*) > 1)
        AND (order_id IN (SELECT order_id FROM compared WHERE inside)) GROUP BY order_id ORDER BY order_id"""
