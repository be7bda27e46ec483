"""Orders may live in a MongoDB of their own: its troubles must not become those of the analytics, and none be hidden.

Whoever reads or writes orders beside the order service goes through the gate. Where orders share the analytics'
MongoDB it is always open and costs nothing. Where they do not, a call ends within its time, and after a failure the
next ones fail at once for a moment, so that a server that hangs holds up nobody for long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pymongo
from pymongo.asynchronous.mongo_client import AsyncMongoClient
from pymongo.errors import ConnectionFailure, PyMongoError

from rushlight.errors import in_short

log = logging.getLogger(__name__)

ANSWER_SECONDS = 1.0
USE_SECONDS = 10.0
SHUT_SECONDS = 5.0
FRESH_SECONDS = 1.0


class OrdersUnreachable(PyMongoError):
    """The orders' own MongoDB does not answer; everything else may go on."""


class OrdersGate:
    """The way to the orders.

    Attributes:
        apart: whether they have a MongoDB of their own.
    """

    def __init__(
        self, client: AsyncMongoClient[dict[str, object]], prepare: Callable[[], Awaitable[None]], *, apart: bool
    ) -> None:
        self.apart = apart
        self._client = client
        self._prepare = prepare
        self._prepared = False
        self._answered = self._failed = float("-inf")

    @asynccontextmanager
    async def use(self, seconds: float = USE_SECONDS, *, answer_seconds: float = ANSWER_SECONDS) -> AsyncIterator[None]:
        """Around whatever needs the orders.

        Args:
            seconds: how long it may take. answer_seconds: how long the server may take to answer at all.

        Raises:
            OrdersUnreachable: the orders' own MongoDB does not answer; never where they share the other one.
            SetupError: it belongs to another number of partitions.
        """
        if not self.apart:
            yield
            return
        if time.monotonic() - self._failed < SHUT_SECONDS:
            raise OrdersUnreachable("the orders' MongoDB did not answer a moment ago")
        try:
            if time.monotonic() - self._answered > FRESH_SECONDS:
                with pymongo.timeout(answer_seconds):
                    await self._client.admin.command("ping")
            with pymongo.timeout(seconds):
                if not self._prepared:
                    await self._prepare()
                    self._prepared = True
                yield
            self._answered = time.monotonic()
        except PyMongoError as error:
            if not (isinstance(error, ConnectionFailure) or error.timeout):
                raise
            self._failed = time.monotonic()
            raise OrdersUnreachable(f"the orders' MongoDB does not answer: {in_short(error)}") from error
