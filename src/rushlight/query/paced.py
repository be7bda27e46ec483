"""A query that watchers ask for at every frame, answered anew only as often, and only for as long, as may be."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import pymongo
from pymongo.errors import PyMongoError

from rushlight.query.view import View
from rushlight.store.pace import Pace

log = logging.getLogger(__name__)

LONGEST_SECONDS = 15.0
BUDGET_SECONDS = 2.0

T = TypeVar("T")


class PacedQuery(Generic[T]):
    """Remembers the last answer until the query is due again, and when it takes too long.

    Args:
        otherwise: the answer as long as there is none. interval_seconds: at least this long between two.
        share: of one core that it may take.
    """

    def __init__(
        self, query: Callable[[View], Awaitable[T]], otherwise: T, *, interval_seconds: float, share: float
    ) -> None:
        self._query = query
        self._pace = Pace(interval_seconds=interval_seconds, share=share, longest_seconds=LONGEST_SECONDS)
        self._answer = otherwise
        self._late = False

    async def read(self, view: View) -> T:
        """The latest answer.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        if self._pace.due:
            with self._pace.measured():
                self._answer = await self._within_budget(view)
        return self._answer

    async def _within_budget(self, view: View) -> T:
        try:
            with pymongo.timeout(BUDGET_SECONDS):
                answer = await self._query(view)
        except PyMongoError as error:
            if not error.timeout:
                raise
            if not self._late:
                log.warning("%s takes longer than %g s; showing the last answer", self._query.__name__, BUDGET_SECONDS)
            self._late = True
            return self._answer
        self._late = False
        return answer
