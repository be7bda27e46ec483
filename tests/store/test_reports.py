"""A process goes on to report, whatever its figures meet."""

from __future__ import annotations

import asyncio

import pytest

from rushlight import steady
from rushlight.store import reports as module
from rushlight.store.database import Database, Document
from rushlight.store.reports import Reporter

PATIENCE_SECONDS = 60.0


async def test_figures_that_fail_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw costs one report, and not all that would have come."""
    monkeypatch.setattr(steady, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.01)
    asked = 0

    def figures() -> Document:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RuntimeError("dictionary changed size during iteration")
        return {"asked": asked}

    reports = Reporter(database, "worker", "w", figures)
    reports.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await database.reports.find_one({"_id": "w", "asked": {"$gt": 2}}):  # noqa: ASYNC110 - it is written elsewhere
            await asyncio.sleep(0.01)
    await reports.stop()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await database.reports.count_documents({}):  # noqa: ASYNC110 - nobody waits for a majority
            await asyncio.sleep(0.01)
