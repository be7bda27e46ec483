"""The examples of the documentation run, against real servers, in the order in which they stand."""

from __future__ import annotations

import ast
import asyncio
import re
import types
from pathlib import Path
from typing import Any

import pymongo
import pytest

from rushlight.engine.subscription import Subscription
from rushlight.engine.worker import Worker
from rushlight.settings import Settings
from rushlight.store.database import Database

PAGE = Path(__file__).resolve().parent.parent / "docs" / "python.md"


async def test_the_python_page_runs(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of docs/python.md runs after the one before, and the order it saves reaches the journal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Subscription, "declared", {})
    database = await Database.connect(settings, role="docs")
    worker = Worker(database, settings)
    working = asyncio.create_task(worker.run())
    names: dict[str, Any] = {
        "asyncio": asyncio,
        "redis_url": settings.redis_url,
        "mongo_url": f"{settings.mongo_url}",
        "orders": database.orders,
        "__name__": "docs",
    }
    try:
        for block in _blocks(settings.database):
            code = compile(block, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            running = types.FunctionType(code, names)()
            if asyncio.iscoroutine(running):
                await running
        await _await_stored(settings, {"order_created", "purchase", "gift_wrapped"})
    finally:
        worker.stop()
        await working
        await database.close()


def _blocks(database: str) -> list[str]:
    """The page's Python blocks, each at its own line; the bus connects to this test's database."""
    page = PAGE.read_text("utf-8")
    found = []
    for match in re.finditer(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        line = page.count("\n", 0, match.start(1))
        block = match.group(1).replace("mongo_url=mongo_url", f"mongo_url=mongo_url, database={database!r}")
        found.append("\n" * line + block)
    return found


async def _await_stored(settings: Settings, names: set[str]) -> None:
    with pymongo.MongoClient[dict[str, Any]](settings.mongo_url) as client:
        journal = client[settings.database]["journal"]
        async with asyncio.timeout(90):
            while not names <= set(journal.distinct("eventName")):  # noqa: ASYNC110 - the journal calls nobody
                await asyncio.sleep(0.1)
