"""Orders and what becomes of them: each step is one write that a majority has before it is answered.

A repeated request (same ``Idempotency-Key``, same body) is answered as the first one was; the key, the hash of the body
and what was done stand in the order itself, so that no other record can disagree. Once the answer is certain, the
events are offered to the stream, which nobody waits for: the outbox in the order is what counts.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from random import uniform
from typing import NamedTuple

import msgspec
import pymongo
from pymongo.errors import PyMongoError

from rushlight.bus.appender import Appender
from rushlight.errors import Conflict, Rejected, Retryable, Unavailable
from rushlight.events.envelope import now
from rushlight.events.pricing import Priced, price
from rushlight.failpoints import at
from rushlight.orders.created import events_of
from rushlight.orders.group_commit import DEADLINE_SECONDS, GroupCommit
from rushlight.orders.life import CREATED, life_of, view
from rushlight.orders.operations import Change, Decision, Done
from rushlight.orders.requests import NewOrder, read_order
from rushlight.store.database import Collection, Document
from rushlight.store.outbox import Outbox

RETRY_PAUSE_SECONDS = 0.01
# Beside the queue of new orders: reads and changes that wait for the database, each for the deadline at most.
MAX_WAITING = 4000


class NotFound(Rejected):
    """There is no such order."""


class Answer(NamedTuple):
    """An order as JSON; ``replayed`` when an earlier request had done what was asked."""

    body: bytes
    replayed: bool = False


class OrderService:
    """Places, pays, cancels and refunds orders in one collection.

    Args:
        orders: the collection, with majority concerns.
        partitions: P of the database.
        appender: the stream's fast path; None where there is no Redis.
    """

    def __init__(self, orders: Collection, partitions: int, appender: Appender | None) -> None:
        self._orders = orders
        self._partitions = partitions
        self._appender = appender
        self._commit = GroupCommit(orders)
        self._nonce, self._requests = secrets.token_hex(8), 0
        self._waiting = 0

    async def create(self, body: bytes, key: str | None) -> Answer:
        """Place an order.

        Raises:
            Rejected: the body is wrong; names the field.
            Conflict: the order exists, or (code ``key_reuse``) the key came with another body.
            Unavailable: nothing was stored. Retryable: the order may or may not be stored.
        """
        request = read_order(body)
        order = self._document(request, price(request), body, key)
        existing = await self._commit.submit(order, len(body))
        if existing is not None:
            return _replay(existing, order)
        self._offer(order)
        at("order.offered")
        return Answer(view(order))

    async def find(self, order_id: str) -> Answer:
        """The order as a majority has it.

        Raises:
            NotFound: there is none.
            Retryable: the database does not answer. Unavailable: too many wait for it.
        """
        try:
            with self._place(), pymongo.timeout(DEADLINE_SECONDS):
                return Answer(view(await self._read(order_id)))
        except PyMongoError as error:
            raise Retryable(f"the database does not answer: {error}") from error

    async def change(self, order_id: str, kind: str, body: bytes, key: str | None, decide: Decision) -> Answer:
        """Do what a decision says, once.

        Args:
            order_id: which order.
            kind: the scope of the key: one key may pay an order and refund it.
            body: what was asked for, byte for byte; another body under the same key is refused.
            key: the ``Idempotency-Key``, if any.
            decide: called with the order as it is, again whenever somebody else changed it in between.

        Raises:
            NotFound: no such order. Rejected: the request is wrong.
            Conflict: the order's state forbids it, or (code ``key_reuse``) the key came with another body.
            Retryable: the deadline passed; whether it was done is unknown.
            Unavailable: too many wait for the database; nothing was done.
        """
        with self._place():
            return await self._change(order_id, kind, body, key, decide)

    async def _change(self, order_id: str, kind: str, body: bytes, key: str | None, decide: Decision) -> Answer:
        reference = _derived(order_id, kind, key) if key else secrets.token_hex(14)
        mark: Document = {"ref": reference, "key": key, "hash": _hash(body)} if key else {"ref": reference}
        deadline = time.monotonic() + DEADLINE_SECONDS
        doubtful = False  # whether an earlier attempt of this very request may have been done
        last = ""
        while (left := deadline - time.monotonic()) > 0:
            writing = False
            try:
                with pymongo.timeout(left):
                    order = await self._read(order_id)
                    index = _index(order, mark)
                    if index is not None:
                        return Answer(view(order, index + 1), replayed=not doubtful)
                    decision = decide(order, reference, now())
                    if isinstance(decision, Done):
                        return Answer(view(order, decision.place + 1), replayed=True)
                    writing = True
                    if (changed := await self._write(order, decision, mark)) is not None:
                        return Answer(view(changed))
                    last = "others keep changing the order"
            except PyMongoError as error:
                doubtful, last = doubtful or writing, str(error)
            await asyncio.sleep(uniform(0, RETRY_PAUSE_SECONDS))
        raise Retryable(f"the order may or may not have been changed: {last}")

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Take one of the places of those who wait for the database."""
        if self._waiting >= MAX_WAITING:
            raise Unavailable("too many requests are waiting for the database; nothing was done")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def ready(self) -> bool:
        """Whether the database answers."""
        try:
            with pymongo.timeout(DEADLINE_SECONDS / 2):
                await self._orders.database.command("ping")
        except PyMongoError:
            return False
        return True

    async def close(self) -> None:
        """Wait until every order on its way has its result."""
        await self._commit.close()

    def _document(self, request: NewOrder, priced: Priced, body: bytes, key: str | None) -> Document:
        order_id = request.order_id or (_derived(request.shop, "create", key) if key else _generated())
        order: Document = {
            "_id": order_id,
            "shop": request.shop,
            "status": CREATED,
            "currency": request.currency,
            "lines": msgspec.to_builtins(priced.lines),
            "gross": priced.gross,
            "discounts": priced.discounts,
            "tax": priced.tax,
            "shipping": priced.shipping,
            "total": priced.total,
            "paid": 0,
            "refunded": 0,
            "operations": [],
            "request": self._fingerprint(request.shop, body, key),
        }
        if request.customer_id is not None:
            order["customerId"] = request.customer_id
        if request.visitor_id is not None:
            order["visitorId"] = request.visitor_id
        if request.country is not None:
            order["country"] = request.country
        if request.test:
            order["test"] = True
        events = events_of(order_id, request, priced)
        Outbox.attach(order, *events, shop=request.shop, partitions=self._partitions)
        order["createdAt"] = order["outbox"][0]["at"]
        return order

    def _fingerprint(self, shop: str, body: bytes, key: str | None) -> Document:
        # Without a key nothing says that two requests are one: only this very request may find its own order.
        if key:
            # Unique among all creations of the shop, whatever order id they name (see the index in store/database.py).
            return {"key": key, "hash": _hash(body), "once": f"{shop}:{key}"}
        self._requests += 1
        return {"nonce": f"{self._nonce}{self._requests:x}"}

    async def _read(self, order_id: str) -> Document:
        order = await self._orders.find_one({"_id": order_id})
        # A shop's own code may keep orders with outboxes here too; those are not ours to pay or refund.
        if order is None or "operations" not in order:
            raise NotFound(f"there is no order {order_id!r}", code="not_found")
        return order

    async def _write(self, order: Document, change: Change, mark: Document) -> Document | None:
        """Note an operation with its event; the order as it then is, or None when somebody else was quicker."""
        operation = {**change.operation, **mark}
        changed = {**order, "operations": [*order["operations"], operation]}
        life = life_of(changed)
        condition, update = Outbox.extend(
            order, change.event, shop=order["shop"], partitions=self._partitions, occurred_at=operation["at"]
        )
        condition["operations.ref"] = {"$ne": mark["ref"]}
        update["$push"]["operations"] = operation
        update["$set"] |= {
            "status": life.status,
            "paid": life.paid,
            "refunded": life.refunded,
            "updatedAt": operation["at"],
        }
        at("order.changing")
        result = await self._orders.update_one(condition, update)
        at("order.changed")
        if not result.matched_count:
            return None
        self._offer({"outbox": update["$push"]["outbox"]["$each"]})
        return changed

    def _offer(self, order: Document) -> None:
        if self._appender is not None:
            for partition, data in Outbox.entries(order):
                self._appender.offer(partition, data)


def _replay(existing: Document, order: Document) -> Answer:
    theirs, ours = existing.get("request") or {}, order["request"]
    if "key" in ours and theirs == ours:
        return Answer(view(existing, 0), replayed=True)
    if "key" in ours and theirs.get("key") == ours["key"]:
        raise _key_reused()
    raise Conflict(f"order {order['_id']} exists already", code="exists")


def _index(order: Document, mark: Document) -> int | None:
    for index, operation in enumerate(order["operations"]):
        if operation["ref"] == mark["ref"]:
            if operation.get("hash") != mark.get("hash"):
                raise _key_reused()
            return index
    return None


def _key_reused() -> Conflict:
    """The same key with another body: the sender's mistake, and nothing was done."""
    return Conflict("this Idempotency-Key came before with another body", code="key_reuse")


def _generated() -> str:
    # Ids grow with time: neighbours in time are neighbours in the index.
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


def _derived(*parts: str) -> str:
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return blake2b(joined.encode(), digest_size=14).hexdigest()


def _hash(body: bytes) -> str:
    return blake2b(body, digest_size=16).hexdigest()
