"""Negative controls: with a bug planted in the engine, the audit of every other test says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from rushlight.bus.appender import Appender
from rushlight.engine import lanes
from rushlight.engine import partition as module
from rushlight.engine.batch import Candidate
from rushlight.engine.commit import Committer, Work
from rushlight.engine.folding import Folded, Folder
from rushlight.engine.sorter import Sorter
from rushlight.events.envelope import Envelope
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.engine.audit import audit, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop


async def told(database: Database, appender: Appender, settings: Settings) -> set[str]:
    """The first words of what the audit says after a busy day."""
    shop = Shop(database, appender, seed=21)
    for _ in range(4):
        await shop.place(10)
        await shop.go_on(15)
    await shop.visit(30)
    async with working(settings):
        await settled(database, shop.acknowledged)
    return {problem.split()[0].rstrip(":") for problem in await audit(database, shop.acknowledged)}


async def test_nothing_is_wrong_without_a_bug(database: Database, appender: Appender, brisk: Settings) -> None:
    """The same day without a bug: silence."""
    assert await told(database, appender, brisk) == set()


async def test_a_fold_that_forgets(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One event that is stored but not folded is missed by the oracle and by the fold of the journal."""

    class Forgetful(Folder):
        async def fold(self, events: Sequence[Envelope], first_seq: int) -> Folded:
            """Leave out one visit."""
            return await super().fold([event for event in events if event.origin != "w:log:7"], first_seq)

    monkeypatch.setattr(lanes, "Folder", Forgetful)
    assert {"figure", "fold"} <= await told(database, appender, brisk)


async def test_a_ledger_outside_the_transaction(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counters that stand although the transaction failed count twice what is tried again."""
    failed: list[int] = []

    class Leaky(Committer):
        async def _account(self, partition: int, work: Work) -> None:
            session, self._session = self._session, None  # type: ignore[assignment]
            try:
                await super()._account(partition, work)
            finally:
                self._session = session
            if work.stored and not failed:
                failed.append(partition)
                raise AutoReconnect("the connection broke")

    monkeypatch.setattr(module, "Committer", Leaky)
    assert await told(database, appender, brisk) == {"ledger"}


async def test_a_sorter_that_takes_what_comes(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the search for gaps an order's events are stored as they come."""

    class Careless(Sorter):
        async def _in_order(self, fresh: list[Candidate], *_: Any) -> list[Candidate]:
            return fresh[::-1]

    monkeypatch.setattr(module, "Sorter", Careless)
    assert await told(database, appender, brisk) == {"versions"}


async def test_a_position_that_lags(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that does not move the place in the journal is seen."""
    shop = Shop(database, appender)
    await shop.visit(10)
    async with working(brisk):
        await settled(database, shop.acknowledged)
    await database.positions.update_many({"seq": {"$gt": 0}}, {"$inc": {"seq": -1}})
    assert {problem.split()[0] for problem in await audit(database, shop.acknowledged)} == {"position", "projections"}


async def test_what_is_missing_changed_or_invented(database: Database, appender: Appender, brisk: Settings) -> None:
    """An acknowledgement without a record, a record without an acknowledgement, and an altered event are told."""
    shop = Shop(database, appender)
    await shop.visit(5)
    async with working(brisk):
        await settled(database, shop.acknowledged)
    first, second, third, *_ = shop.acknowledged
    second.payload["n"] = 1
    await database.outcomes.insert_one({"_id": third.origin, "kind": "duplicate", "p": 0, "source": "web"})
    problems = await audit(database, [*shop.acknowledged[1:], shop.seen()])
    assert {f"unknown: {first.origin}", f"changed: {second.origin}", f"twice: {third.origin}"} <= set(problems)
    assert any(problem.startswith("lost:") for problem in problems)
