"""What an order service shows beside its requests: how much of what it acknowledged still lies in outboxes."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pymongo
from pymongo.errors import PyMongoError

from rushlight.events.envelope import now
from rushlight.metrics import Exposition
from rushlight.store.database import Collection, Document
from rushlight.store.outstanding import COUNTED_ORDERS, SOME_ENTRY, count_orders
from rushlight.store.pace import Pace

READ_SECONDS = 1.0
INTERVAL_SECONDS = 1.0
SHARE = 0.02
LONGEST_SECONDS = 30.0


class OrdersFigures:
    """Reads an order service's own collection, at a bounded share of one core."""

    def __init__(self, orders: Collection) -> None:
        self._orders = orders
        self._pace = Pace(interval_seconds=INTERVAL_SECONDS, share=SHARE, longest_seconds=LONGEST_SECONDS)
        self._lock = asyncio.Lock()
        self._known = ""

    async def text(self) -> str:
        """The exposition, read anew or of a moment ago."""
        async with self._lock:
            if self._pace.due or not self._known:
                with self._pace.measured():
                    self._known = (await self._read()).text()
            return self._known

    async def _read(self) -> Exposition:
        exposition = Exposition()
        try:
            with pymongo.timeout(READ_SECONDS):
                await self._orders.database.command("ping")
                exposition.add("rushlight_mongodb_up", 1)
        except PyMongoError:
            exposition.add("rushlight_mongodb_up", 0)
            return exposition
        try:
            with pymongo.timeout(READ_SECONDS):
                count = await count_orders(self._orders, SOME_ENTRY)
                exposition.add("rushlight_orders_outbox", count)
                age = await self._oldest() if count < COUNTED_ORDERS else None
        except PyMongoError:  # so many that they cannot be counted in time, or gone in between
            return exposition
        if age is not None:
            exposition.add("rushlight_orders_outbox_oldest_seconds", age)
        return exposition

    async def _oldest(self) -> float:
        entries: Document = {"outbox.at": 1}
        found = self._orders.find(SOME_ENTRY, entries, hint="outbox").sort("outbox.at", 1).limit(1)
        moments = [moment for order in await found.to_list() for moment in _moments(order)]
        return max(0.0, (now() - min(moments)).total_seconds()) if moments else 0.0


def _moments(order: Document) -> list[datetime]:
    """When the entries of an outbox were written, as far as they say so."""
    outbox = order.get("outbox")
    entries = outbox if isinstance(outbox, list) else ()
    return [entry["at"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("at"), datetime)]
