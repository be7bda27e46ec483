"""Faults of the catalogue in mid-sale, one after another: after each the board is right, after all the oracle agrees.

`make soak` does them all at random, two at once among them, and for longer.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS
from tests.faults.trial import trial
from tests.faults.world import World

LASTS_SECONDS = 0.9
GROUPS = {
    "Valkey": (
        "Valkey killed",
        "Valkey wiped (FLUSHALL)",
        "Valkey full (maxmemory)",
        "Valkey's clock steps back an hour",
        "Valkey's disk full",
        "Valkey put back to an older state",
    ),
    "Valkey's file": ("Valkey's file is damaged in the middle", "Valkey's file loses its end (power cut)"),
    "the network to Valkey": (
        "Valkey at 20 kB/s",
        "Valkey by the byte",
        "Valkey heard in one direction only",
        "Valkey refuses connections",
        "Valkey slow (100 ms)",
        "order service cut off from Valkey",
        "web cut off from Valkey",
        "workers cut off from Valkey",
    ),
    "the network to MongoDB": (
        "MongoDB slow for workers (50 ms)",
        "connections reset again and again",
        "order service cut off from MongoDB",
        "replies to commits lost",
        "replies to orders lost",
        "web cut off from MongoDB",
        "workers cut off from MongoDB",
        "workers hear or reach MongoDB only",
    ),
    "MongoDB": ("MongoDB frozen", "MongoDB killed", "MongoDB steps down", "MongoDB's disk full"),
    "web and order service": (
        "order service killed",
        "the write-ahead log's disk full",
        "web and order service stopped and started",
        "web frozen",
        "web killed",
    ),
    "workers": (
        "everything killed at once",
        "worker frozen in mid-commit past its lease",
        "worker killed",
        "worker starved of processor time",
        "worker stopped and started",
    ),
}
ELSEWHERE = {
    "Valkey frozen": "tests/engine/test_faults.py::test_frozen_redis",
    "worker frozen past its lease": "tests/engine/test_faults.py::test_frozen_past_its_lease",
    "order service frozen": "make soak",
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("group", GROUPS)
async def test_right_again(group: str, world: World, diary: Path) -> None:
    """Nothing is lost, twice, invented, out of order or miscounted, and what people see is right again."""
    async with trial(world, diary, seed=list(GROUPS).index(group), pause=0.1) as running:
        for name in GROUPS[group]:
            await asyncio.sleep(0.3)
            fault = FAULTS[name]
            async with fault.block(world, random.Random(name)):
                await asyncio.sleep(min(LASTS_SECONDS, fault.longest or LASTS_SECONDS))
            print(name, await running.right())
            running.shoppers.go_on()
        assert await running.verdict() == []
        if group == "Valkey's file":
            assert "append-only file is damaged and was set aside" in world.told_by_supervisors("servers")


def test_no_fault_is_forgotten() -> None:
    """Each fault of the catalogue is in a group here, or it is said where else it is done."""
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted([*grouped, *ELSEWHERE]) == sorted(FAULTS)
