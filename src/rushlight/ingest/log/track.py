"""Which records of one partition are in the stream, and how far the worker has to come before one may ask for them."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from rushlight.bus.appender import Placed
from rushlight.bus.stream import entry_before
from rushlight.store.positions import Position

MERGE_SECONDS = 0.1
MAX_MERGED_RECORDS = 1000
MANY_MARKS = 64


class Mark(NamedTuple):
    """Records of a partition below number ``end`` stand in the stream up to ``placed``."""

    end: int
    placed: Placed
    records: int
    sent_at: float


class Track:
    """The marks of one partition, the oldest first.

    Attributes:
        checked: records below this number were looked up after the worker had passed them, or are being sent again.
        looked_ahead: the worker's commit, and the end of a mark that it had not reached, at the last look before it.
    """

    def __init__(self) -> None:
        self.marks: deque[Mark] = deque()
        self.checked = 0
        self.looked_ahead = (-1, -1)

    def sent(self, end: int, placed: Placed, records: int, now: float) -> None:
        """Note that records below ``end`` have their places; marks that are close together, or many, become one."""
        last = self.marks[-1] if self.marks else None
        if (
            last
            and last.placed.generation == placed.generation
            and (now - last.sent_at < MERGE_SECONDS or len(self.marks) > MANY_MARKS)
            and last.records + records <= MAX_MERGED_RECORDS
        ):
            self.marks[-1] = Mark(end, placed, last.records + records, last.sent_at)
        else:
            self.marks.append(Mark(end, placed, records, now))

    def reached(self, position: Position | None) -> int:
        """How many of the marks the position has reached."""
        count = 0
        for mark in self.marks:
            if position is None or mark.placed.generation != position.generation:
                break
            if entry_before(position.entry, mark.placed.entry):
                break
            count += 1
        return count

    def pass_marks(self, count: int) -> None:
        """Forget marks whose records have been looked up."""
        for _ in range(count):
            self.checked = self.marks.popleft().end

    def is_lost(self, head: Placed) -> bool:
        """Whether records of ours are no longer in the stream: it is another one, or it ends below a mark."""
        return any(
            mark.placed.generation != head.generation or entry_before(head.entry, mark.placed.entry)
            for mark in self.marks
        )

    def forget(self) -> None:
        """Everything unsettled of this partition is sent again; no mark counts any more."""
        self.marks.clear()
        self.checked = 0

    def waiting_since(self) -> float | None:
        """When the oldest mark was sent, or None."""
        return self.marks[0].sent_at if self.marks else None
