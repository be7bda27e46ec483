"""Whatever a log went through, and wherever the end came: what was acknowledged and not settled is found, once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.ingest.log import disk, wal
from rushlight.ingest.log.segment import Records
from rushlight.ingest.log.wal import WriteAheadLog
from tests.ingest.test_frames import MEMORY
from tests.ingest.test_wal import CAP_BYTES, RECEIVED_MS, entry, largest_file, number_as_id, open_numbers

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 6)),
        st.tuples(st.just("refuse"), st.integers(0, 2000)),
        st.tuples(st.just("settle"), st.integers(0, 10)),
        st.tuples(st.just("compact"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
        st.tuples(st.just("crash"), st.integers(0, 2000)),
    ),
    max_size=30,
)


class History:
    """A log and what a careful caller knows of it."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._copies = 0
        self.log = WriteAheadLog.create(place, "db", cap_bytes=CAP_BYTES)
        self.open: set[int] = set()
        self.done: set[int] = set()

    async def put(self, count: int) -> None:
        """Write records in several calls at once."""
        calls = [self._call() for _ in range(count)]
        await asyncio.gather(*(call.future for call in calls))
        self.open |= {call.first for call in calls}

    async def refuse(self, limit: int) -> None:
        """The same while the disk takes no file beyond ``limit`` bytes: what was written counts, nothing else."""
        with largest_file(limit):
            calls = [self._call() for _ in range(3)]
            results = await asyncio.gather(*(call.future for call in calls), return_exceptions=True)
        self.open |= {call.first for call, result in zip(calls, results, strict=True) if result is None}

    async def settle(self, count: int) -> None:
        """Settle the oldest and let go of what can go."""
        for number in sorted(self.open)[:count]:
            self.log.settle(number)
            self.open.discard(number)
            self.done.add(number)
        self.log.drop_settled()

    async def compact(self, _: int) -> None:
        """Begin a new segment."""
        await self.log.compact()

    async def reopen(self, _: int) -> None:
        """Leave it in good order, and be the next holder."""
        await self.log.close()
        self._take_over(self.log.directory)
        assert self._found() == self.open

    async def crash(self, kept: int) -> None:
        """The machine stops in mid-write: ``kept`` bytes of what was not acknowledged yet are on the disk."""
        durable = {segment.path.name: segment.size for segment in self.log.segments}
        before = self.log.next_number
        calls = [self._call() for _ in range(3)]
        await asyncio.sleep(0)
        await self.log.close()
        acknowledged = {call.first for call in calls if not call.future.done() or call.future.exception() is None}
        self._copies += 1
        copy = self._place / f"copy {self._copies}"
        shutil.copytree(self.log.directory, copy)
        for path in copy.glob("*.wal"):
            with path.open("rb+") as file:
                file.truncate(durable.get(path.name, 0) + kept)
        self._take_over(copy)
        # None of the three was told to anybody, so each may be there or not; but nothing else is.
        found = self._found()
        assert self.open <= found <= self.open | acknowledged
        assert self.log.next_number <= before + 3
        self.open = found

    def _call(self) -> wal.Call:
        return self.log.put(Records.of([entry(self.log, number_as_id(self.log.next_number), size=200)]), RECEIVED_MS)

    def _take_over(self, directory: Path) -> None:
        held = disk.lock(directory)
        assert held is not None
        self.log = WriteAheadLog.take_over(directory, held, cap_bytes=CAP_BYTES, partitions=8)

    def _found(self) -> set[int]:
        """Unsettled records; those that were settled before and are found again are settled as a look-up would."""
        assert not self.log.damage
        found = open_numbers(self.log)
        assert len(found) == len(set(found))
        for number in self.done.intersection(found):
            self.log.settle(number)
        return set(open_numbers(self.log))


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_what_was_acknowledged_survives(steps: list[tuple[str, int]]) -> None:
    """Any sequence of writes, refused writes, settling, new segments, holders and crashes."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY) as place:
            history = History(Path(place))
            for step, argument in steps:
                act: Callable[[int], Any] = getattr(history, step)
                await act(argument)
            await history.log.close()

    asyncio.run(run())
