"""Takes settled entries out of their orders' outboxes, many at a time and outside every transaction.

Late or twice is harmless: an entry that is still there when it is met again is found settled. What a crash leaves is
cleared by the next sweep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress

from pymongo.errors import PyMongoError

from rushlight.failpoints import at
from rushlight.store import bulk
from rushlight.store.database import Database, Document
from rushlight.store.outbox import ORIGIN

logger = logging.getLogger(__name__)

# Both events of an order are usually settled within this time; then one update clears both. Well below the age at
# which a sweep takes up leftovers.
GATHER_SECONDS = 0.25
MAX_STATEMENT_ORDERS = 1000


class Clearing:
    """One worker's queue of settled outbox entries."""

    def __init__(self, database: Database) -> None:
        self._orders = database.orders
        self._gate = database.orders_gate
        self._settled: dict[str, set[int]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, origins: Iterable[str]) -> None:
        """Note settled entries by origin; other origins are passed over."""
        for origin in origins:
            if origin.startswith(ORIGIN):
                order_id, _, number = origin.removeprefix(ORIGIN).rpartition(":")
                self._settled.setdefault(order_id, set()).add(int(number))
        if self._settled and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def flush(self) -> None:
        """Clear what has been noted."""
        settled, self._settled = self._settled, {}
        if not settled:
            return
        at("clear.before")
        statements = bulk.encode(pulls(settled))
        try:
            async with self._gate.use():
                await bulk.update(self._orders, statements, write_concern={"w": 1})
            at("clear.after")
        except PyMongoError as error:
            logger.warning("settled outbox entries stay until the next sweep: %s", error)

    async def close(self) -> None:
        """Clear what is left and stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self.flush()

    async def _run(self) -> None:
        while self._settled:
            await asyncio.sleep(GATHER_SECONDS)
            await self.flush()


def pulls(settled: dict[str, set[int]]) -> Iterator[Document]:
    """Update statements that take numbers out of orders' outboxes."""
    # Nearly all orders lose the same numbers, and one statement for many orders costs the server half of one for each.
    alike: dict[tuple[int, ...], list[str]] = {}
    for order_id, numbers in settled.items():
        alike.setdefault(tuple(sorted(numbers)), []).append(order_id)
    for taken, order_ids in alike.items():
        for start in range(0, len(order_ids), MAX_STATEMENT_ORDERS):
            some = order_ids[start : start + MAX_STATEMENT_ORDERS]
            yield {"q": {"_id": {"$in": some}}, "u": {"$pull": {"outbox": {"n": {"$in": taken}}}}, "multi": True}
