"""Which generations of each projection exist, which one readers read, and where one of them had to stop.

One document (``meta``, ``_id: "projections"``) says it, and every change is one replacement of that document, on
condition that nobody changed it meanwhile: the flip of readers to another generation is one of them. A generation's
number is never used again. How far a generation has come stands in the positions, ``projections.NAME_NUMBER``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from pymongo.errors import DuplicateKeyError

from rushlight.errors import Conflict
from rushlight.events.envelope import now
from rushlight.store.database import Database

DOCUMENT = "projections"
# Readers read these before any worker has said so.
FIRST: dict[str, int] = {"money": 1, "behaviour": 1}

State = Literal["building", "live", "retired"]


class Stop(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event of the journal that a generation cannot fold; it stands before it.

    Attributes:
        seq: the event's place in its partition.
    """

    seq: int
    event_id: str
    event_name: str
    aggregate_id: str
    reason: str


class Generation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One set of documents of one projection.

    Attributes:
        version: of the fold that makes them. state: ``building`` beside the live one, ``live``, or ``retired``: its
            documents are being deleted.
        held: it does not go live by itself, only by a command. stopped: by partition, where it cannot go on.
    """

    version: int
    state: State
    started_at: datetime
    held: bool = False
    stopped: dict[str, Stop] = {}


class Known(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is known of all projections' generations.

    Attributes:
        rev: number of changes. live: what readers read. last: the highest number ever given.
        generations: by projection and number.
    """

    rev: int = 0
    live: dict[str, int] = {}
    last: dict[str, int] = {}
    generations: dict[str, dict[str, Generation]] = {}

    def of(self, name: str) -> dict[int, Generation]:
        """A projection's generations by number, the retired ones among them."""
        return {int(number): generation for number, generation in self.generations.get(name, {}).items()}

    def building(self, name: str) -> int | None:
        """The generation that is being built beside the live one; there is at most one."""
        return next((n for n, generation in self.of(name).items() if generation.state == "building"), None)

    def is_given_up(self, name: str, number: int) -> bool:
        """Whether a generation existed and is retired, or forgotten already: an owner may have learnt of it late."""
        found = self.of(name).get(number)
        return found.state == "retired" if found is not None else number <= self.last.get(name, 0)

    def highest_version(self, name: str) -> int:
        """Of the generations that are not retired; 0 when there is none."""
        return max((g.version for g in self.of(name).values() if g.state != "retired"), default=0)


def seq_name(name: str, number: int) -> str:
    """Under which name a generation's seq stands in a position's ``projections``."""
    return f"{name}_{number}"


async def live_generations(database: Database, session: Any = None) -> dict[str, int]:
    """The generation of each projection that readers read.

    Args:
        session: of the snapshot that the figures are read from too, so that one answer is of one generation.
    """
    document = await database.meta.find_one({"_id": DOCUMENT}, {"live": 1}, session=session)
    return {**FIRST, **(document or {}).get("live", {})}


