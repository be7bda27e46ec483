"""One trial: senders at work on a world, a board that watches, an audit in the background, and a verdict at the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import redis
from pymongo.errors import PyMongoError

from rushlight.bus.stream import stream_key
from rushlight.store.database import Database
from tests.faults.checks import agrees, check, in_minor_units, look
from tests.faults.diary import Diary, entries
from tests.faults.shoppers import Shoppers
from tests.faults.told import Figures, Told
from tests.faults.watcher import Watcher
from tests.faults.world import POLL_SECONDS, World, rss_bytes, span

SETTLE_SECONDS = 120.0
LOOKS = 3
AUDIT_EVERY_SECONDS = 1.0
MAX_RSS_BYTES = 700 << 20
MAX_STREAM_ENTRIES = 200_000


class Audit:
    """Looks again and again while everything goes on.

    Attributes:
        wrong: what must never be seen, one sentence each: positions and epochs that go back, bounds that are passed.
        looks: how often it could look. most: the largest stream, log and process that it saw.
    """

    def __init__(self, world: World, database: Database) -> None:
        self.wrong: list[str] = []
        self.looks = 0
        self.most = {"stream": 0, "log": 0, "rss": 0}
        self._world = world
        self._database = database
        self._places: dict[int, tuple[int, int, int]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(AUDIT_EVERY_SECONDS)
            with contextlib.suppress(PyMongoError, TimeoutError):
                async with asyncio.timeout(5):
                    await self.look()
            with contextlib.suppress(redis.RedisError):
                await asyncio.to_thread(self._bounds)

    async def look(self) -> None:
        """Positions once."""
        async for position in self._database.positions.find():
            partition = position["_id"]
            place = (position["epoch"], position["n"], position["seq"])
            before = self._places.get(partition, (0, 0, 0))
            if any(new < old for new, old in zip(place, before, strict=True)):
                self.wrong.append(f"O position of partition {partition} went back from {before} to {place}")
            self._places[partition] = place
        self.looks += 1

    def _bounds(self) -> None:
        for child in self._world.children:
            with contextlib.suppress(Exception):
                self._note("rss", rss_bytes(self._world.pid(child)), MAX_RSS_BYTES)
        for part in ("web", "workers"):
            size = sum(_size(path) for path in (self._world.base / part).glob("wal/**/*"))
            self._note("log", size, self._world.parts["web"].settings.wal_bytes + (1 << 20))
        with self._world.valkey() as client:
            lengths = [int(client.xlen(stream_key(partition))) for partition in range(8)]
        self._note("stream", max(lengths), MAX_STREAM_ENTRIES)

    def _note(self, what: str, size: int, cap: int) -> None:
        self.most[what] = max(self.most[what], size)
        if size > cap:
            self.wrong.append(f"B {what} of {size}, and {cap} is the most it may be")


class Trial:
    """What one trial holds; made by `trial`."""

    def __init__(self, world: World, shoppers: Shoppers, watcher: Watcher, audit: Audit, database: Database) -> None:
        self.world = world
        self.shoppers = shoppers
        self.watcher = watcher
        self.audit = audit
        self._database = database
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        self._told, self._read = Told(), 0
        self._expected: Figures | None = None

    def told(self) -> Told:
        """The diary as of now; only what is new in it is read. Nothing may be written meanwhile: let senders rest."""
        size = self.diary.stat().st_size
        for entry in entries(self.diary, self._read):
            self._told.add(entry)
        self._read = size
        return self._told

    @property
    def diary(self) -> Path:
        """Where the oracle's log is."""
        return self.shoppers._diary.path

    async def right(self) -> float:
        """Let the senders rest and wait until the board and the query API show what the oracle says.

        Returns:
            The seconds that took, answers still owed included.

        Raises:
            TimeoutError: they do not; it says how they differ.
        """
        began = time.monotonic()
        await self.shoppers.rest()
        told, self._expected = self.told(), None
        while not await self._is_right(told):
            if time.monotonic() - began > SETTLE_SECONDS:
                raise TimeoutError("\n".join(await self.differences()))
            await asyncio.sleep(POLL_SECONDS)
        return time.monotonic() - began

    async def _is_right(self, told: Told) -> bool:
        with contextlib.suppress(PyMongoError):
            if told.unknown or self._expected is None:
                await self._found(told)
                self._expected = told.figures("orders")
            expected = self._expected
            if self._shows_all() and not agrees(expected, self.watcher.currencies):
                return False
            summary = await self.world.get(self._http, f"/api/v1/summary?{span()}")
            return summary is not None and agrees(expected, summary["currencies"])
        return False

    def _shows_all(self) -> bool:
        """Whether today's figures, which the board shows, are all that there are."""
        return datetime.now(UTC).date() == self.world.day

    async def _found(self, told: Told) -> None:
        """Note of the requests without an answer whether they were carried out."""
        doubtful = [claim.sent.aggregate for claim in told.claims.values() if claim.outcome == "unknown"]
        if doubtful:
            look(told, await self._database.journal.find({"aggregateId": {"$in": doubtful}}).to_list(), [])

    async def settled(self, *, all_answered: bool = True) -> None:
        """Wait until the ledger, read from now on, says that nothing is pending, and that its books agree.

        Args:
            all_answered: wait also until it knows of all that was answered to senders.

        Raises:
            TimeoutError: it does not.
        """
        now = datetime.now(UTC)
        answered = self.told().answered() if all_answered else Counter[str]()
        async with asyncio.timeout(SETTLE_SECONDS):
            while not _settled(await self.world.get(self._http, "/api/v1/ledger"), now, answered):  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)

    async def ledger(self) -> dict[str, Any]:
        """As the query API has it."""
        while (ledger := await self.world.get(self._http, "/api/v1/ledger")) is None:  # noqa: ASYNC110 - it comes back
            await asyncio.sleep(POLL_SECONDS)
        return ledger

    async def revenue_difference(self) -> dict[str, int]:
        """What the query API shows as net revenue less what the oracle expects, by currency, in minor units."""
        told = self.told()
        await self._found(told)
        expected = told.figures("orders")
        summary = await self.world.get(self._http, f"/api/v1/summary?{span()}")
        currencies = (summary or {}).get("currencies", {})
        differences = {}
        for currency in sorted(expected.keys() | currencies.keys()):
            found = in_minor_units(currency, currencies.get(currency, {}))
            differences[currency] = _net(found) - _net(expected.get(currency, Counter()))
        return differences

    async def differences(self) -> list[str]:
        """The whole verdict as of now."""
        told = self.told()
        summary = await self.world.get(self._http, f"/api/v1/summary?{span()}")
        said = {"query API": (summary or {}).get("currencies", {})}
        if self._shows_all():
            said["board"] = self.watcher.currencies
        return [
            *await check(told, self._database, said),
            *self.audit.wrong,
            *self.watcher.wrong,
            *self.shoppers.unexpected,
        ]

    async def verdict(self) -> list[str]:
        """Settle, and say everything that is wrong; empty when all is well."""
        wrong: list[str] = []
        # A request that nobody waits for any more may be carried out late: the board is then looked at again.
        for _ in range(LOOKS):
            try:
                await self.right()
                await self.settled()
                await self.right()
            except TimeoutError as error:
                return [f"C it does not settle: {error}", *await self.differences()]
            wrong = await self.differences()
            if any(not line.startswith("C") for line in wrong) or not wrong:
                break
        return wrong

    async def close(self) -> None:
        """Leave the world as it is."""
        await self._http.close()


