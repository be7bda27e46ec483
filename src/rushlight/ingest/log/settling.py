"""Finds out which records have their terminal record, and has those sent again that should have one and have not.

A record is sent again when the worker has passed its place (position read first) and it is still unsettled (looked up
second), and at once when its stream turns out to be another one or to end below it. Sending twice is harmless: one
acknowledgement has one origin, and the worker settles an origin once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from pymongo.asynchronous.client_session import AsyncClientSession

from rushlight.errors import Unavailable
from rushlight.ingest.log.sender import Group, Sender
from rushlight.ingest.log.track import Track
from rushlight.ingest.log.wal import WriteAheadLog
from rushlight.store.accounts import counted
from rushlight.store.database import Database
from rushlight.store.journal import Journal
from rushlight.store.positions import Position, Positions

logger = logging.getLogger(__name__)

ORIGIN = "w:"
LOOKUP_RECORDS = 1000
MAX_MARKS_PER_PASS = 4
MAX_CUT_RECORDS = 5000
HEAD_CHECK_SECONDS = 1.0
FIRST_PATIENCE_SECONDS = 0.5
MAX_PATIENCE_SECONDS = 30.0


class Cut(NamedTuple):
    """One moment of a log, by source, and the ledger's counters (by source and column) of that same moment."""

    acknowledged: Counter[str]
    pending: Counter[str]
    terminals: dict[str, dict[str, int]]


