"""Work that is repeated for watchers takes at most a fixed share of one core, however much there is to count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pace:
    """Says when a piece of work may be done again.

    Args:
        interval_seconds: never more often than this.
        share: of one core; work that took ``t`` seconds rests for ``t / share``.
        longest_seconds: but never for longer than this: what took long may have been waiting for somebody else.
    """

    def __init__(self, *, interval_seconds: float, share: float, longest_seconds: float) -> None:
        self._interval = interval_seconds
        self._share = share
        self._longest = longest_seconds
        self._due = 0.0

    @property
    def due(self) -> bool:
        """Whether the work may be done now."""
        return time.monotonic() >= self._due

    @property
    def pause_seconds(self) -> float:
        """Time until the work may be done again."""
        return max(0.0, self._due - time.monotonic())

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Around the work: its duration decides when it is due again. Work that failed is due after the interval."""
        begun = time.monotonic()
        self._due = begun + self._interval
        yield
        ended = time.monotonic()
        self._due = ended + min(max(self._interval, (ended - begun) / self._share), self._longest)
