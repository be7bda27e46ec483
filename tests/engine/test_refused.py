"""A live fold that refuses much costs its partition no more than a few passes, and parks what it would one by one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from rushlight.bus.appender import Appender
from rushlight.engine.batch import aggregate_of
from rushlight.engine.commit import Committer
from rushlight.engine.folding import Folder, Poison
from rushlight.engine.lanes import Lanes
from rushlight.events.envelope import Envelope, encode
from rushlight.events.ids import partition_of
from rushlight.projections.projection import Projection
from rushlight.projections.state import State
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.generations import Generations
from rushlight.store.positions import Position, Positions
from tests.engine.audit import eventually
from tests.engine.shop import Shop, appended
from tests.engine.test_generations import OURS, working


class Picky(Projection):
    """Counts in a document that it reads, and refuses by what stands there; it has changed much by then."""

    name = "test_picky"

    def keys(self, event: Envelope) -> Sequence[str]:
        """Of the visitor, of all; none can be told of some visitors."""
        if event.aggregate_id == "v-3":
            raise KeyError("no such visitor")
        return [f"{event.shop}/of/{event.aggregate_id}", f"{event.shop}/all"]

    def fold(self, state: State, event: Envelope) -> None:
        """Refuse what comes as a visitor's fourth, and every seventh of what it accepts or would have."""
        one, every = (state.document(key) for key in self.keys(event))
        for document in (one, every):
            document.setdefault("of", {})["n"] = document.get("of", {}).get("n", 0) + 1
        state.add(f"{event.shop}/sum", {"n": 1 << 59})
        state.high(f"{event.shop}/sum", "last", event.id)
        if one["of"]["n"] == 4 or (every["of"]["n"] + len(event.aggregate_id)) % 7 == 0:
            raise ValueError("a fold may not like what it sees")


class Odd(Projection):
    """Refuses by the event alone."""

    name = "test_odd"

    def fold(self, state: State, event: Envelope) -> None:
        """Change much, then refuse."""
        state.put(f"{event.shop}/last", {"visitor": event.aggregate_id})
        if int(event.origin.rpartition(":")[2]) % 5 == 0:
            raise ValueError("odd")


class Refusing(Projection):
    """Refuses everything."""

    name = "test_refusing"

    def fold(self, state: State, event: Envelope) -> None:
        """Change much, then refuse."""
        state.add(f"{event.shop}/{event.aggregate_id}", {"n": 1})
        raise ValueError("none of this")


async def one_by_one(lanes: Lanes, events: list[Envelope], position: Position) -> set[str]:
    """The ids of what is parked when the first that fails is, and all is folded again."""
    left = list(events)
    while True:
        try:
            await lanes.fold(left, position)
        except Poison as poison:
            first = next(index for index, event in enumerate(left) if event is poison.event)
            spoilt = aggregate_of(poison.event)
            left = [event for at, event in enumerate(left) if at < first or aggregate_of(event) != spoilt]
        else:
            return {event.id for event in events} - {event.id for event in left}


@pytest.mark.parametrize("projection", [Picky(), Odd(), Refusing()])
async def test_one_pass_finds_what_one_by_one_finds(database: Database, projection: Projection) -> None:
    """Also where what is refused depends on what was folded before, and where a sum outgrows what can be stored."""
    chance = random.Random(3)
    shop = Shop(database, None, seed=3)
    events = [shop.seen(f"v-{chance.randrange(12)}") for _ in range(60)]
    generations = Generations(database)
    await database.prepare_projections([projection.name])
    await generations.register(projection.name, 1)
    await generations.flip(projection.name, 1)
    position = await Positions(database).claim(0, 1)
    lanes = Lanes(database, {projection.name: projection}, generations, asyncio.Semaphore(1), position)
    lanes.learn(await generations.read())
    found = await lanes.refused(events, position)
    spoilt: set[tuple[str, str]] = set()
    parked = set()
    for index, event in enumerate(events):
        if index in found:
            spoilt.add(aggregate_of(event))
        if aggregate_of(event) in spoilt:
            parked.add(event.id)
    assert parked == await one_by_one(lanes, events, position)
    assert 0 < len(found) < len(events)


async def test_a_fold_that_refuses_everything(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch is loaded and folded a few times, not once for each of its events; all of it is parked in sight."""
    calls: Counter[str] = Counter()

    def counted(name: str, owner: Any, method: str) -> None:
        original = getattr(owner, method)

        async def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return await original(*args, **kwargs)

        monkeypatch.setattr(owner, method, call)

    counted("load", Folder, "_load")
    counted("fold", Lanes, "fold")
    counted("commit", Committer, "commit")
    shop = Shop(database, appender)
    async with working(brisk, *OURS, Refusing()):
        await eventually(lambda: _is_live(database, Refusing.name))
        calls.clear()
        visitors = [name for n in range(2000) if partition_of("default", name := f"v-{n}", 8) == 3]
        events = [shop.seen(visitor) for visitor in visitors]
        shop.acknowledged += events
        await asyncio.gather(*(appended(appender, 3, encode(event)) for event in events))

        async def parked() -> bool:
            return await database.outcomes.count_documents({"kind": "parked"}) == len(events)

        await eventually(parked)
    assert len(events) > 200
    assert calls["fold"] <= 2 * calls["commit"] + 50
    assert calls["fold"] < len(events)
    record = await database.outcomes.find_one({"kind": "parked"})
    assert record is not None
    assert record["reason"] == "ValueError: none of this"
    assert not await database.journal.find_one({})


async def _is_live(database: Database, name: str) -> bool:
    return (await Generations(database).read()).live.get(name) == 1
