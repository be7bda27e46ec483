"""Real processes on real servers that die where a failpoint is armed, senders that repeat until they are answered, and
books of what was answered, kept outside of everything under test.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import redis

from rushlight.bus.appender import Appender
from rushlight.events.ids import event_id, money_id
from rushlight.failpoints import EXIT_CODE
from rushlight.ingest.dialects.cloudevents import BATCH
from rushlight.ingest.keys import create
from rushlight.local.instance import Instance
from rushlight.local.ports import LISTEN_FD
from rushlight.local.process import Child, spawn
from rushlight.settings import ENV_WHOLE, Settings
from rushlight.store.database import Database
from rushlight.store.outstanding import SOME_ENTRY
from rushlight.store.recount import verify
from tests.engine.audit import audit, consistent, eventually, settled
from tests.engine.shop import Shop
from tests.faults.places import deadly

LOG_BYTES = 1 << 20  # the smallest log: its segments roll after 64 KiB
DEATH_SECONDS = 120.0
ANSWER_SECONDS = 120.0
REQUEST_SECONDS = 5.0
BATCH_EVENTS = 8
NOTE = "n" * 1500

Action = Callable[[], Awaitable[None]]


class City:
    """One database, one steady worker, and processes beside it that die. Make it with `found`."""

    def __init__(self, settings: Settings, database: Database, log: Path) -> None:
        self.settings = settings
        self.database = database
        self.redis = redis.Redis.from_url(settings.redis_url or "")
        self._appender = Appender(settings.redis_url or "")
        self.shop = Shop(database, self._appender, seed=1, loss=0.3)
        self._log = log
        self._started = 0
        self._doors = {role: socket.create_server(("127.0.0.1", 0), backlog=512) for role in ("ingest", "orders")}
        self._steady: list[Child] = []
        self._kept: list[Child] = []
        self._key = ""
        self._messages = 0
        self.answered: set[str] = set()

    @classmethod
    async def found(cls, servers: Instance, directory: Path) -> City:
        """On the session's servers, with a database of its own."""
        settings = Settings(
            data=str(directory / "data"),
            port=0,
            redis_url=servers.redis_url,
            mongo_url=servers.mongo_url,
            database=f"test_{uuid.uuid4().hex[:12]}",
            lease_ttl_seconds=1.0,
            wal_bytes=LOG_BYTES,
        )
        city = cls(settings, await Database.connect(settings, role="test"), directory / "log")
        city.redis.flushall()
        city._key = await create(city.database, "public")
        await city.calm()
        return city

    async def leave(self) -> None:
        """End every process and drop the database."""
        for child in [*self._steady, *self._kept]:
            child.kill()
        for door in self._doors.values():
            door.close()
        self.redis.close()
        await self._appender.close()
        await self.database.client.drop_database(self.database.name)
        await self.database.close()

    def start(self, role: str, failpoints: str = "") -> Child:
        """A process of this role, with failpoints armed."""
        settings = msgspec.structs.replace(self.settings, failpoints=failpoints, testing=bool(failpoints))
        environment = {ENV_WHOLE: settings.to_json()}
        keep = [self._doors[role].fileno()] if role in self._doors else []
        if keep:
            environment[LISTEN_FD] = str(keep[0])
        command = [sys.executable, "-P", "-m", "rushlight.app", role]
        # One each: what a child said last is looked for at the end of its log.
        self._started += 1
        log = self._log.with_name(f"{self._started}-{role}.log")
        return spawn(role, command, log=log, environment=environment, keep=keep)

    async def calm(self) -> None:
        """Have one worker run that nothing happens to."""
        if not self._steady:
            self._steady.append(self.start("worker"))

    async def unattended(self) -> None:
        """Have no worker run, and nobody who would take over a log."""
        while self._steady:
            self._steady[-1].signal(signal.SIGTERM)
            await self._steady.pop().wait()

    @asynccontextmanager
    async def doomed(self, role: str, names: Sequence[str]) -> AsyncIterator[list[Child]]:
        """For each failpoint a process that dies there; when the block ends, all of them must have, or soon do."""
        children = [self.start(role, deadly(name)) for name in names]
        try:
            yield children
            async with asyncio.timeout(DEATH_SECONDS):
                for child in children:
                    await child.wait()
        except TimeoutError:
            lively = [name for name, child in zip(names, children, strict=True) if child.code is None]
            pytest.fail(f"nobody died at {lively}: {children[-1].last_words()[-2000:]}")
        finally:
            for child in children:
                child.kill()
        for name, child in zip(names, children, strict=True):
            assert child.code == EXIT_CODE, (name, child.last_words())
            assert f"failpoint {name}: die" in child.last_words()

    def keep(self, child: Child) -> None:
        """Have a process run until `let_go`, or for good."""
        self._kept.append(child)

    async def let_go(self) -> None:
        """Ask what is kept to stop, and wait until it has."""
        while self._kept:
            self._kept[-1].signal(signal.SIGTERM)
            await self._kept.pop().wait()

    # Load

    async def trade(self) -> None:
        """Place some orders and let others go on, straight in MongoDB, a third of the fast path lost."""
        await self.shop.place(4)
        await self.shop.go_on(3)

    @asynccontextmanager
    async def clients(self, act: Action, count: int = 4) -> AsyncIterator[None]:
        """Clients that send one thing after the other; at the end of the block each waits for its last answer."""
        closing = asyncio.Event()

        async def go_on() -> None:
            await act()
            while not closing.is_set():
                await act()

        tasks = [asyncio.create_task(go_on()) for _ in range(count)]
        try:
            yield
        finally:
            closing.set()
            await asyncio.gather(*tasks)

    async def send(self) -> None:
        """Send a new batch of events over HTTP until it is answered."""
        batch = []
        for _ in range(BATCH_EVENTS):
            self._messages += 1
            visitor = f"v{self._messages % 11}"
            head = {"specversion": "1.0", "source": "/shop", "type": "page_view", "subject": visitor}
            batch.append({**head, "id": f"m{self._messages}", "data": {"url": NOTE}})
        await self._post("ingest", "/events", batch, {"authorization": f"Bearer {self._key}", "content-type": BATCH})
        self.answered |= {event_id("default", "public", "/shop", str(event["id"])) for event in batch}

    async def order(self) -> None:
        """Place a new order over HTTP and pay it, each until it is answered."""
        self._messages += 1
        name = f"h-{self._messages}"
        line = {"productId": "tea", "quantity": 1, "unitPrice": "10.00"}
        body = {"orderId": name, "currency": "EUR", "lines": [line], "visitorId": "v1"}
        await self._post("orders", "/orders", body, {"idempotency-key": name})
        self.answered.add(money_id("default", "orders", name, "order_created"))
        await self._post("orders", f"/orders/{name}/pay", {"paymentId": "p"}, {"idempotency-key": name})
        self.answered.add(money_id("default", "orders", name, "order_paid", "p"))

    async def _post(self, role: str, path: str, body: Any, headers: dict[str, str]) -> None:
        url = f"http://127.0.0.1:{self._doors[role].getsockname()[1]}{path}"
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with asyncio.timeout(ANSWER_SECONDS), aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
            while True:
                try:
                    async with session.post(url, json=body) as answer:
                        if answer.status in (200, 201, 202):
                            assert b'"rejected":[{' not in await answer.read()
                            return
                        assert answer.status == 503, await answer.text()
                except (aiohttp.ClientError, ConnectionError, TimeoutError):
                    pass
                await asyncio.sleep(0.05)

    # What must be true

    async def all_is_well(self) -> None:
        """Everything the shop acknowledged is settled once, and everything in MongoDB agrees."""
        await settled(self.database, self.shop.acknowledged)
        assert await audit(self.database, self.shop.acknowledged) == []

    async def answered_is_stored(self) -> None:
        """All that was answered over HTTP is in the journal once, and figures and ledger agree with it."""

        async def all_stored() -> bool:
            found = {row["_id"] async for row in self.database.journal.find({}, {"_id": 1})}
            return found >= self.answered and not await self.database.orders.find_one(SOME_ENTRY)

        await eventually(all_stored)

        async def verified() -> bool:
            recount = await verify(self.database)
            return recount.verified and not recount.ledger.total.pending

        await eventually(verified)
        wrong: list[str] = []

        async def agreed() -> bool:
            # A record that was written and never answered may be adopted and stored between two of the reads.
            wrong[:] = await consistent(self.database)
            return not wrong

        try:
            await eventually(agreed)
        finally:
            assert wrong == [], wrong


class Ground:
    """A city and the loop that it lives on."""

    def __init__(self, runner: asyncio.Runner, city: City) -> None:
        self._runner = runner
        self.city = city

    def run(self, happening: Coroutine[Any, Any, None]) -> None:
        """To its end."""
        self._runner.run(happening)
