"""Workers die at every step of their work, under load; another goes on, and everything acknowledged is there once.

Nothing is cleared between the cases: each begins with what the deaths before it left behind.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.city import City, Ground
from tests.faults.places import WORKER, groups


async def die(city: City, names: tuple[str, ...]) -> None:
    """Some workers, each with a death of its own before it; the shop trades until all of them are dead."""
    async with city.doomed("worker", names) as children:
        while any(child.code is None for child in children):
            await city.trade()
            if any(name.startswith("generation.") for name in names):
                city.redis.flushall()
            if any(name in {"lease.drained", "lease.released"} for name in names):
                await city.database.leases.update_many({"epoch": {"$gt": 0}}, {"$set": {"owner": None}})
            await asyncio.sleep(0.1)
    await city.all_is_well()


@pytest.mark.parametrize("names", groups(WORKER, 4), ids=" ".join)
def test_workers_die(ground: Ground, names: tuple[str, ...]) -> None:
    """Each failpoint fired, and afterwards all books agree."""
    ground.run(die(ground.city, names))