class Settling:
    """The tracks of one log's partitions, and what is known to be settled."""

    def __init__(self, log: WriteAheadLog, database: Database, sender: Sender) -> None:
        self._log = log
        self._database = database
        self._journal = Journal(database)
        self._positions = Positions(database)
        self._sender = sender
        self._tracks: dict[int, Track] = {}
        self._heads_at = 0.0
        self._patience_seconds = FIRST_PATIENCE_SECONDS
        self._patient_until = 0.0

    def sent(self, groups: Sequence[Group]) -> None:
        """Note where records came to stand."""
        now = asyncio.get_running_loop().time()
        for partition, end, records, placed in groups:
            self._tracks.setdefault(partition, Track()).sent(end, placed, records, now)

    async def cut(self) -> Cut | None:
        """One moment of the log and of the ledger's counters: nothing lies between what they say.

        What was acknowledged and is open is noted after the snapshot began, so that whatever is settled in it is
        among them; then each open record is looked up in that same snapshot.

        Returns:
            None while too much is open to look at every second.

        Raises:
            PyMongoError: it cannot be found out.
        """
        async with self._database.client.start_session(snapshot=True) as session:
            terminals = await counted(self._database, session)
            acknowledged, pending = Counter(self._log.acknowledged), Counter(self._log.pending)
            if pending.total() > MAX_CUT_RECORDS:
                return None
            numbers = []
            number = self._log.next_open(0)
            while number is not None:
                numbers.append(number)
                number = self._log.next_open(number + 1)
            for start in range(0, len(numbers), LOOKUP_RECORDS):
                pending -= await self._settle_found(numbers[start : start + LOOKUP_RECORDS], session)
        return Cut(acknowledged, pending, terminals)

    async def newest_erasure(self) -> datetime | None:
        """When somebody was erased last; None while nobody was.

        Raises:
            PyMongoError: it cannot be found out.
        """
        positions = await self._positions.all()
        return max((p.erased for p in positions.values() if p.erased is not None), default=None)

    async def _settle_found(self, numbers: Sequence[int], session: AsyncClientSession) -> Counter[str]:
        """Settle the records that have their terminal record in the session's snapshot; their number by source."""
        pairs = [(self._log.segment_of(number).id(number), f"{ORIGIN}{self._log.id}:{number}") for number in numbers]
        found = await self._journal.settled(pairs, session)
        before = Counter(self._log.pending)
        for number, (_, origin) in zip(numbers, pairs, strict=True):
            if origin in found:
                self._log.settle(number)
        return before - self._log.pending

    async def look_up(self, numbers: Sequence[int]) -> list[int]:
        """Settle those of the records that have their terminal record; returns the others.

        Raises:
            PyMongoError: it cannot be found out.
        """
        origin = f"{ORIGIN}{self._log.id}:"
        unsettled: list[int] = []
        for start in range(0, len(numbers), LOOKUP_RECORDS):
            chunk = numbers[start : start + LOOKUP_RECORDS]
            pairs = [(self._log.segment_of(number).id(number), f"{origin}{number}") for number in chunk]
            found = await self._journal.settled(pairs)
            for number, (_, of) in zip(chunk, pairs, strict=True):
                if of in found:
                    self._log.settle(number)
                else:
                    unsettled.append(number)
        return unsettled

    async def go_through(self, *, thorough: bool = False) -> tuple[bool, set[int]]:
        """One pass over what the worker should have settled by now.

        Args:
            thorough: afterwards everything is known that was settled when the pass began, also what lies before a
                mark that the worker has not reached: it may stand still there for long.

        Returns:
            Whether there was anything, and the partitions whose unsettled records are to be sent again.

        Raises:
            PyMongoError: it cannot be found out.
        """
        positions = await self._positions.all()
        late: set[int] = set()
        found = False
        for partition, track in list(self._tracks.items()):  # a partition's first record may be sent meanwhile
            reached = track.reached(positions.get(partition))
            if thorough:
                await self._look_ahead(partition, track, reached, positions.get(partition))
            if count := reached if thorough else min(reached, MAX_MARKS_PER_PASS):
                found = True
                if not await self._settle(partition, track, count):
                    late.add(partition)
        return found, self._overdue(late, positions) | await self._lost()

    async def _look_ahead(self, partition: int, track: Track, reached: int, position: Position | None) -> None:
        """Look up the records of the first mark that is not reached, if the worker has moved since the last look."""
        if position is None or reached == len(track.marks):
            return
        end = track.marks[reached].end
        if track.looked_ahead != (position.n, end):
            begin = track.marks[reached - 1].end if reached else track.checked
            await self.look_up(list(self._log.open_of(partition, begin, end)))
            track.looked_ahead = (position.n, end)

    async def _settle(self, partition: int, track: Track, count: int) -> bool:
        end = track.marks[count - 1].end
        if await self.look_up(list(self._log.open_of(partition, track.checked, end))):
            return False
        track.pass_marks(count)
        return True

    def _overdue(self, late: set[int], positions: dict[int, Position]) -> set[int]:
        """What the worker has passed without settling it; more and more rarely, if sending again changes nothing."""
        now = asyncio.get_running_loop().time()
        if not late:
            self._patience_seconds = FIRST_PATIENCE_SECONDS
        elif now >= self._patient_until:
            self._patient_until = now + self._patience_seconds
            self._patience_seconds = min(2 * self._patience_seconds, MAX_PATIENCE_SECONDS)
            entries = {partition: positions[partition].entry for partition in sorted(late)}
            logger.warning("log %s: passed unsettled and sent again, by partition: %s", self._log.id, entries)
            self._forget(late)
            return late
        return set()

    async def _lost(self) -> set[int]:
        """The partitions whose streams no longer hold what was sent; asked of Redis only about what waits for long."""
        now = asyncio.get_running_loop().time()
        waiting = [p for p, track in self._tracks.items() if (track.waiting_since() or now) < now - HEAD_CHECK_SECONDS]
        if not waiting or now < self._heads_at + HEAD_CHECK_SECONDS:
            return set()
        self._heads_at = now
        try:
            heads = await self._sender.heads(waiting)
        except Unavailable:
            return set()  # nothing can be sent either; asked again when Redis answers
        lost = {partition for partition in waiting if self._tracks[partition].is_lost(heads[partition])}
        if lost:
            logger.warning("log %s: streams of partitions %s were lost, sending again", self._log.id, sorted(lost))
            self._forget(lost)
        return lost

    def _forget(self, partitions: set[int]) -> None:
        for partition in partitions:
            self._tracks[partition].forget()
