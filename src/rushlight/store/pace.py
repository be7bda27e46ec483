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
    """

    def __init__(self, *, interval_seconds: float, share: float) -> None:
        self._interval = interval_seconds
        self._share = share
        self._due = 0.0

    @property
    def due(self) -> bool:
        """Whether the work may be done now."""
        return time.monotonic() >= self._due

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Around the work: its duration decides when it is due again, also when it fails."""
        begun = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            self._due = ended + max(self._interval, (ended - begun) / self._share)
