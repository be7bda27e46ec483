"""Bugs planted in the running programs are found by the oracle: so would be one of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.checks import look
from tests.faults.told import Told
from tests.faults.trial import Trial, trial
from tests.faults.world import World, until

ENOUGH = 25
"""New orders, and new batches of events, after which a bug that shows in one of five or seven has been met."""


@pytest.fixture
def buggy(tmp_path: Path) -> World:
    """An installation of this test's own: nobody else can use it afterwards."""
    return World(tmp_path / "world")


async def _busy(running: Trial) -> None:
    """Let shoppers and pages do their business for long enough."""
    answers = running.shoppers.answers
    placed, taken = answers["201"] + ENOUGH, answers["202"] + ENOUGH
    await until(lambda: answers["201"] >= placed and answers["202"] >= taken)


async def _lost(running: Trial) -> list[str]:
    """What the oracle misses, once nothing is pending any more."""
    await running.shoppers.rest()
    await running.settled(all_answered=False)
    journal = await running._database.journal.find().to_list()
    lines = look(Told.read(running.diary), journal, [])
    running.shoppers.go_on()
    return [line for line in lines if line.startswith("D")]


@pytest.mark.timeout(240)
async def test_planted_bugs_are_found(buggy: World, tmp_path: Path) -> None:
    """A worker that miscounts, a door that answers without writing, an order service that forgets events."""
    try:
        async with trial(buggy, tmp_path / "diary", seed=1, pause=0.05) as running:
            await _busy(running)
            assert await running.verdict() == []

            buggy.replace("workers", patch="miscounting_worker")
            running.shoppers.go_on()
            await _busy(running)
            assert await _lost(running) == []
            wrong = await running.differences()
            assert [line for line in wrong if line.startswith("R orders in") and "gross" in line]
            assert [line for line in wrong if line.startswith("R fold money")]
            assert [line for line in wrong if line.startswith("C the query API")]
            buggy.replace("workers")

            buggy.replace("web", patch="lying_door")
            await _busy(running)
            lost = await _lost(running)
            assert lost
            assert not [line for line in lost if " orders " in line]
            buggy.replace("web")

            buggy.replace("orders", patch="forgetful_orders")
            await _busy(running)
            assert [line for line in await _lost(running) if line.startswith("D lost: orders order_created")]
    finally:
        buggy.close()
