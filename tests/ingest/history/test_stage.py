"""A file of any format and order becomes the same orders, in the order of their times."""

from __future__ import annotations

import random
import threading
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from pyarrow import parquet

from rushlight.errors import Rejected
from rushlight.ingest.history.stage import Build, detect_format
from tests.ingest.history.files import make, row, write_csv, write_ndjson, write_parquet


def shop_rows(count: int = 300) -> list[dict[str, object]]:
    """Lines of many orders, all mixed up, with refunds and every field."""
    rng = random.Random(4)
    start = datetime(2024, 3, 1, tzinfo=UTC)
    lines: list[dict[str, object]] = []
    for order in range(count // 3):
        at = start + timedelta(minutes=rng.randrange(10**5))
        for number in range(rng.randrange(1, 6)):
            back = number > 0 and rng.random() < 0.2
            quantity = rng.randrange(1, 4)
            price = round(rng.uniform(0.1, 90), 2)
            lines.append(
                {
                    "order_id": f"o{order}",
                    "occurred_at": (at + timedelta(days=back * 9)).isoformat(),
                    "customer_id": None if order % 7 == 0 else f"c{order % 20}",
                    "product_id": str(rng.randrange(50)),
                    "product_name": 'Käse, "jung"\nim Stück' if number == 1 else "Tee",
                    "category": "Food",
                    "quantity": -quantity if back else quantity,
                    "unit_price": price,
                    "amount": round(price * quantity, 2) * (-1 if back else 1),
                    "discount": 0.05 if number == 2 and not back else 0.0,
                    "currency": "EUR",
                    "country": "DE",
                }
            )
    rng.shuffle(lines)
    return lines


def test_every_format_gives_the_same_events(tmp_path: Path) -> None:
    """CSV, NDJSON and Parquet of the same rows are the same history, ids included."""
    rows = shop_rows()
    made = make(write_csv(tmp_path / "f.csv", rows))
    assert made.faults == []
    assert made.rows == len(rows)
    assert {event.name for event in made.envelopes} == {"order_created", "order_refunded"}
    assert make(write_ndjson(tmp_path / "f.ndjson", rows)).facts == made.facts
    assert make(write_parquet(tmp_path / "f.parquet", rows)).facts == made.facts


def test_lines_of_an_order_need_not_be_adjacent(tmp_path: Path) -> None:
    """However the lines lie, the orders are the same; within an order lines keep the file's order."""
    rows = shop_rows()
    ordered = sorted(rows, key=lambda line: str(line["order_id"]))
    mixed, tidy = make(write_csv(tmp_path / "a.csv", rows)), make(write_csv(tmp_path / "b.csv", ordered))
    assert mixed.facts == tidy.facts
    assert len({event.id for event in mixed.envelopes}) == len(mixed.envelopes)


def test_orders_come_by_time_then_by_id(tmp_path: Path) -> None:
    """A history is sent as it happened."""
    rows = [row("b"), row("a"), row("0", occurred_at="2024-03-02"), row("9", occurred_at="2024-02-01")]
    assert [event.aggregate_id for event in make(write_csv(tmp_path / "f.csv", rows)).envelopes] == ["9", "a", "b", "0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-01T10:00:00Z", "2024-03-01T10:00:00+00:00"),
        ("2024-03-01 10:00:00.123456", "2024-03-01T10:00:00.123000+00:00"),
        ("2024-03-01T10:00:00+05:30", "2024-03-01T04:30:00+00:00"),
        ("2024-03-01 10:00:00 -0500", "2024-03-01T15:00:00+00:00"),
        (" 2024-03-01 ", "2024-03-01T00:00:00+00:00"),
        ("1969-07-20T20:17:40Z", "1969-07-20T20:17:40+00:00"),
    ],
)
def test_times_as_files_write_them(tmp_path: Path, text: str, expected: str) -> None:
    """ISO 8601 in its variants, with the offset that it has."""
    (event,) = make(write_csv(tmp_path / "f.csv", [row("A", occurred_at=text)])).envelopes
    assert event.occurred_at.isoformat() == expected


