"""What is no entry of an outbox holds up nobody: not its partition, not the ledger, not how complete figures are."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from rushlight.events.envelope import now
from rushlight.query.freshness import complete_to
from rushlight.settings import Settings
from rushlight.store import ledger, outbox
from rushlight.store.database import Database
from rushlight.store.relayed import Copies
from tests.engine.audit import eventually
from tests.engine.conftest import working
from tests.engine.shop import Shop

NUMBERED = 4


def damaged(partition: int) -> list[dict[str, Any]]:
    """Orders as somebody's script may leave them, in one partition; `NUMBERED` of their entries have a number."""
    p = partition
    outboxes: dict[str, Any] = {
        "bare": [{"p": p}],
        "object": {"p": p, "n": 1, "at": now(), "e": "{}"},
        "half": [{"p": p, "n": 1.5, "at": now(), "e": "{}"}],
        "textual": [{"p": p, "n": "1", "at": now(), "e": "{}"}],
        "true": [{"p": p, "n": True, "at": now(), "e": "{}"}],
        "numbered": [{"p": p, "n": 1}],
        "wrong": [{"p": p, "n": 1, "at": "soon", "e": 5}, {"p": p, "n": 2, "at": None, "e": None}],
        "mixed": [None, 3, [4], {"p": p}, {"p": p, "n": 1, "at": now() - timedelta(minutes=1), "e": "{"}],
    }
    emitted = {"numbered": 1, "wrong": 2, "mixed": 1}
    return [
        {"_id": f"{name}-{p}", "outbox": outbox, **({"emitted": emitted[name]} if name in emitted else {})}
        for name, outbox in outboxes.items()
    ]


async def test_entries_that_are_none(
    database: Database, calm: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Good orders are settled from the outboxes beside them, under the same owners; what has a number is parked in
    sight, what has none is told of, once.
    """
    monkeypatch.setattr(outbox, "_told", set())
    await database.orders.insert_many([order for p in range(8) for order in damaged(p)])
    shop = Shop(database, None, seed=5)
    with caplog.at_level(logging.ERROR, logger=outbox.__name__):
        async with working(calm):
            await shop.place(12)

            async def all_ended() -> bool:
                stored = await database.journal.count_documents({})
                parked = await database.outcomes.count_documents({"kind": "parked"})
                return (stored, parked) == (len(shop.acknowledged), NUMBERED * 8)

            await eventually(all_ended)
            epochs = await database.leases.distinct("epoch", {"owner": {"$ne": None}})
            for _ in range(3):
                await shop.place(1)
                await eventually(lambda: _stored(database, shop))
            assert await database.leases.distinct("epoch", {"owner": {"$ne": None}}) == epochs

            async def cleared() -> bool:
                return not await database.orders.find_one({"outbox": {"$elemMatch": {"n": {"$type": ["int", "long"]}}}})

            await eventually(cleared)
        books = await ledger.read(database)
        complete = await complete_to(database)
    assert books.balanced
    assert (books.total.pending, books.total.parked) == (0, NUMBERED * 8)
    assert min(complete.money, complete.behaviour) > now() - timedelta(minutes=1)
    record = await database.outcomes.find_one({"_id": "o:numbered-3:1"})
    assert record is not None
    assert '"n": 1' in record["event"]
    told = [line.message for line in caplog.records if line.name == outbox.__name__]
    assert len(told) == len(set(told)) == outbox.MAX_DAMAGE_LINES
    assert await Copies(database, "a shop").of(["bare-0", "object-0", "mixed-0"])


async def test_many_without_a_number_are_in_nobodys_way(
    database: Database, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when they are more than a sweep looks at."""
    monkeypatch.setattr(outbox, "MAX_LEFTOVER_ORDERS", 3)
    await database.orders.insert_many([{"_id": f"a-{p}-{n}", "outbox": [{"p": p}]} for p in range(8) for n in range(9)])
    shop = Shop(database, None, seed=6)
    await shop.place(8)
    async with working(brisk):
        await eventually(lambda: _stored(database, shop))


async def _stored(database: Database, shop: Shop) -> bool:
    return await database.journal.count_documents({}) == len(shop.acknowledged)