@asynccontextmanager
async def trial(world: World, diary: Path, *, seed: int, pause: float = 0.25, **senders: int) -> AsyncIterator[Trial]:
    """Senders on a world whose database is empty, for as long as the block runs."""
    database = await Database.connect(world.settings, role="oracle")
    book = Diary(diary)
    shoppers = Shoppers(world.doors, book, seed=seed, pause=pause)
    watcher = Watcher(world.doors.board)
    audit = Audit(world, database)
    running = asyncio.create_task(audit.run())
    one = Trial(world, shoppers, watcher, audit, database)
    shoppers.start(**senders)
    try:
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await shoppers.close()
        await watcher.close()
        await one.close()
        await book.close()
        await database.close()


def _settled(ledger: dict[str, Any] | None, since: datetime, answered: Counter[str]) -> bool:
    """Whether a ledger read later than this knows of all that was answered, and all of it has ended."""
    if ledger is None or not ledger["balanced"] or ledger["total"]["pending"] or ledger.get("unreachable"):
        return False
    sources = ledger["sources"]
    known = all(name in sources and sources[name]["acknowledged"] >= count for name, count in answered.items())
    return known and datetime.fromisoformat(ledger["asOf"]) > since


def _net(figures: Counter[str]) -> int:
    return figures["gross"] - figures["discounts"] - figures["refunds"]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
