"""Looks for a partition's leftovers in the outboxes without ever holding its stream up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from pymongo.errors import PyMongoError

from rushlight.errors import SetupError
from rushlight.store.apart import OrdersGate, OrdersUnreachable
from rushlight.store.outbox import Leftover, OutboxReader

log = logging.getLogger(__name__)

# An orders' MongoDB of its own that takes longer than this is not waited for: what it says is taken at the next sweep.
PATIENCE_SECONDS = 0.2


class Sweep:
    """One partition's way to what the stream has not brought."""

    def __init__(self, outbox: OutboxReader, gate: OrdersGate, partition: int) -> None:
        self._outbox = outbox
        self._gate = gate
        self._partition = partition
        self._reading: asyncio.Task[list[Leftover]] | None = None
        self._reachable = True

    async def leftovers(self, *, before: datetime | None) -> Sequence[Leftover]:
        """What lies in the outboxes; see `OutboxReader.leftovers`.

        Orders in a MongoDB of their own: what was found by now, nothing while it does not answer. What an earlier
        call began to look for may have been settled meanwhile, which is found out as for every repeat.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        if not self._gate.apart:
            return await self._outbox.leftovers(self._partition, before=before)
        if self._reading is None:
            self._reading = asyncio.create_task(self._outbox.leftovers(self._partition, before=before))
        await asyncio.wait({self._reading}, timeout=PATIENCE_SECONDS)
        if not self._reading.done():
            return ()
        reading, self._reading = self._reading, None
        try:
            found = reading.result()
        except (OrdersUnreachable, SetupError) as error:
            if self._reachable:
                log.warning("partition %d goes on without the outboxes: %s", self._partition, error)
            self._reachable = False
            return ()
        self._reachable = True
        return found

    async def close(self) -> None:
        """Give up what is being looked for."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, PyMongoError, SetupError):
                await self._reading
