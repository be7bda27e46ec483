"""Small order histories as files of every format, and what the importer makes of them without sending it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import parquet

from rushlight.events.envelope import Envelope
from rushlight.ingest.history.orders import Fault, OrderMaker
from rushlight.ingest.history.stage import Build, Stage, detect_format

Row = Mapping[str, Any]


def row(order_id: str, **cells: Any) -> dict[str, Any]:
    """A line of an order with sensible cells."""
    line: dict[str, Any] = {"order_id": order_id, "occurred_at": "2024-03-01T10:00:00Z", "product_id": "tea"}
    return line | {"quantity": 1, "amount": "3.99", "currency": "EUR"} | cells


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    """The rows as CSV, columns in order of appearance."""
    columns = list(dict.fromkeys(name for line in rows for name in line))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_ndjson(path: Path, rows: Sequence[Row]) -> Path:
    """The rows as one JSON object a line."""
    path.write_bytes(b"".join(msgspec.json.encode(dict(line)) + b"\n" for line in rows))
    return path


def write_parquet(path: Path, rows: Sequence[Row]) -> Path:
    """The rows as Parquet, with the types that pyarrow finds."""
    columns = list(dict.fromkeys(name for line in rows for name in line))
    table = pa.table({name: [line.get(name) for line in rows] for name in columns})
    parquet.write_table(table, path)
    return path


class Made:
    """What became of a file."""

    def __init__(self, envelopes: list[Envelope], faults: list[Fault], stage: Stage) -> None:
        self.envelopes = envelopes
        self.faults = faults
        self.rows = stage.rows
        self.orders = stage.orders

    @property
    def payloads(self) -> list[dict[str, Any]]:
        """The events' payloads, in order."""
        return [envelope.payload for envelope in self.envelopes]

    @property
    def facts(self) -> list[tuple[Any, ...]]:
        """Everything of the events but when they were received."""
        return [(e.id, e.name, e.aggregate_id, e.payload, e.occurred_at, e.customer_id) for e in self.envelopes]


def make(
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    currency: str | None = None,
    zone: str = "UTC",
    format_: str | None = None,
) -> Made:
    """Read, sort and make the events of a file."""
    directory = path.parent / f"work-{path.name}"
    directory.mkdir()
    Build(
        path, directory, format_=format_ or detect_format(path), mapping=mapping or {}, currency=currency, zone=zone
    ).run()
    stage = Stage(directory)
    maker = OrderMaker(shop="default", source="orders", currency=currency, discount_sign=stage.discount_sign)
    envelopes: list[Envelope] = []
    faults = [
        Fault(row=number, field="", reason=fault or "no order", code="record")
        for number, fault in stage.without_order()
    ]
    for order in stage.read(0):
        made = maker.make(order)
        envelopes += made.envelopes
        faults += made.faults
    done = Made(envelopes, faults, stage)
    stage.close()
    return done
