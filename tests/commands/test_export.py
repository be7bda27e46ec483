"""`rushlight export`: a shop's journal in three formats, and everything that is held of one person."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest
import pytest_asyncio

from rushlight.bus.appender import Appender
from rushlight.commands import export as module
from rushlight.commands import tables
from rushlight.commands.export import Unwritable, export
from rushlight.errors import SetupError
from rushlight.events.catalogue import Item, ViewItem
from rushlight.query.exporting import EVENTS, event_row, heads, journal
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.engine.aside import old_code
from tests.engine.audit import settled
from tests.engine.conftest import working
from tests.engine.shop import Shop
from tests.engine.test_people import MAIL, NOW, bought, told

DEADLINE_SECONDS = 120.0
HOSTILE = "=cmd|' /C calc'!A0"
pytestmark = pytest.mark.timeout(300)


@pytest_asyncio.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """With what two people did, one of whom has an event that is parked, and an event of another shop."""
    opened = await Database.connect(settings, role="test")
    appender = Appender(settings.redis_url or "")
    shop = Shop(opened, appender, seed=81)
    others = ViewItem(visitor_id="v-1", items=[Item(product_id="p")]).seal(
        id="0" * 32, shop="other", source="web", origin="w:log:other", occurred_at=NOW
    )
    events = [
        told(shop, "v-1", mail=MAIL, size=[1, None]),
        told(shop, "v-1", "ada", name="Ada"),
        told(shop, "v-1", "eve", mail="eve@customers.example"),
        bought("o-1", "ada", "v-1"),
        bought("o-2", "eve", "v-2"),
        shop.seen(HOSTILE),
        others,
    ]
    parked = shop.seen("v-7", name="add_to_cart", customer_id="ada", personal={"town": "Ulm"}, occurred_at=NOW)
    for event in (*events[:3], events[5]):
        event.name = "view_item"
    with old_code({"add_to_cart"}):
        async with working(settings):
            await shop.send([*events, parked])
            await settled(opened, [*events, parked])
    await appender.close()
    yield opened
    await opened.close()


async def rows(settings: Settings, capfdbinary: Any, **options: Any) -> list[dict[str, Any]]:
    """What the command writes to stdout as NDJSON."""
    given: dict[str, Any] = {"customer": None, "form": "ndjson", "output": None, "shop": "default"}
    await export(settings, **(given | options))
    return [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]


async def test_the_journal_of_a_shop_in_three_formats(database: Database, settings: Settings, tmp_path: Path) -> None:
    """The same events in each, in the order of the journal, amounts exact, and text that no spreadsheet obeys."""
    found = {}
    for form in ("ndjson", "csv", "parquet"):
        found[form] = tmp_path / f"events.{form}"
        await export(settings, customer=None, form=form, output=found[form], shop="default")
    lines = [json.loads(line) for line in found["ndjson"].read_text().splitlines()]
    stored = await database.journal.find({"shop": "default"}).sort([("p", 1), ("seq", 1)]).to_list()
    assert [line["id"] for line in lines] == [document["_id"] for document in stored]
    assert [line["payload"] for line in lines] == [document["payload"] for document in stored]
    cells = list(csv.DictReader(io.StringIO(found["csv"].read_text(), newline="")))
    assert [cell["id"] for cell in cells] == [line["id"] for line in lines]
    assert list(cells[0]) == list(EVENTS)
    assert [cell["aggregateId"] for cell in cells if "cmd" in cell["aggregateId"]] == [f"'{HOSTILE}"]
    sales = [cell for cell in cells if cell["eventName"] == "order_created"]
    assert [(s["currency"], s["total"], s["totalMinor"], s["amount"]) for s in sales] == [
        ("EUR", "1.00", "100", "")
    ] * 2
    table = duckdb.read_parquet(str(found["parquet"]))
    kinds = dict(zip(table.columns, map(str, table.types), strict=True))
    assert {name: kinds[name] for name in ("total", "totalMinor", "timestamp", "payload")} == {
        "total": "DECIMAL(24,4)",
        "totalMinor": "BIGINT",
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        "payload": "VARCHAR",
    }
    kept = table.project("id, aggregateId, total, epoch_ms(timestamp)").fetchall()
    assert [row[0] for row in kept] == [line["id"] for line in lines]
    assert HOSTILE in {row[1] for row in kept}
    assert {row[2] for row in kept} == {None, Decimal(1)}
    assert [row[3] for row in kept] == [round(document["timestamp"].timestamp() * 1000) for document in stored]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "data") == [
        "events.csv",
        "events.ndjson",
        "events.parquet",
    ]


async def test_nothing_later_than_when_it_began(database: Database) -> None:
    """What is committed while the journal is given out is not in it."""
    until = await heads(database)
    last = await database.journal.find_one({"eventName": "order_created"})
    assert last is not None
    await database.journal.insert_one(last | {"_id": "later", "seq": until[last["p"]] + 1})
    ids = [row["id"] async for row in journal(database, "default", until)]
    assert "later" not in ids
    assert len(ids) == len(set(ids)) == 6


def test_amounts_of_every_currency() -> None:
    """Digits are the currency's; what has no currency that is known stays in minor units only."""

    def row(currency: str) -> tuple[Any, Any]:
        payload = {"currency": currency, "amount": -1234567}
        found = event_row({"_id": "1", "eventName": "order_refunded", "payload": payload})
        return found["amount"], found["amountMinor"]

    assert [row(name) for name in ("JPY", "USD", "KWD", "XAU")] == [
        ("-1234567", -1234567),
        ("-12345.67", -1234567),
        ("-1234.567", -1234567),
        (None, -1234567),
    ]
    assert "amount" not in event_row({"_id": "1", "eventName": "mine", "payload": {"currency": "EUR", "amount": 1}})


