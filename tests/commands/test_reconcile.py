"""`rushlight reconcile` as a person and a program use it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rushlight.events.catalogue import Line, OrderCreated
from rushlight.settings import ENV_WHOLE, Settings
from rushlight.store.outbox import Outbox
from tests.ingest.history.files import row, write_csv
from tests.ingest.making import working


async def run(settings: Settings, *options: Any) -> tuple[int, str, str]:
    """The command's exit code, stdout and stderr."""
    urls = ["--data", settings.data, "--redis-url", settings.redis_url, "--mongo-url", settings.mongo_url]
    toml = Path(settings.data).parent / "settings.toml"
    toml.write_text(f'database = "{settings.database}"\n')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rushlight", "reconcile", *map(str, options), *map(str, urls), "--config", str(toml)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "COLUMNS": "100"},
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_reconcile(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal ends with 0; else 3 with a bounded table, or all of it as JSON; a wrong file with 1 and one sentence."""
    monkeypatch.delenv(ENV_WHOLE, raising=False)
    Path(settings.data).mkdir()
    async with working(settings) as database:
        for number in range(4):
            line = Line(product_id="tea", quantity=1, amount=399)
            order = OrderCreated(order_id=f"o{number}", currency="EUR", lines=[line], gross=399, total=399)
            await database.orders.insert_one(Outbox.attach({"_id": f"o{number}"}, order))
        while await database.journal.count_documents({}) < 4:  # noqa: ASYNC110 - a worker writes it
            await asyncio.sleep(0.05)
        times = {document["aggregateId"]: document["timestamp"] async for document in database.journal.find()}
    rows = [row(order_id, occurred_at=times[order_id].isoformat()) for order_id in sorted(times)]
    code, out, err = await run(settings, write_csv(tmp_path / "same.csv", rows))
    assert (code, err) == (0, "")
    assert "4 orders in the file, 4 in the journal in its time span: equal." in out
    changed = [line | {"amount": "4.00"} for line in rows[:3]] + rows[3:]
    path = write_csv(tmp_path / "changed.csv", changed)
    code, out, err = await run(settings, path, "--limit", 1)
    assert (code, err) == (3, "")
    assert ["o0", "gross", "4.00", "EUR", "3.99", "EUR"] in [line.split() for line in out.splitlines()]
    assert "o1" not in out
    assert "and 2 orders more" in out
    assert "3 differ (3 gross)" in out
    code, out, err = await run(settings, path, "--json", "--limit", 1)
    answer = json.loads(out)
    assert (code, answer["equal"], answer["differing"], answer["findings"]) == (3, False, 3, {"gross": 3})
    assert [difference["orderId"] for difference in answer["differences"]] == ["o0", "o1", "o2"]
    assert answer["file"]["currencies"]["EUR"]["net"] == "15.99"
    assert answer["journal"]["currencies"]["EUR"]["net"] == "15.96"
    code, out, err = await run(settings, path, "--source", "nope")
    assert (code, out) == (1, "")
    assert err.startswith(
        "rushlight: source: the journal has no orders of 'nope' in shop default; it has some of orders:"
    )
    assert len(err.splitlines()) == 1
    code, out, err = await run(settings, write_csv(tmp_path / "wrong.csv", [{"number": "1"}]))
    assert (code, out) == (1, "")
    assert err.startswith("rushlight: no column for order_id")
    assert len(err.splitlines()) == 1
    assert not list(Path(settings.data).glob("reconcile-*"))
