"""Builds a projection anew beside the live one: workers do it, this asks for it, watches, compares and flips."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import msgspec
from pymongo.errors import DuplicateKeyError, PyMongoError

from rushlight.engine.compare import Comparison, compare
from rushlight.engine.place import is_dead, process_name
from rushlight.errors import Conflict
from rushlight.projections.projection import Projection
from rushlight.store.clock import server_time
from rushlight.store.database import Database
from rushlight.store.generations import Generations, Stop, behind

LOOK_SECONDS = 0.25
HEARTBEAT_SECONDS = 2.0
HEARTBEAT_TTL = timedelta(seconds=15)
# Without a step for so long, the reader is told what that may mean.
STANDSTILL_SECONDS = 15.0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a generation has come, in events of the journal, and whether it has stood still for long."""

    folded: int
    total: int
    standstill: bool = False


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of a rebuild.

    Attributes:
        version: of the fold. resumed: the generation had been begun before, and ``events`` and ``seconds`` count from
            there. flipped: readers read it now. comparison: with the live generation, if that was asked for.
    """

    projection: str
    generation: int
    version: int
    resumed: bool
    events: int
    seconds: float
    flipped: bool
    comparison: Comparison | None = None

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds if self.seconds else 0.0


class Stopped(Conflict):
    """The generation cannot fold an event, and does not skip it."""

    def __init__(self, name: str, partition: int, stop: Stop) -> None:
        super().__init__(
            f"{name} stops before event {stop.event_id} ({stop.event_name} of {stop.aggregate_id}, place {stop.seq} of"
            f" partition {partition}), which its fold cannot take: {stop.reason}. Nothing was skipped, and readers read"
            " what they read before. Mend the fold, restart the workers and run this again; or give the new generation"
            " up with --discard",
            code="stopped",
        )


async def rebuild(
    database: Database,
    projection: Projection,
    *,
    look: bool = False,
    show: Callable[[Progress], None] = lambda _: None,
) -> Rebuilt:
    """Build a generation for this code's fold beside the live one, and let readers read it when it is complete.

    One that was begun before and not finished is gone on with.

    Args:
        look: compare it with the live one and do not flip. When nothing differs the new generation is given up again;
            else it is kept, up to date and unread.
        show: told of progress.

    Raises:
        Conflict: somebody else is at it, or newer code. Stopped: an event of the journal cannot be folded.
    """
    name = projection.name
    async with _alone(database, name) as still_alone:
        generations = Generations(database)
        number, resumed = await generations.begin(name, projection.version)
        began, at_first = time.monotonic(), 0
        first = True
        last, moved = 0, began
        while True:
            await still_alone()
            progress = await generations.progress(name, number)
            folded = sum(seq for seq, _ in progress.values())
            at_first, first = (folded if first else at_first), False
            last, moved = (folded, time.monotonic()) if folded != last else (last, moved)
            show(
                Progress(
                    folded=folded,
                    total=folded + behind(progress),
                    standstill=time.monotonic() - moved > STANDSTILL_SECONDS,
                )
            )
            if not behind(progress):
                break
            await _raise_if_stopped(generations, name, number)
            await asyncio.sleep(LOOK_SECONDS)
        seconds = time.monotonic() - began
        comparison, flipped = await _finish(generations, database, name, number, look=look)
    return Rebuilt(
        projection=name,
        generation=number,
        version=projection.version,
        resumed=resumed,
        events=folded - at_first,
        seconds=seconds,
        flipped=flipped,
        comparison=comparison,
    )


async def discard(database: Database, name: str) -> int | None:
    """Give up the generation that is being built.

    Returns:
        Its number, or None when there is none.

    Raises:
        Conflict: somebody is at it.
    """
    async with _alone(database, name):
        generations = Generations(database)
        number = (await generations.read()).building(name)
        return number if number is not None and await generations.retire(name, number) else None


async def _finish(
    generations: Generations, database: Database, name: str, number: int, *, look: bool
) -> tuple[Comparison | None, bool]:
    if not look:
        return None, await generations.flip(name, number)
    live = (await generations.read()).live.get(name)
    if live is None:
        raise Conflict(f"{name} has no live generation yet that a new one could be compared with")
    comparison = await compare(database, name, live, number)
    if comparison.is_equal:
        await generations.retire(name, number)
    return comparison, False


async def _raise_if_stopped(generations: Generations, name: str, number: int) -> None:
    found = (await generations.read()).of(name).get(number)
    if found is None or found.state != "building":
        raise Conflict(f"generation {number} of {name} was given up meanwhile")
    for partition, stop in sorted(found.stopped.items()):
        raise Stopped(name, int(partition), stop)


@asynccontextmanager
async def _alone(database: Database, name: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """One rebuild of a projection at a time; one whose process is gone does not count."""
    mark, me = f"rebuild:{name}", process_name()
    present = await server_time(database)
    found = await database.meta.find_one({"_id": mark}) or {}
    if found and is_dead(found["who"]):
        await database.meta.delete_one({"_id": mark, "who": found["who"]})
    try:
        free = {"_id": mark, "at": {"$lt": present - HEARTBEAT_TTL}}
        await database.meta.update_one(free, {"$set": {"who": me, "at": present}}, upsert=True)
    except DuplicateKeyError as error:
        who = f"process {found['who'].split(':')[1]} of {found['who'].split('/')[0]}" if found else "another process"
        raise Conflict(f"{who} is rebuilding {name} already; one at a time", code="busy") from error
    beaten = time.monotonic()

    async def still_alone() -> None:
        nonlocal beaten
        if time.monotonic() - beaten > HEARTBEAT_SECONDS:
            beaten = time.monotonic()
            mine = {"_id": mark, "who": me}
            beat = await database.meta.update_one(mine, {"$set": {"at": await server_time(database)}})
            if not beat.matched_count:
                raise Conflict(f"another process has taken the rebuild of {name} over", code="busy")

    try:
        yield still_alone
    finally:
        with suppress(PyMongoError):
            await database.meta.delete_one({"_id": mark, "who": me})
