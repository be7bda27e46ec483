"""The reading side of one process: opens views, each one snapshot, within a deadline and a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import pymongo
from pymongo.errors import ExecutionTimeout, NetworkTimeout, OperationFailure, PyMongoError, WaitQueueTimeoutError

from rushlight.errors import Unavailable
from rushlight.projections.registry import projections_of
from rushlight.query.freshness import Freshness
from rushlight.query.view import Moment, Scope, View
from rushlight.settings import Settings
from rushlight.store.clock import server_time
from rushlight.store.database import Database
from rushlight.store.generations import live_generations
from rushlight.store.ledger import Ledger, LedgerReader
from rushlight.store.snapshots import RETRY_SECONDS, is_snapshot_gone

QUERY_SECONDS = 5.0
LEDGER_SECONDS = 30.0
# How many views may be open at once, by lane: long queries keep neither short ones nor the live board waiting.
Lane = Literal["short", "long", "live"]
MAX_VIEWS: dict[Lane, int] = {"short": 8, "long": 2, "live": 32}
SNAPSHOT_RETRIES = 4

__all__ = ["Figures", "Lane", "Ledger", "unavailable", "within"]

T = TypeVar("T")
ViewMaker = Callable[[Database, Scope, Moment, set[tuple[str, str, str]]], View]


class Figures:
    """Everything that is read in one process goes through one of these.

    Attributes:
        freshness: reads how complete the figures are, within the caller's deadline, for whose end other readers wait.
        projections: by name, those of the user's modules among them.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.freshness = Freshness(database)
        self.projections = projections_of(settings.modules)
        self._ledger = LedgerReader(database)
        self._currencies: set[tuple[str, str, str]] = set()
        self._slots = {lane: asyncio.Semaphore(places) for lane, places in MAX_VIEWS.items()}

    async def read(
        self,
        shop: str,
        query: Callable[[View], Awaitable[T]],
        *,
        seconds: float = QUERY_SECONDS,
        lane: Lane = "short",
        view: ViewMaker = View,
    ) -> T:
        """Run a query on a view of its own.

        Args:
            shop: whose figures. seconds: deadline, waiting for a free place in the lane included. view: makes the view.

        Raises:
            Unavailable: MongoDB does not answer, or not in time.
        """
        with within(seconds):
            async with asyncio.timeout(seconds):
                await self._slots[lane].acquire()
            try:
                return await self._attempts(shop, query, view)
            finally:
                self._slots[lane].release()

    async def read_ledger(self, *, wait: bool = False) -> Ledger:
        """The ledger as it stands; see `LedgerReader.read`.

        Raises:
            Unavailable: MongoDB does not answer, or not in time.
        """
        with within(LEDGER_SECONDS):
            return await self._ledger.read(wait=wait)

    async def _attempts(self, shop: str, query: Callable[[View], Awaitable[T]], view: ViewMaker) -> T:
        for _ in range(SNAPSHOT_RETRIES):
            try:
                return await self._attempt(shop, query, view)
            except OperationFailure as error:
                if not is_snapshot_gone(error):
                    raise
                await asyncio.sleep(RETRY_SECONDS)
        return await self._attempt(shop, query, view)

    async def _attempt(self, shop: str, query: Callable[[View], Awaitable[T]], view: ViewMaker) -> T:
        complete_to = await self.freshness.read()
        present = await server_time(self.database)
        async with self.database.client.start_session(snapshot=True) as session:
            generations = await live_generations(self.database, session)
            source = self.settings.shop(shop).source_of_record
            scope = Scope(shop, source, self.settings.partitions, generations)
            moment = Moment(session, complete_to, present)
            return await query(view(self.database, scope, moment, self._currencies))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """A deadline for all that MongoDB is asked in this block; without one a caller waits for the network.

    Raises:
        Unavailable: MongoDB does not answer, or not in time.
    """
    try:
        with pymongo.timeout(seconds):
            yield
    except (PyMongoError, TimeoutError) as error:
        raise unavailable(error, seconds) from error


def unavailable(error: Exception, seconds: float) -> Unavailable:
    """What to tell whoever asked, when MongoDB did not answer."""
    too_long = isinstance(error, ExecutionTimeout | NetworkTimeout | WaitQueueTimeoutError | TimeoutError)
    if too_long or getattr(error, "timeout", False):
        why = "MongoDB is slow or hangs, or this is too much at once"
        return Unavailable(f"this took longer than {seconds:g} s: {why}; try again later, or ask for less")
    return Unavailable("MongoDB does not answer")
