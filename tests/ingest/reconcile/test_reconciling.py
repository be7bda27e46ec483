"""A shop's export beside the journal: equal when it is, and each difference named when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rushlight.events.catalogue import Line, OrderCancelled, OrderCreated, OrderRefunded
from rushlight.events.event import Event
from rushlight.ingest.history.importing import ImportRequest, import_history
from rushlight.ingest.history.orders import Totals
from rushlight.ingest.reconcile.comparing import Difference, Shared, reconcile
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.outbox import Outbox
from tests.ingest.conftest import OpenIntake
from tests.ingest.history.files import row, write_csv, write_ndjson, write_parquet
from tests.ingest.making import working

NOON = datetime(2024, 3, 1, 12, 0, 5, 123_000, UTC)


class Found(NamedTuple):
    """What a comparison came to, read to its end."""

    equal: bool
    differences: dict[str, Difference]
    shared: list[Shared]
    kinds: dict[str, int]
    file: dict[str, Totals]
    journal: dict[str, Totals]
    counts: tuple[int, int, int]

    @property
    def findings(self) -> dict[str, list[str]]:
        """What differs, by order."""
        return {order_id: difference.findings for order_id, difference in self.differences.items()}


async def compare(database: Database, path: Path, **options: Any) -> Found:
    """Compare a file with the journal."""
    state = path.parent / f"compare-{len(list(path.parent.iterdir()))}"
    state.mkdir()
    found, tables = await reconcile(database, ImportRequest(file=path, state=state, **options), lambda _: None)
    try:
        return Found(
            found.equal,
            {difference.order_id: difference for difference in found.differences()},
            list(found.shared()),
            found.kinds,
            found.file,
            found.journal,
            (found.in_file, found.in_journal, found.homeless),
        )
    finally:
        tables.close()


def created(order_id: str, amount: int = 399, **fields: Any) -> OrderCreated:
    """An order of one line, in EUR cents."""
    line = Line(
        product_id="tea", quantity=fields.pop("quantity", 1), amount=amount, discount=fields.get("discounts", 0)
    )
    usual: dict[str, Any] = {"currency": "EUR", "lines": [line], "gross": amount, "total": amount}
    return OrderCreated(order_id=order_id, **(usual | fields))


def refunded(order_id: str, amount: int, reference: str = "r1") -> OrderRefunded:
    """A refund of goods, in EUR cents."""
    return OrderRefunded(order_id=order_id, refund_id=reference, currency="EUR", amount=amount)


async def told(database: Database, *orders: Sequence[Event], at: datetime = NOON, source: str = "orders") -> None:
    """Write orders with their events and wait until the journal has all of them."""
    count = await database.journal.count_documents({}) + sum(map(len, orders))
    for events in orders:
        document = {"_id": f"{events[0].aggregate_id}{'' if source == 'orders' else source}"}
        await database.orders.insert_one(Outbox.attach(document, *events, occurred_at=at, source=source))
    while await database.journal.count_documents({}) < count:  # noqa: ASYNC110 - a worker writes it
        await asyncio.sleep(0.05)


def sold(order_id: str, **cells: Any) -> dict[str, Any]:
    """The line that an export has of `created`."""
    return row(order_id, occurred_at="2024-03-01T12:00:05.123Z") | cells


@pytest.fixture
async def at_work(kept_settings: Settings, eager: None) -> AsyncIterator[Database]:
    """A database at which a worker works."""
    async with working(kept_settings) as database:
        yield database


@pytest.fixture
async def own_at_work(settings: Settings, eager: None) -> AsyncIterator[Database]:
    """One of the test's own, for what goes through a log."""
    async with working(settings) as database:
        yield database