async def test_everything_of_a_person(database: Database, settings: Settings, tmp_path: Path, capfdbinary: Any) -> None:
    """Traits, links, events, orders and what is parked, and nothing that somebody else did on the same device."""
    del database
    found = await rows(settings, capfdbinary, customer="ada")
    assert found[0] == {
        "record": "person",
        "customers": ["ada"],
        "visitors": ["v-1"],
        "firstSeen": found[0]["firstSeen"],
    }
    assert {row["name"]: row["value"] for row in found if row["record"] == "trait"} == {
        "mail": MAIL,
        "name": "Ada",
        "size": [1, None],
    }
    assert [(row["customer"], row["visitor"]) for row in found if row["record"] == "link"] == [("ada", "v-1")]
    events = [row for row in found if row["record"] == "event"]
    told_by = [(row["aggregateId"], row.get("customerId", "")) for row in events]
    assert sorted(told_by) == [("o-1", "ada"), ("v-1", ""), ("v-1", "ada")]
    assert '"eve"' not in json.dumps(events)
    (parked,) = [row for row in found if row["record"] == "parked"]
    assert (parked["kind"], parked["personal"], parked["eventName"]) == ("parked", {"town": "Ulm"}, "add_to_cart")

    target = tmp_path / "ada"
    for form in ("csv", "parquet"):
        await export(settings, customer="ada", form=form, output=target, shop="default")
    names = sorted(path.name for path in target.iterdir())
    assert names == [
        f"{name}.{form}" for name in ("events", "links", "parked", "traits") for form in ("csv", "parquet")
    ]
    traits = duckdb.read_parquet(f"{target}/traits.parquet").project("name, value").fetchall()
    assert ("size", "[1,null]") in traits
    nobody = await rows(settings, capfdbinary, customer="ada", shop="other")
    assert [row["record"] for row in nobody] == ["person"]


async def test_who_is_called_like_an_order(database: Database, settings: Settings, capfdbinary: Any) -> None:
    """A visitor, and anybody can be one, who takes an order's number for a name is not given what became of it."""
    order = await database.journal.find_one({"aggregateId": "o-2"})
    assert order is not None
    payment = {name: value for name, value in order.items() if name != "customerId"}
    claim = payment | {"eventName": "view_item", "customerId": "ada", "visitorId": "o-2", "payload": {}}
    await database.journal.insert_many(
        [
            payment | {"_id": "paid", "eventName": "order_paid", "seq": 1001, "payload": {"amount": 77}},
            payment | {"_id": "own", "eventName": "order_paid", "seq": 1002, "aggregateId": "o-1"},
            claim | {"_id": "claim", "seq": 1003},
        ]
    )
    found = {row.get("id") for row in await rows(settings, capfdbinary, customer="ada") if row["record"] == "event"}
    assert found & {"paid", "own", "claim"} == {"own", "claim"}


async def test_stdout_and_what_cannot_be_written(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe gets the file itself, a reader that leaves early is no error, and a full or wrong place is one."""
    del database
    environment = {
        **os.environ,
        "RUSHLIGHT_REDIS_URL": settings.redis_url or "",
        "RUSHLIGHT_DATABASE": settings.database,
    }
    environment["RUSHLIGHT_MONGO_URL"] = settings.mongo_url or ""
    command = [sys.executable, "-m", "rushlight", "export", "--format", "parquet", "--data", settings.data]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, timeout=DEADLINE_SECONDS, check=True
    )
    (tmp_path / "piped.parquet").write_bytes(done.stdout)
    assert len(duckdb.read_parquet(f"{tmp_path}/piped.parquet").project("id").fetchall()) == 6
    assert done.stderr.startswith(b"6 events of the shop default, up to ")

    whole: dict[str, Any] = {"customer": None, "form": "csv", "shop": "default"}
    with pytest.raises(Unwritable, match="cannot write"):
        await export(settings, output=tmp_path / "none" / "x.csv", **whole)
    with pytest.raises(click.UsageError, match="--output"):
        await export(settings, output=None, **(whole | {"customer": "ada"}))
    with pytest.raises(SetupError, match="no Rushlight data"):
        await export(Settings(data=str(tmp_path / "empty")), output=None, **whole)
    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        with pytest.raises(click.UsageError, match="no text"):
            await export(settings, output=None, **(whole | {"form": "parquet"}))

    async def left(*_: Any) -> int:
        raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr(module, "write", left)
        await export(settings, output=None, **whole)


async def test_cells(tmp_path: Path) -> None:
    """Quotes, line breaks, formulas and empty cells survive; numbers are not touched."""
    columns = {"text": "VARCHAR", "number": "BIGINT"}
    texts = ['a "quoted" one', "two\nlines", "@sum", "-1", "ä,b", "\tx"]

    async def some() -> AsyncIterator[dict[str, Any]]:
        for number, text in enumerate(texts):
            yield {"text": text, "number": -number}
        yield {"number": None}

    out = io.BytesIO()
    assert await tables.as_csv(some(), columns, out) == 7
    cells = list(csv.reader(io.StringIO(out.getvalue().decode(), newline="")))
    assert [row[0] for row in cells[1:]] == [texts[0], texts[1], "'@sum", "'-1", texts[4], "'\tx", ""]
    assert [row[1] for row in cells[1:]] == ["0", "-1", "-2", "-3", "-4", "-5", ""]
    await tables.parquet(some(), columns, tmp_path / "cells.parquet")
    kept = duckdb.read_parquet(f"{tmp_path}/cells.parquet").fetchall()
    assert kept == [*((text, -number) for number, text in enumerate(texts)), (None, None)]
