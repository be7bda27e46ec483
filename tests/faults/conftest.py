"""One installation, and one oracle's log, for all tests of a run: each test heals it and leaves it settled.

And for failpoints a city on the session's servers, for all tests of a file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushlight.local.instance import Instance
from tests.faults.city import City, Ground
from tests.faults.world import World

WAL_BYTES = 8 << 20


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    opened = World(tmp_path_factory.mktemp("world"), wal_bytes=WAL_BYTES)
    yield opened
    opened.close()


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    """The installation, healed."""
    _world.heal()
    yield _world
    _world.heal()


@pytest.fixture(scope="session")
def diary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was sent to it and answered by it since it was made."""
    return tmp_path_factory.mktemp("oracle") / "diary"


@pytest.fixture(scope="module")
def ground(servers: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A city on the session's servers, which nobody else uses meanwhile."""
    with asyncio.Runner() as runner:
        city = runner.run(City.found(servers, tmp_path_factory.mktemp("city")))
        try:
            yield Ground(runner, city)
        finally:
            runner.run(city.leave())
