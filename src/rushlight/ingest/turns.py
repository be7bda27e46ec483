"""Long work in slices: between two of them the event loop answers everybody else."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator

SLICE_SECONDS = 0.001
# Work that has begun holds more memory than work that waits.
MAX_BEGUN = 4

Work = Iterator[None]
"""What is to be done, by small steps; it handles its own errors."""


class Turns:
    """Owners take turns, a slice each; of what one owner wants, one thing after another is done.

    Args:
        seconds: of a slice. clock: seconds, monotonic.
    """

    def __init__(self, seconds: float = SLICE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._begun: OrderedDict[Hashable, Work] = OrderedDict()
        self._waiting: OrderedDict[Hashable, deque[Work]] = OrderedDict()
        self._is_due = False

    def add(self, owner: Hashable, work: Work) -> None:
        """Do this as well, when it is its turn; nothing of it is done before this returns."""
        if owner in self._begun or len(self._begun) >= MAX_BEGUN:
            self._waiting.setdefault(owner, deque()).append(work)
        else:
            self._begun[owner] = work
        self._come_back()

    def _come_back(self) -> None:
        if not self._is_due and self._begun:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        owner, work = next(iter(self._begun.items()))
        ended = True
        try:
            ended = self._slice(work)
        finally:
            if ended:
                del self._begun[owner]
                self._begin_next(owner)
            else:
                self._begun.move_to_end(owner)
            self._is_due = False
            self._come_back()

    def _slice(self, work: Work) -> bool:
        """Go on with it; whether it has come to its end."""
        end = self._clock() + self._seconds
        return all(self._clock() < end for _ in work)

    def _begin_next(self, served: Hashable) -> None:
        if served in self._waiting:
            self._waiting.move_to_end(served)
        owner = next((owner for owner in self._waiting if owner not in self._begun), None)
        if owner is not None:
            works = self._waiting[owner]
            self._begun[owner] = works.popleft()
            if not works:
                del self._waiting[owner]