async def test_what_was_imported_is_equal(own_at_work: Database, open_intake: OpenIntake, tmp_path: Path) -> None:
    """A history compared with what its import made is equal in every format, and both totals are the import's."""
    rows = []
    for number in range(120):
        rows.append(row(f"o{number}", customer_id=f"c{number % 7}", amount="3.985"))
        rows.append(row(f"o{number}", product_id="cup", customer_id=f"c{number % 7}", amount="2.01", discount="1.00"))
    rows += [row(f"o{number}", quantity=-1, occurred_at="2024-03-05", discount="") for number in range(0, 120, 10)]
    rows += [row("alone", quantity=-1, discount=""), row("yen", currency="JPY", amount="500", discount="")]
    paths = [
        write_csv(tmp_path / "f.csv", rows),
        write_ndjson(tmp_path / "f.ndjson", rows),
        write_parquet(tmp_path / "f.parquet", [{"customer_id": None, "discount": None} | line for line in rows]),
    ]
    intake = await open_intake()
    made = await import_history(intake, ImportRequest(file=paths[0], state=tmp_path / "i"), lambda _: None)
    for path in paths:
        found = await compare(own_at_work, path)
        assert (found.equal, found.findings, found.shared) == (True, {}, [])
        assert found.file == found.journal == made.currencies
        assert found.counts == (122, 122, 0)


async def test_each_difference_is_named(at_work: Database, tmp_path: Path) -> None:
    """One order for each way in which an export can differ, and one that does not."""
    names = ("same", "price", "discount", "refund", "units", "customer", "late", "cancelled", "unlisted", "bad")
    orders: list[Sequence[Event]] = [[created(name, customer_id="c1")] for name in names]
    orders[names.index("refund")] = [created("refund", customer_id="c1"), refunded("refund", 100)]
    orders[names.index("cancelled")] = [created("cancelled"), OrderCancelled(order_id="cancelled")]
    gone = [created("gone"), OrderCancelled(order_id="gone")]
    await told(at_work, *orders, gone, [created("money", currency="USD", customer_id="c1")])
    rows = [
        *(sold(name, customer_id="c1") for name in ("same", "refund", "money", "cancelled", "unknown")),
        sold("price", customer_id="c1", amount="4.00"),
        sold("discount", customer_id="c1", discount="0.50"),
        sold("units", customer_id="c1", quantity=2),
        sold("customer", customer_id="c2"),
        sold("late", customer_id="c1", occurred_at="2024-03-01T12:00:05.124Z"),
        sold("bad", customer_id="c1", amount="x"),
    ]
    found = await compare(at_work, write_csv(tmp_path / "f.csv", rows))
    assert found.findings == {
        "price": ["gross"],
        "discount": ["discounts"],
        "refund": ["refunds"],
        "units": ["units"],
        "customer": ["customer"],
        "late": ["time"],
        "money": ["currency"],
        "cancelled": ["status"],
        "unlisted": ["missing_in_file"],
        "unknown": ["missing_in_journal"],
        "bad": ["unreadable"],
    }
    assert not found.equal
    assert set(found.kinds.values()) == {1}
    price = found.differences["price"]
    assert price.file is not None
    assert price.journal is not None
    assert (price.file.gross, price.journal.gross, price.roads) == ("4.00", "3.99", ["outbox"])
    assert found.differences["unknown"].journal is None
    assert "'x' is not a decimal number" in (found.differences["bad"].reason or "")
    assert found.file["EUR"].orders == 10
    assert found.journal == {
        "EUR": Totals(orders=9, units=9, gross=9 * 399, refunds=100),
        "USD": Totals(orders=1, units=1, gross=399),
    }


async def test_only_the_files_own_time_is_missed(at_work: Database, tmp_path: Path) -> None:
    """An order before the file's first or after its last is not missing in it; one of a known id is compared."""
    for hour in (9, 11, 13, 15):
        await told(at_work, [created(f"o{hour}")], at=NOON.replace(hour=hour))
    rows = [sold("o11", occurred_at="2024-03-01T11:00:05.123Z"), sold("o15", occurred_at="2024-03-01T14:00:05.123Z")]
    found = await compare(at_work, write_csv(tmp_path / "f.csv", rows))
    assert found.findings == {"o13": ["missing_in_file"], "o15": ["time"]}
    assert found.journal["EUR"].orders == 3


