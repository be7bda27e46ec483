"""Moves the outboxes of a shop's own MongoDB into ours, where the workers find them as they find every other.

A shop's order is acknowledged by its own write. The relay copies its entries, under the same origins, into our
``orders`` (a majority has them before anything else happens), offers them to the stream, and takes them out of the
shop's outbox when they have left the copy: then they are settled. A relay that is killed at any point leaves nothing
that the next pass, its own or another's, does not find again; two of them meet in conditions, not in locks.

What the shop acknowledged and nobody has copied yet stands in the ledger as acknowledged and pending, by a document
that the relay publishes like a write-ahead log; while nobody relays, it shows as unreachable.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from datetime import datetime
from typing import Any

from pymongo.errors import PyMongoError

from rushlight.bus.appender import Appender
from rushlight.errors import Rejected
from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.events.envelope import decode
from rushlight.events.ids import partition_of
from rushlight.store.accounts import ORDERS_ACCOUNT
from rushlight.store.clock import server_time
from rushlight.store.database import Database, Document, relaxed
from rushlight.store.outbox import ORIGIN
from rushlight.store.pace import Pace
from rushlight.store.relayed import RELAY, UNNUMBERED, Copies, Copy, Entry, ShopOrders, number_of

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.25
SHARE = 0.3
LONGEST_SECONDS = 5.0
RETRY_SECONDS = 0.5
PUBLISH_SECONDS = 1.0
SILENT_SECONDS = 30.0
MAX_DAMAGE_LINES = 20


class _Waiting:
    """What a pass found to be acknowledged and could not copy."""

    def __init__(self) -> None:
        self.count = 0
        self.oldest: dict[str, datetime] = {}
        self.damage: list[str] = []

    def note(self, entry: Document, why: str = "") -> None:
        self.count += 1
        if why and len(self.damage) < MAX_DAMAGE_LINES:
            self.damage.append(why)
        at = entry.get("at")
        if isinstance(at, datetime):
            for name in _classes(entry):
                self.oldest[name] = min(at, self.oldest.get(name, at))


class Relay:
    """Relays one shop's collection until `stop`; any number of relays may do so at once.

    Args:
        shop: the shop's orders. database: ours, whose ``orders`` the workers read. partitions: of ours.
    """

    def __init__(self, shop: ShopOrders, database: Database, appender: Appender, partitions: int) -> None:
        self._shop = shop
        self._database = database
        self._copies = Copies(database, shop.identity)
        self._appender = appender
        self._partitions = partitions
        self._logs = relaxed(database.logs)
        self._pace = Pace(interval_seconds=INTERVAL_SECONDS, share=SHARE, longest_seconds=LONGEST_SECONDS)
        self._stopping = asyncio.Event()
        self._finishing = False
        self._passed_at = -math.inf
        self._published_at = -math.inf
        self._checked: datetime | None = None
        self._told: set[str] = set()

    def stop(self) -> None:
        """Finish the pass in hand and return from `run`."""
        self._stopping.set()

    async def alive(self) -> str | None:
        """Why nothing is being moved; None when a pass succeeded lately."""
        silent = asyncio.get_running_loop().time() - self._passed_at
        return None if silent < SILENT_SECONDS else "no pass over the shop's outboxes has succeeded lately"

    async def fed(self) -> str | None:
        """Why events go without the stream; None while Redis answers."""
        return None if self._appender.well else "does not answer; workers find the copies by themselves"

    async def run(self, *, finish: bool = False) -> None:
        """Relay until `stop`; passing trouble with either MongoDB is waited out.

        Args:
            finish: return when the shop's outboxes are empty, and say that nothing more will come.
        """
        troubled = False
        while not self._stopping.is_set():
            pause = INTERVAL_SECONDS
            try:
                with self._pace.measured():
                    left = await self._pass()
                troubled = False
                if finish and not left:
                    await self._publish(_Waiting(), await server_time(self._database), closed=True)
                    return
                pause = self._pace.pause_seconds
            except PyMongoError as error:
                if not troubled:
                    log.warning("the relay waits for MongoDB: %s", error)
                troubled, pause = True, RETRY_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _pass(self) -> int:
        """Look through all of the shop's outboxes once; returns how many entries were there."""
        checked = await server_time(self._database)
        waiting, total = _Waiting(), 0
        async for numbers in self._shop.numbers():
            total += sum(map(len, numbers.values()))
            await self._move(numbers, waiting)
            if asyncio.get_running_loop().time() - self._published_at > PUBLISH_SECONDS:
                await self._publish_in_between(waiting)
        self._checked, self._passed_at = checked, asyncio.get_running_loop().time()
        if waiting.damage or waiting.count or self._passed_at - self._published_at > PUBLISH_SECONDS:
            await self._publish(waiting, checked)
        return total

    async def _move(self, numbers: dict[str, list[int]], waiting: _Waiting) -> None:
        """Copy what is not copied, clear what has left the copies."""
        copies = await self._copies.of(list(numbers))
        settled = {
            order_id: gone
            for order_id, copy in copies.items()
            if copy.ours and (gone := {n for n in numbers[order_id] if n <= copy.emitted and n not in copy.open})
        }
        fresh = [order_id for order_id, some in numbers.items() if some[-1] > _copied(copies.get(order_id))]
        if fresh:
            await self._copy(await self._shop.outboxes(fresh), copies, waiting)
        await self._shop.clear(settled)

    async def _copy(self, outboxes: dict[str, list[Document]], copies: dict[str, Copy], waiting: _Waiting) -> None:
        entries: dict[str, list[Entry]] = {}
        for order_id, outbox in outboxes.items():
            copied = _copied(copies.get(order_id))
            some = [entry for entry in outbox if number_of(entry) > copied]
            foreign = order_id in copies and not copies[order_id].ours
            why = f"order {order_id!r} exists already, from elsewhere" if foreign else ""
            readable: list[Entry] = []
            for entry in some:
                # Numbers are copied in their order, or not at all: one that cannot be holds up those behind it.
                why = why or _trouble(order_id, entry)
                if why:
                    self._tell(why)
                    waiting.note(entry, why)
                else:
                    readable.append(self._entry(entry))
            if readable:
                entries[order_id] = readable
        if not entries:
            return
        await self._copies.add(entries, copies)
        for some_entries in entries.values():
            for moved in some_entries:
                self._appender.offer(moved.partition, moved.data.encode())

    def _entry(self, entry: Document) -> Entry:
        try:
            event = decode(entry["e"])
        except Rejected:  # the partition's owner parks it, in sight
            return Entry(entry["n"], int(entry["p"]) % self._partitions, entry["at"], entry["e"])
        partition = partition_of(event.shop, event.aggregate_id, self._partitions)
        return Entry(entry["n"], partition, entry["at"], entry["e"])

    def _tell(self, why: str) -> None:
        if why not in self._told and len(self._told) < MAX_DAMAGE_LINES:
            self._told.add(why)
            log.error("the relay cannot move all of an outbox: %s", why)

    async def _publish_in_between(self, waiting: _Waiting) -> None:
        """A long pass is alive; how complete figures are is known of the pass before it."""
        bound = self._checked
        if bound is None:
            return
        waiting_so_far = _Waiting()
        waiting_so_far.count, waiting_so_far.damage = waiting.count, waiting.damage
        waiting_so_far.oldest = {"money": bound, "behaviour": bound}
        await self._publish(waiting_so_far, await server_time(self._database))

    async def _publish(self, waiting: _Waiting, at: datetime, *, closed: bool = False) -> None:
        # Both columns count what lies in the shop's outboxes beyond the copies; what is copied counts in `orders`.
        # Heartbeat is the moment before the pass began: what was acknowledged until then has been seen.
        counts = {"acknowledged": waiting.count, "pending": waiting.count}
        figures: dict[str, Any] = {
            "heartbeatAt": at,
            "checkedAt": at,
            "sources": {ORDERS_ACCOUNT: counts},
            "oldest": waiting.oldest,
            "damage": waiting.damage,
            "closed": closed,
        }
        change: Document = {"$set": figures, "$setOnInsert": {"startedAt": at, "rejected": {}, "terminals": {}}}
        await self._logs.update_one({"_id": f"{RELAY}{self._shop.identity}"}, change, upsert=True)
        self._published_at = asyncio.get_running_loop().time()


def _copied(copy: Copy | None) -> int:
    """Up to which number an order's entries were copied; none of an order that is another's."""
    return copy.emitted if copy is not None and copy.ours else 0


def _trouble(order_id: str, entry: Document) -> str:
    """Why an entry cannot be moved; empty when it can."""
    place = f"entry {entry.get('n')!r} of order {order_id!r}"
    if not isinstance(order_id, str):
        return f"{place}: the order's id is no string"
    if number_of(entry) == UNNUMBERED or not isinstance(entry.get("e"), str) or not isinstance(entry.get("p"), int):
        return f"{place} is no entry of an outbox"
    if not isinstance(entry.get("at"), datetime):
        return f"{place} has no time"
    with suppress(Rejected):
        origin = decode(entry["e"]).origin
        if origin != f"{ORIGIN}{order_id}:{entry['n']}":
            return f"{place} holds an event of {origin!r}"
    return ""


def _classes(entry: Document) -> tuple[str, ...]:
    """Which figures an entry belongs to; both, when that cannot be told."""
    try:
        return ("money",) if decode(entry["e"]).name in MONEY_EVENTS else ("behaviour",)
    except (Rejected, KeyError, TypeError):
        return ("money", "behaviour")
