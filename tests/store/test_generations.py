"""One document says which generations exist; every change of it happens once, whoever else changes it."""

from __future__ import annotations

import asyncio

import pytest

from rushlight.errors import Conflict
from rushlight.store.database import Database
from rushlight.store.generations import Generations, Known, Stop, live_generations

STOP = Stop(seq=3, event_id="e", event_name="n", aggregate_id="a", reason="r")


def states(known: Known, name: str) -> dict[int, tuple[int, str]]:
    """Version and state of each generation."""
    return {number: (each.version, each.state) for number, each in known.of(name).items()}


async def test_the_first_ones(database: Database) -> None:
    """Ours are live from the start; one of a user's is built first; whoever registers again changes nothing."""
    generations = Generations(database)
    assert await live_generations(database) == {"money": 1, "behaviour": 1}
    known = await generations.register("money", 3)
    assert states(known, "money") == {1: (3, "live")}
    known = await generations.register("sales", 1)
    assert states(known, "sales") == {1: (1, "building")}
    assert await generations.register("sales", 1) == await generations.read() == known
    assert "sales" not in await live_generations(database)
    assert await generations.flip("sales", 1)
    assert await live_generations(database) == {"money": 1, "behaviour": 1, "sales": 1}
    assert not await generations.flip("sales", 1)


async def test_a_database_from_before(database: Database) -> None:
    """Figures that are there without a word about their generation are those of the first version."""
    await database.positions.insert_one({"_id": 2, "epoch": 1, "n": 1, "seq": 4, "projections": {"money_1": 4}})
    known = await Generations(database).register("money", 2)
    assert states(known, "money") == {1: (1, "live"), 2: (2, "building")}


async def test_versions(database: Database) -> None:
    """A higher version begins a generation and replaces one that was not finished; a lower one begins nothing."""
    generations = Generations(database)
    await generations.register("money", 2)
    await generations.register("money", 3)
    known = await generations.register("money", 5)
    assert states(known, "money") == {1: (2, "live"), 2: (3, "retired"), 3: (5, "building")}
    assert states(await generations.register("money", 4), "money") == states(known, "money")
    with pytest.raises(Conflict, match=r"newer code \(version 5"):
        await generations.begin("money", 4)
    assert await generations.begin("money", 5) == (3, True)
    assert await generations.flip("money", 3)
    known = await generations.read()
    assert states(known, "money") == {1: (2, "retired"), 2: (3, "retired"), 3: (5, "live")}
    assert [known.is_given_up("money", number) for number in (1, 2, 3, 4)] == [True, True, False, False]
    await generations.forget("money", 1)
    await generations.forget("money", 3)
    known = await generations.read()
    assert sorted(known.of("money")) == [2, 3]
    assert known.is_given_up("money", 1)
    # A number is never used again.
    assert await generations.begin("money", 5) == (4, False)


async def test_a_stop_is_taken_back_by_trying_again(database: Database) -> None:
    """Where a generation stopped is noted by partition until somebody begins again."""
    generations = Generations(database)
    await generations.register("money", 1)
    number, _ = await generations.begin("money", 1)
    await generations.stop("money", number, 3, STOP)
    await generations.stop("money", number, 5, STOP)
    await generations.stop("money", number, 5, None)
    assert (await generations.read()).of("money")[number].stopped == {"3": STOP}
    await generations.begin("money", 1)
    assert (await generations.read()).of("money")[number].stopped == {}


async def test_many_at_once(database: Database) -> None:
    """Workers that start together and change the document at the same time make one generation of each projection."""
    names = [f"own_{number}" for number in range(6)]
    some = [Generations(database) for _ in range(5)]
    await asyncio.gather(*(each.register(name, 1) for each in some for name in names))
    flipped = await asyncio.gather(*(each.flip(name, 1) for each in some for name in names))
    assert sum(flipped) == len(names)
    known = await some[0].read()
    assert known.last == known.live == dict.fromkeys(names, 1)
    assert known.rev == 2 * len(names)