@pytest.mark.parametrize(
    ("time", "zone"),
    [
        ("2024-03-01T12:00:05Z", "UTC"),
        ("2024-03-01 12:00", "UTC"),
        ("2024-03-01", "UTC"),
        ("2024-03-02", "Pacific/Kiritimati"),
        ("2024-03-01T14:00:05+02:00", "UTC"),
    ],
)
async def test_times_are_compared_as_exactly_as_the_file_has_them(
    at_work: Database, tmp_path: Path, time: str, zone: str
) -> None:
    """An export with whole seconds, minutes or local days does not differ from a journal with milliseconds."""
    await told(at_work, [created("o1")], [created("o2")])
    rows = [sold("o1", occurred_at=time), sold("o2", occurred_at=time)]
    assert (await compare(at_work, write_csv(tmp_path / "f.csv", rows), time_zone=zone)).findings == {}
    del rows[1]
    found = await compare(at_work, write_csv(tmp_path / "g.csv", rows), time_zone=zone)
    assert found.findings == {"o2": ["missing_in_file"]}
    wrong = [sold("o1", occurred_at="2024-02-28"), sold("o2", occurred_at=time)]
    found = await compare(at_work, write_csv(tmp_path / "h.csv", wrong), time_zone=zone)
    assert found.findings == {"o1": ["time"]}


async def test_a_refund_of_the_rest(at_work: Database, tmp_path: Path) -> None:
    """It is as much as is left of its order, and nothing while the order is not known."""
    whole = [OrderRefunded(order_id=name, refund_id="rest") for name in ("sale", "unknown")]
    await told(at_work, [created("sale"), refunded("sale", 100), whole[0]], [whole[1]])
    rows = [sold("sale"), sold("sale", quantity=-1)]
    found = await compare(at_work, write_csv(tmp_path / "f.csv", rows))
    assert found.findings == {}
    assert found.journal["EUR"] == Totals(orders=1, units=1, gross=399, refunds=399)


async def test_refunds_on_their_own(at_work: Database, tmp_path: Path) -> None:
    """A refund without its sale is compared as such; where the other side has the sale, the status differs."""
    await told(at_work, [refunded("both", 399)], [refunded("ours", 100)], [created("sale"), refunded("sale", 399)])
    rows = [sold(name, quantity=-1) for name in ("both", "theirs", "sale")]
    found = await compare(at_work, write_csv(tmp_path / "f.csv", rows))
    assert found.findings == {
        "ours": ["missing_in_file"],
        "theirs": ["missing_in_journal"],
        "sale": ["status", "units", "gross"],
    }
    assert found.file["EUR"] == Totals(refunds=3 * 399)
    assert found.journal["EUR"] == Totals(orders=1, units=1, gross=399, refunds=2 * 399 + 100)


async def test_the_roads_are_compared(own_at_work: Database, open_intake: OpenIntake, tmp_path: Path) -> None:
    """An order that two sources report is named with what each says; the file is compared with one of them."""
    await told(own_at_work, [created("o1")], [created("o2")])
    other = write_csv(tmp_path / "other.csv", [sold("o1", amount="4.00"), sold("o3")])
    await import_history(
        await open_intake(), ImportRequest(file=other, state=tmp_path / "i", source="shopify"), lambda _: None
    )
    found = await compare(own_at_work, write_csv(tmp_path / "f.csv", [sold("o1"), sold("o2")]))
    assert (found.equal, found.findings) == (True, {})
    (shared,) = found.shared
    assert shared.order_id == "o1"
    assert [(report.source, report.gross) for report in shared.reports] == [("orders", "3.99"), ("shopify", "4.00")]
    found = await compare(own_at_work, other, source="shopify")
    assert (found.equal, found.counts) == (True, (2, 2, 0))
    assert found.differences == {}


async def test_rows_without_an_order_are_not_equal(at_work: Database, tmp_path: Path) -> None:
    """A row that names no order cannot be compared, so that the file is not equal to anything."""
    await told(at_work, [created("o1")])
    found = await compare(at_work, write_csv(tmp_path / "f.csv", [sold("o1"), sold("")]))
    assert (found.equal, found.findings, found.counts) == (False, {}, (1, 1, 1))


async def test_a_column_that_is_not_there_is_not_compared(at_work: Database, tmp_path: Path) -> None:
    """A file without customers and quantities says nothing of them."""
    await told(at_work, [created("o1", customer_id="c1", quantity=3)])
    cells = sold("o1")
    del cells["quantity"]
    assert (await compare(at_work, write_csv(tmp_path / "f.csv", [cells]))).findings == {}
