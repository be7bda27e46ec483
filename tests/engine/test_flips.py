"""What an owner knows of generations may be a moment old; it finds its way to what is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rushlight.engine.commit import Committer
from rushlight.engine.generations import Catalogue
from rushlight.engine.lanes import Lanes
from rushlight.events.envelope import Envelope
from rushlight.projections.projection import Projection
from rushlight.projections.state import State
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.generations import Generations, Known, seq_name
from rushlight.store.leases import Leases
from rushlight.store.positions import Positions
from tests.engine.audit import settled
from tests.engine.shop import Shop
from tests.engine.test_generations import OURS, working


class Moody(Projection):
    """Refuses everything for as long as it is told to."""

    name = "test_moody"
    refuses = True

    def fold(self, state: State, event: Envelope) -> None:
        """Count, or refuse."""
        if self.refuses:
            raise ValueError("not now")
        state.add(f"{event.shop}/all", {"n": 1})


async def test_what_stopped_before_it_was_known_to_be_live_is_tried_again(database: Database, brisk: Settings) -> None:
    """Its owner took it for one that is being built; when it learns better it goes on, and the stop is taken back."""
    shop = Shop(database, None, seed=61)
    async with working(brisk):
        await shop.place(8)
        await settled(database, shop.acknowledged)
    moody, generations = Moody(), Generations(database)
    await database.prepare_projections([moody.name])
    known = await generations.register(moody.name, 1)
    partition = (await database.journal.find_one({}) or {})["p"]
    epoch = (await database.positions.find_one({"_id": partition}) or {})["epoch"] + 1
    position = await Positions(database).claim(partition, epoch)
    session = database.client.start_session()
    committer = Committer(database, session)
    lanes = Lanes(database, {moody.name: moody}, generations, asyncio.Semaphore(1), position)
    lanes.learn(known)
    assert await generations.flip(moody.name, 1)
    while lanes.has_work(position.seq):
        position = await lanes.advance(position, committer)
    assert str(partition) in (await generations.read()).of(moody.name)[1].stopped
    moody.refuses = False
    lanes.learn(await generations.read())
    assert lanes.has_work(position.seq)
    while lanes.has_work(position.seq):
        position = await lanes.advance(position, committer)
    found = await Positions(database).read(partition)
    assert found is not None
    assert found.projections[seq_name(moody.name, 1)] == found.seq
    assert not (await generations.read()).of(moody.name)[1].stopped
    await Leases(database, "", 1.0).end(session.session_id["id"].as_uuid())
    await session.end_session()


async def test_an_older_answer_overwrites_no_newer(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks look at once, and the answer to the first question comes last."""
    catalogue = Catalogue(database, {each.name: each for each in OURS})
    await catalogue._look()
    generations = Generations(database)
    original, answered, go_on = Generations.read, asyncio.Event(), asyncio.Event()

    async def slow(self: Any) -> Known:
        known = await original(self)
        if self is catalogue._generations and not answered.is_set():
            answered.set()
            await go_on.wait()
        return known

    monkeypatch.setattr(Generations, "read", slow)
    first = asyncio.create_task(catalogue._look())
    await answered.wait()
    await generations.begin("money", 1)
    second = asyncio.create_task(catalogue._look())
    await asyncio.wait({second}, timeout=0.5)
    go_on.set()
    await asyncio.gather(first, second)
    assert catalogue._known is not None
    assert catalogue._known.rev == (await original(generations)).rev
