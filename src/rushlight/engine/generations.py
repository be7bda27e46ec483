"""What one worker folds: which generation of each projection, and for each partition how far it has come.

A generation of the version that this code folds moves with every commit from where its seq has reached the journal's
end; until then it is caught up from the journal, step by step, under the same fence. Generations of other versions are
left alone: their seq stays behind until an owner with their code has the partition.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from weakref import WeakSet

from pymongo.errors import PyMongoError

from rushlight.engine.lanes import Lanes
from rushlight.projections.projection import Projection
from rushlight.store.database import Database
from rushlight.store.generations import Generations, Known, behind, seq_name
from rushlight.store.positions import Position

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# While one waits for MongoDB another folds; more would only be more changes uncommitted at once.
MAX_REPLAYS_AT_ONCE = 2


class Catalogue:
    """Knows the generations for all partitions of one worker, and moves readers on to those that are complete."""

    def __init__(self, database: Database, projections: Mapping[str, Projection]) -> None:
        self._database = database
        self._projections = dict(projections)
        self._generations = Generations(database)
        self._lanes: WeakSet[Lanes] = WeakSet()
        self._turn = asyncio.Semaphore(MAX_REPLAYS_AT_ONCE)
        self._known: Known | None = None
        self._looking = asyncio.Lock()

    async def lanes(self, position: Position) -> Lanes:
        """What the owner of a partition folds, as of now and kept up to date.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        known = await self._look()
        lanes = Lanes(self._database, self._projections, self._generations, self._turn, position)
        lanes.learn(known)
        self._lanes.add(lanes)
        return lanes

    async def run(self) -> None:
        """Look for changes, for as long as this is not cancelled."""
        while True:
            with suppress(PyMongoError):  # whoever works with MongoDB says so
                await self._look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> Known:
        # One after another: an answer that was given earlier must not be learnt later. (By its rev alone one could not
        # tell it from that of a database which was restored.)
        async with self._looking:
            return await self._looked()

    async def _looked(self) -> Known:
        if self._known is None:
            await self._database.prepare_projections(list(self._projections))
            for name, projection in self._projections.items():
                await self._generations.register(name, projection.version)
        known = await self._generations.read()
        if await self._tidied(known):
            known = await self._generations.read()
        if self._known is None or known.rev != self._known.rev:
            self._known = known
            for lanes in self._lanes:
                lanes.learn(known)
        return known

    async def _tidied(self, known: Known) -> bool:
        """Flip to what is complete, forget what is gone; whether anything changed."""
        changed = False
        for name in known.generations:
            for number, generation in known.of(name).items():
                if generation.state == "building" and not generation.held and name in self._projections:
                    done = not behind(await self._generations.progress(name, number))
                    if done and await self._generations.flip(name, number, even_held=False):
                        log.info("readers read generation %d of %s (version %d)", number, name, generation.version)
                        changed = True
                elif generation.state == "retired":
                    left = await self._database.positions.find_one(
                        {f"projections.{seq_name(name, number)}": {"$exists": True}}, {"_id": 1}
                    )
                    if left is None:
                        await self._generations.forget(name, number)
                        changed = True
        return changed
