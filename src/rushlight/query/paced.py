"""A query that watchers ask for at every frame, answered anew only as often as its cost allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from rushlight.query.view import View
from rushlight.store.pace import Pace

LONGEST_SECONDS = 15.0

T = TypeVar("T")


class PacedQuery(Generic[T]):
    """Remembers the last answer until the query is due again.

    Args:
        interval_seconds: at least this long between two. share: of one core that it may take.
    """

    def __init__(self, query: Callable[[View], Awaitable[T]], *, interval_seconds: float, share: float) -> None:
        self._query = query
        self._pace = Pace(interval_seconds=interval_seconds, share=share, longest_seconds=LONGEST_SECONDS)
        self._answers: list[T] = []

    async def read(self, view: View) -> T:
        """The latest answer."""
        if not self._answers or self._pace.due:
            with self._pace.measured():
                self._answers = [await self._query(view)]
        return self._answers[0]
