"""Processes that take events in die at every step between request and settlement, and so do those who adopt their logs.

Nothing is cleared between the cases: each begins with what the deaths before it left behind.
"""

from __future__ import annotations

import signal

import pytest

from tests.faults.city import City, Ground
from tests.faults.places import ADOPTER, INGEST, groups

AT_REST = "log.compacted"
AT_WORK = tuple(name for name in INGEST if name != AT_REST)


async def die_at_work(city: City, names: tuple[str, ...]) -> None:
    """Clients send to several processes at one door; all die, another answers what is repeated."""
    async with city.clients(city.send):
        async with city.doomed("ingest", names):
            pass
        city.keep(city.start("ingest"))
    try:
        await city.answered_is_stored()
    finally:
        await city.let_go()


async def dies_at_rest(city: City) -> None:
    """Everything is settled, it has been told to stop, and it dies when it makes its log small."""
    async with city.doomed("ingest", [AT_REST]) as (child,):
        async with city.clients(city.send, 1):
            pass
        await city.answered_is_stored()
        child.signal(signal.SIGTERM)
    await city.answered_is_stored()


async def adopters_die(city: City) -> None:
    """Nobody works, and a log is left behind; the workers that find it die, the next one brings it home."""
    await city.unattended()
    child = city.start("ingest")
    async with city.clients(city.send, 1):
        pass
    child.kill()
    async with city.doomed("worker", ADOPTER):
        pass
    await city.calm()
    await city.answered_is_stored()


@pytest.mark.parametrize("names", groups(AT_WORK, 4), ids=" ".join)
def test_ingest_dies(ground: Ground, names: tuple[str, ...]) -> None:
    """Each failpoint fired, and afterwards all that was answered is stored once."""
    ground.run(die_at_work(ground.city, names))


def test_ingest_dies_at_rest(ground: Ground) -> None:
    """The failpoint fired, and afterwards all that was answered is stored once."""
    ground.run(dies_at_rest(ground.city))


def test_adopters_die(ground: Ground) -> None:
    """Each failpoint fired, and afterwards all that was answered is stored once."""
    ground.run(adopters_die(ground.city))