class Generations:
    """Reads and changes the one document."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._meta = database.meta

    async def read(self) -> Known:
        """As a majority has it; empty before the first worker."""
        document = await self._meta.find_one({"_id": DOCUMENT})
        return msgspec.convert(document or {}, Known)

    async def register(self, name: str, version: int) -> Known:
        """Make a projection known: its first generation, or a new one when the fold's version has risen.

        Older code than that of a generation which exists begins nothing.

        Args:
            version: of the fold in this process.
        """
        committed = await self._database.positions.find_one({f"projections.{seq_name(name, 1)}": {"$gt": 0}})

        def change(known: Known) -> Known:
            highest = known.highest_version(name)
            if highest >= version:
                return known
            if not highest and name in FIRST:
                # A database from before generations were written down has the first version's figures.
                first = Generation(version=1 if committed else version, state="live", started_at=now())
                known = _with(known, name, 1, first, live=True)
                return known if first.version == version else _begun(known, name, version, held=False)
            return _begun(known, name, version, held=False)

        return await self._change(change)

    async def begin(self, name: str, version: int) -> tuple[int, bool]:
        """Build a generation beside the live one, held back until `flip`; or go on with the one that is being built.

        Where that one had to stop, it tries again. One of another, older version is given up.

        Returns:
            Its number, and whether it had been begun before.

        Raises:
            Conflict: newer code is building one.
        """
        resumed = False

        def change(known: Known) -> Known:
            nonlocal resumed
            number = known.building(name)
            found = known.of(name)[number] if number is not None else None
            resumed = found is not None and found.version == version
            if number is None or found is None or found.version < version:
                return _begun(known, name, version, held=True)
            if found.version > version:
                raise Conflict(
                    f"newer code (version {found.version} of {name}) is building generation {number};"
                    f" this is version {version}"
                )
            return _with(known, name, number, msgspec.structs.replace(found, held=True, stopped={}))

        known = await self._change(change)
        return known.last[name], resumed

    async def flip(self, name: str, number: int, *, even_held: bool = True) -> bool:
        """Let readers read this generation, and retire the one that they read.

        Args:
            even_held: also one that waits for a command.

        Returns:
            False when it is no longer being built, or waits.
        """
        return await self._set_state(name, number, "live", even_held=even_held)

    async def retire(self, name: str, number: int) -> bool:
        """Give up a generation that is being built; owners delete its documents.

        Returns:
            False when it is no longer being built.
        """
        return await self._set_state(name, number, "retired")

    async def _set_state(self, name: str, number: int, state: State, *, even_held: bool = True) -> bool:
        done = False

        def change(known: Known) -> Known:
            nonlocal done
            done = known.building(name) == number and (even_held or not known.of(name)[number].held)
            if not done:
                return known
            if state == "live" and name in known.live:
                known = _with(known, name, known.live[name], _in_state(known, name, known.live[name], "retired"))
            return _with(known, name, number, _in_state(known, name, number, state), live=state == "live")

        await self._change(change)
        return done

    async def stop(self, name: str, number: int, partition: int, stop: Stop | None) -> None:
        """Note, or take back (None), that a generation cannot go on in one partition."""

        def change(known: Known) -> Known:
            found = known.of(name).get(number)
            if found is None or found.stopped.get(str(partition)) == stop:
                return known
            stopped = {p: each for p, each in found.stopped.items() if p != str(partition)}
            stopped |= {str(partition): stop} if stop is not None else {}
            return _with(known, name, number, msgspec.structs.replace(found, stopped=stopped))

        await self._change(change)

    async def forget(self, name: str, number: int) -> None:
        """Remove a retired generation of which no partition has documents any more."""

        def change(known: Known) -> Known:
            found = known.of(name).get(number)
            if found is None or found.state != "retired":
                return known
            kept = {n: each for n, each in known.generations[name].items() if n != str(number)}
            return msgspec.structs.replace(known, generations=known.generations | {name: kept})

        await self._change(change)

    async def progress(self, name: str, number: int) -> dict[int, tuple[int, int]]:
        """By partition, how far the generation has come and where the journal ends, at one moment."""
        found: dict[int, tuple[int, int]] = {}
        async with self._database.client.start_session(snapshot=True) as session:
            async for position in self._database.positions.find({}, {"seq": 1, "projections": 1}, session=session):
                folded = position.get("projections", {}).get(seq_name(name, number), 0)
                found[position["_id"]] = (folded, position["seq"])
        return found

    async def _change(self, change: Callable[[Known], Known]) -> Known:
        while True:
            before = await self.read()
            after = change(before)
            if after is before:
                return before
            after = msgspec.structs.replace(after, rev=before.rev + 1)
            document = msgspec.to_builtins(after, builtin_types=(datetime,))
            try:
                if before.rev:
                    replaced = await self._meta.replace_one({"_id": DOCUMENT, "rev": before.rev}, document)
                    if replaced.matched_count:
                        return after
                else:
                    await self._meta.insert_one({"_id": DOCUMENT, **document})
                    return after
            except DuplicateKeyError:
                continue


def _with(known: Known, name: str, number: int, generation: Generation, *, live: bool = False) -> Known:
    of_name = known.generations.get(name, {}) | {str(number): generation}
    return msgspec.structs.replace(
        known,
        live=known.live | ({name: number} if live else {}),
        last=known.last | {name: max(number, known.last.get(name, 0))},
        generations=known.generations | {name: of_name},
    )


def _in_state(known: Known, name: str, number: int, state: State) -> Generation:
    return msgspec.structs.replace(known.of(name)[number], state=state, held=False, stopped={})


def _begun(known: Known, name: str, version: int, *, held: bool) -> Known:
    if (older := known.building(name)) is not None:
        known = _with(known, name, older, _in_state(known, name, older, "retired"))
    generation = Generation(version=version, state="building", started_at=now(), held=held)
    return _with(known, name, known.last.get(name, 0) + 1, generation)


def behind(progress: Mapping[int, tuple[int, int]]) -> int:
    """How many events of the journal a generation has still to fold, all partitions together."""
    return sum(end - folded for folded, end in progress.values())
