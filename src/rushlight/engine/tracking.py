"""What a reaction has read of one partition and how far it is with it; nothing here touches a database."""

from __future__ import annotations

from collections import deque

from rushlight.events.envelope import Envelope

Lane = deque[tuple[int, Envelope]]
"""Events of one aggregate with their places, in order."""


class Track:
    """What was read, in the order of the journal, with what is done: the position is before the first that is not."""

    def __init__(self, seq: int) -> None:
        self._open: deque[int] = deque()
        self._done: set[int] = set()
        self.read = seq

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, seq: int) -> None:
        """An event was read that is to be handled."""
        self._open.append(seq)

    def done(self, seq: int) -> None:
        """It is handled, or a document covers it."""
        self._done.add(seq)
        while self._open and self._open[0] in self._done:
            self._done.discard(self._open.popleft())

    @property
    def seq(self) -> int:
        """All up to here is done."""
        return self._open[0] - 1 if self._open else self.read


class Held:
    """A held aggregate.

    Attributes:
        passed: place of the last of its events that the position may go past, as its document covers them.
        busy: somebody is at it. leaving: it has caught up and its document goes; what comes now waits here.
    """

    def __init__(self, state: str, passed: int = 0) -> None:
        self.state = state
        self.passed = passed
        self.busy = False
        self.leaving: Lane | None = None
