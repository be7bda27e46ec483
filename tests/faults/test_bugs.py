"""Bugs planted in the running programs are found by the oracle: so would be one of ours."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.checks import look
from tests.faults.told import Told
from tests.faults.trial import Trial, trial
from tests.faults.world import World

BUSY_SECONDS = 2.5


@pytest.fixture
def buggy(tmp_path: Path) -> World:
    """An installation of this test's own: nobody else can use it afterwards."""
    return World(tmp_path / "world")


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
            await asyncio.sleep(BUSY_SECONDS)
            assert await running.verdict() == []

            buggy.replace("workers", patch="miscounting_worker")
            running.shoppers.go_on()
            await asyncio.sleep(BUSY_SECONDS)
            assert await _lost(running) == []
            wrong = await running.differences()
            assert [line for line in wrong if line.startswith("R orders in") and "gross" in line]
            assert [line for line in wrong if line.startswith("R fold money")]
            assert [line for line in wrong if line.startswith("C the query API")]
            buggy.replace("workers")

            buggy.replace("web", patch="lying_door")
            await asyncio.sleep(BUSY_SECONDS)
            lost = await _lost(running)
            assert lost
            assert not [line for line in lost if " orders " in line]
            buggy.replace("web")

            buggy.replace("orders", patch="forgetful_orders")
            await asyncio.sleep(BUSY_SECONDS)
            assert [line for line in await _lost(running) if line.startswith("D lost: orders order_created")]
    finally:
        buggy.close()