@pytest.mark.parametrize("text", ["", "yesterday", "20240301", "1709287200", "03/01/2024", "infinity", "12024-01-01"])
def test_what_is_no_time_is_refused(tmp_path: Path, text: str) -> None:
    """Bare numbers and dates that could be read in two ways are not guessed at."""
    made = make(write_csv(tmp_path / "f.csv", [row("A", occurred_at=text), row("B")]))
    assert [(fault.row, fault.field) for fault in made.faults] == [(2, "occurred_at")]
    assert [event.aggregate_id for event in made.envelopes] == ["B"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_local_times_in_their_zone(tmp_path: Path, zone: str) -> None:
    """A time without an offset is local; one that clocks show twice is the second, one that they skip as if not."""
    naive = [
        datetime.fromisoformat(f"2024-{month:02d}-{day:02d}T{hour:02d}:30")
        for month in (3, 4, 10, 11)
        for day in range(1, 29)
        for hour in (1, 2)
    ]
    rows = [row(f"{number:04d}", occurred_at=at.isoformat(sep=" ")) for number, at in enumerate(naive)]
    typed = pa.table({key: [line[key] for line in rows] for key in rows[0]} | {"occurred_at": pa.array(naive)})
    parquet.write_table(typed, tmp_path / "f.parquet")
    got = {e.aggregate_id: e.occurred_at for e in make(write_csv(tmp_path / "f.csv", rows), zone=zone).envelopes}
    assert {e.aggregate_id: e.occurred_at for e in make(tmp_path / "f.parquet", zone=zone).envelopes} == got
    for number, at in enumerate(naive):
        first, second = (at.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
        skipped = first > second
        assert got[f"{number:04d}"] == (first if skipped else second), at


def test_typed_parquet_columns(tmp_path: Path) -> None:
    """Integers, floats with gaps, decimals, dates and moments with a zone are what they say."""
    moment = datetime(2024, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    table = pa.table(
        {
            "order_id": pa.array([1, 2], pa.int64()),
            "occurred_at": pa.array([moment, moment], pa.timestamp("ns", "Europe/Berlin")),
            "customer_id": pa.array([17850.0, None], pa.float64()),
            "product_id": pa.array([b"tea", b"cup"], pa.binary()),
            "quantity": pa.array([1.0, 2.0], pa.float32()),
            "amount": pa.array([3.99, 0.1], pa.float32()),
            "discount": pa.array([float("nan"), 0.0], pa.float64()),
        }
    )
    parquet.write_table(table, tmp_path / "it's [1]*.parquet")
    first, second = make(tmp_path / "it's [1]*.parquet", currency="EUR").envelopes
    assert (first.aggregate_id, first.customer_id, second.customer_id) == ("1", "17850", None)
    assert first.occurred_at == datetime(2024, 3, 1, 10, tzinfo=UTC)
    assert [event.payload["gross"] for event in (first, second)] == [399, 10]
    assert second.payload["lines"][0]["quantity"] == 2
    days = table.set_column(1, "occurred_at", pa.array([date(2024, 3, 1)] * 2))
    parquet.write_table(days, tmp_path / "days.parquet")
    event = make(tmp_path / "days.parquet", currency="EUR", zone="Europe/Berlin").envelopes[0]
    assert event.occurred_at == datetime(2024, 2, 29, 23, tzinfo=UTC)


def test_columns_are_mapped_whatever_they_are_called(tmp_path: Path) -> None:
    """Column names with spaces, quotes and SQL in them are names."""
    strange = 'a "b"; DROP TABLE lines --'
    rows = [{strange: "A", "row": "2024-03-01", "fault": "tea", "select": "1.50"}]
    mapping = {"order_id": strange, "occurred_at": "row", "product_id": "fault", "amount": "select"}
    expected = None
    for write, name in ((write_csv, "f.csv"), (write_ndjson, "f.ndjson"), (write_parquet, "f.parquet")):
        made = make(write(tmp_path / name, rows), mapping=mapping, currency="EUR")
        assert made.facts == (expected := expected or made.facts)
    assert expected


def test_rows_that_name_no_order_are_told(tmp_path: Path) -> None:
    """They belong to nobody, so they hold nobody back."""
    made = make(write_csv(tmp_path / "f.csv", [row("A"), row(" "), row("B")]))
    assert [fault.row for fault in made.faults] == [3]
    assert len(made.envelopes) == 2


def test_the_format_is_known_by_name_or_content(tmp_path: Path) -> None:
    """A name that says nothing is no obstacle."""
    named = [("a.CSV", "csv"), ("a.tsv.gz", "csv"), ("a.jsonl", "ndjson"), ("a.json.gz", "ndjson"), ("a.pq", "parquet")]
    for name, expected in named:
        (tmp_path / name).touch()
        assert detect_format(tmp_path / name) == expected
    assert detect_format(write_parquet(tmp_path / "p", [row("A")])) == "parquet"
    assert detect_format(write_ndjson(tmp_path / "n", [row("A")])) == "ndjson"
    assert detect_format(write_csv(tmp_path / "c", [row("A")])) == "csv"


@pytest.mark.parametrize(("name", "content"), [("f.parquet", b"PAR1 nonsense"), ("f.csv.gz", b"\x1f\x8b nonsense")])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    """It says which file and why, and leaves nothing behind."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Rejected, match=f"{name}: cannot be read as") as refused:
        make(tmp_path / name)
    assert "\n" not in str(refused.value)
    assert list((tmp_path / f"work-{name}").glob("*.duckdb")) == []


@pytest.mark.parametrize("name", ["f.csv", "f.parquet"])
def test_progress_can_be_asked_for_at_any_time(tmp_path: Path, name: str) -> None:
    """Another thread may look while the table is made, when it is being closed and afterwards."""
    write = write_csv if name == "f.csv" else write_parquet
    path = write(tmp_path / name, [row(f"o{number}") for number in range(30_000)])
    build = Build(path, tmp_path, format_=detect_format(path), mapping={}, currency=None, zone="UTC")
    thread = threading.Thread(target=build.run)
    thread.start()
    seen = [build.fraction]
    while thread.is_alive():
        seen.append(build.fraction)
    assert all(0 <= fraction <= 1 for fraction in seen)
    assert build.fraction == 1
    build.cancel()


def test_a_file_without_rows_is_no_error(tmp_path: Path) -> None:
    """An empty history has no orders."""
    (tmp_path / "f.csv").write_text("order_id,occurred_at,product_id,amount,currency\n", encoding="utf-8")
    made = make(tmp_path / "f.csv")
    assert (made.rows, made.orders, made.envelopes) == (0, 0, [])
