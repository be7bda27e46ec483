"""Each fault of the catalogue in mid-sale, one by one: healed and settled, everything is as the oracle says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS
from tests.faults.trial import trial
from tests.faults.world import World

LASTS_SECONDS = 2.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One installation for all faults: each heals before the next comes, and the oracle remembers all of it."""
    opened = World(tmp_path_factory.mktemp("world"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def diary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One log for all of them."""
    return tmp_path_factory.mktemp("oracle") / "diary"


@pytest.mark.parametrize("name", sorted(FAULTS))
async def test_right_again(name: str, world: World, diary: Path) -> None:
    """Nothing is lost, twice, invented, out of order or miscounted, and what people see is right again."""
    fault = FAULTS[name]
    async with trial(world, diary, seed=sorted(FAULTS).index(name), pause=0.1) as running:
        await asyncio.sleep(0.5)
        async with fault.block(world, random.Random(name)):
            await asyncio.sleep(min(LASTS_SECONDS, fault.longest or LASTS_SECONDS))
        assert await running.verdict() == []
