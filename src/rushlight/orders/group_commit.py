"""Concurrent creations share one insert, and each is answered with its own result, known to a majority.

While inserts are on their way, newcomers gather for the next one. When a result is unknown (the connection broke, the
write concern failed though the orders may be stored), the same ``_id``s are inserted again: an order that then stands
there with the same ``request`` fingerprint is our own. Nobody waits past the deadline, and the queue is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

import pymongo
from bson.errors import BSONError
from pymongo.errors import PyMongoError

from rushlight.errors import Retryable, RushlightError, Unavailable
from rushlight.failpoints import at
from rushlight.store.database import Collection, Document

DEADLINE_SECONDS = 2.0
MAX_BATCH_ORDERS = 500
# Measured in bytes of request bodies; a stored order with its events takes up to four times as much.
MAX_BATCH_BYTES = 4 << 20
MAX_QUEUED_BYTES = 16 << 20
MAX_BATCHES_IN_FLIGHT = 2
MAX_QUEUED_ORDERS = 4000
RETRY_PAUSE_SECONDS = 0.02
WATCH_SECONDS = 0.1
DUPLICATE_KEY = 11000
WRITE_CONCERN: Document = {"w": "majority", "j": True}

log = logging.getLogger(__name__)


class _Waiting:
    """An order on its way; ``result`` becomes None when it is stored, or the order that already has its id.

    ``doubtful`` once an insert had an unknown result: what stands under the id may then be this very order.
    """

    __slots__ = ("deadline", "doubtful", "order", "result", "size")

    def __init__(self, order: Document, size: int, deadline: float, result: asyncio.Future[Document | None]) -> None:
        self.order = order
        self.size = size
        self.deadline = deadline
        self.result = result
        self.doubtful = False

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


class GroupCommit:
    """Inserts orders for one process and one event loop."""

    def __init__(self, orders: Collection) -> None:
        self._orders = orders
        self._database = orders.database
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._batches: dict[asyncio.Task[None], list[_Waiting]] = {}
        self._flush_is_due = False
        self._watch: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def submit(self, order: Document, size: int) -> asyncio.Future[Document | None]:
        """Queue an order; the future gives None once a majority has it, or the order that already has its ``_id``.

        The future raises Retryable when the deadline passed and the order may or may not be stored, Unavailable when
        it passed before the order was sent.

        Args:
            order: the document; belongs to this object until the future is done.
            size: bytes of the request, by which queue and batches are bounded.

        Raises:
            Unavailable: the queue is full.
        """
        if len(self._queue) >= MAX_QUEUED_ORDERS or self._queued_bytes >= MAX_QUEUED_BYTES:
            raise Unavailable("too many orders are waiting for the database; nothing was stored")
        result: asyncio.Future[Document | None] = self._loop.create_future()
        self._queue.append(_Waiting(order, size, self._loop.time() + DEADLINE_SECONDS, result))
        self._queued_bytes += size
        if self._watch is None:
            self._watch = self._loop.call_later(WATCH_SECONDS, self._expire)
        self._schedule()
        return result

    async def close(self) -> None:
        """Wait for what is queued; within the deadline everything has its result."""
        while self._batches:
            await asyncio.wait(self._batches)
            await asyncio.sleep(0)  # their callbacks start the next
        if self._watch is not None:
            self._watch.cancel()

    def _schedule(self) -> None:
        # Later in this tick of the loop: whatever else arrives in it shares the insert.
        if not self._flush_is_due and self._queue and len(self._batches) < MAX_BATCHES_IN_FLIGHT:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        batch: list[_Waiting] = []
        room = MAX_BATCH_BYTES
        while self._queue and room > 0 and len(batch) < MAX_BATCH_ORDERS:
            batch.append(self._take())
            room -= batch[-1].size
        if not batch:
            return
        task = self._loop.create_task(self._store(batch))
        self._batches[task] = batch
        task.add_done_callback(self._finished)
        self._schedule()

    def _take(self) -> _Waiting:
        waiting = self._queue.popleft()
        self._queued_bytes -= waiting.size
        return waiting

    def _finished(self, task: asyncio.Task[None]) -> None:
        batch = self._batches.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("storing orders failed", exc_info=error)
        for waiting in batch:
            waiting.fail(Retryable("the order may or may not have been stored"))
        self._schedule()

    def _expire(self) -> None:
        """Answer those whose deadline passed: the database is not keeping up or not there."""
        now = self._loop.time()
        while self._queue and self._queue[0].deadline <= now:
            self._take().fail(Unavailable("the database does not keep up; nothing was stored"))
        for batch in self._batches.values():
            for waiting in batch:
                if waiting.deadline <= now:
                    waiting.fail(Retryable("the database does not answer; the order may or may not have been stored"))
        busy = self._queue or self._batches
        self._watch = self._loop.call_later(WATCH_SECONDS, self._expire) if busy else None

    async def _store(self, batch: list[_Waiting]) -> None:
        deadline = self._loop.time() + DEADLINE_SECONDS
        while batch:
            left = deadline - self._loop.time()
            if left <= 0:
                return  # who still waits is answered by `_finished`
            try:
                with pymongo.timeout(left):
                    batch = await self._attempt(batch)
            except PyMongoError as error:
                _doubt(batch, error)
            except (BSONError, ValueError, OverflowError) as error:
                # Not the database's doing: a document that cannot be encoded. It must not take its neighbours along.
                if len(batch) == 1:
                    batch[0].fail(RushlightError(f"the order cannot be stored: {error}"))
                    return
                await asyncio.gather(*(self._store([waiting]) for waiting in batch))
                return
            if batch:
                await asyncio.sleep(RETRY_PAUSE_SECONDS)

    async def _attempt(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Insert once and tell who can be told; returns those whose result is still unknown."""
        at("order.received")
        reply: dict[str, Any] = await self._database.command(
            {
                "insert": self._orders.name,
                "documents": [waiting.order for waiting in batch],
                "ordered": False,
                "writeConcern": WRITE_CONCERN,
            }
        )
        at("order.stored")
        if "writeConcernError" in reply:
            return _doubt(batch, reply["writeConcernError"])
        errors = {error["index"]: error for error in reply.get("writeErrors", ())}
        if not errors:
            for waiting in batch:
                _settle(waiting, None)
            return []
        for index, waiting in enumerate(batch):
            if index not in errors:
                _settle(waiting, None)
        duplicates = [batch[index] for index, error in errors.items() if error["code"] == DUPLICATE_KEY]
        unknown = [batch[index] for index, error in errors.items() if error["code"] != DUPLICATE_KEY]
        return _doubt(unknown, errors) + await self._compare(duplicates)

    async def _compare(self, duplicates: list[_Waiting]) -> list[_Waiting]:
        # The server answers a duplicate only when the write concern holds for what stands there, so that a majority
        # read finds it; should it not, the insert is simply tried again.
        found = await self._holders(duplicates)
        for waiting, existing in zip(duplicates, found, strict=True):
            if existing is not None:
                own = waiting.doubtful and existing.get("request") == waiting.order.get("request")
                _settle(waiting, None if own else existing)
        return [waiting for waiting, existing in zip(duplicates, found, strict=True) if existing is None]

    async def _holders(self, duplicates: list[_Waiting]) -> list[Document | None]:
        """For each, the order that has its id, or else the one that was created under its idempotency key."""
        keys = [waiting.order["request"].get("once") for waiting in duplicates]
        either = [
            {"_id": {"$in": [waiting.order["_id"] for waiting in duplicates]}},
            {"request.once": {"$in": [key for key in keys if key]}},
        ]
        orders = await self._orders.find({"$or": either}).to_list()
        by_id = {order["_id"]: order for order in orders}
        by_key = {order["request"]["once"]: order for order in orders if order.get("request", {}).get("once")}
        return [
            by_id.get(waiting.order["_id"]) or by_key.get(key) for waiting, key in zip(duplicates, keys, strict=True)
        ]


def _doubt(batch: list[_Waiting], why: object) -> list[_Waiting]:
    if not all(waiting.doubtful for waiting in batch):
        log.warning("the result of %d orders is unknown, inserting them again: %s", len(batch), why)
    for waiting in batch:
        waiting.doubtful = True
    return batch


def _settle(waiting: _Waiting, result: Document | None) -> None:
    if not waiting.result.done():
        waiting.result.set_result(result)
