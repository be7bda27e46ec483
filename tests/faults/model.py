"""Rushlight as objects in one process, on real servers, moved step by step, with everything that may happen to it.

The books of what was acknowledged are the shop's and this object's own; `wrong` compares, after any step, what must
always hold, and `settle` what must hold in the end.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import redis
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from rushlight.bus.appender import Appender
from rushlight.bus.stream import FIRST_ENTRY, generation_key, stream_key
from rushlight.engine.partition import PartitionOwner
from rushlight.engine.worker import Worker
from rushlight.errors import Fenced, Unavailable
from rushlight.events.catalogue import OrderPaid
from rushlight.events.envelope import Envelope, encode
from rushlight.events.ids import partition_of
from rushlight.failpoints import armed
from rushlight.ingest.intake import Intake
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.positions import Position
from rushlight.store.recount import verify
from tests.engine.audit import audit, consistent
from tests.engine.shop import Shop, appended

PARTITIONS = 8
PATIENCE_SECONDS = 90.0
# Places where the owner of a partition may die in this process; the others belong to other tasks.
MORTAL = (
    "batch.sorted",
    "batch.folded",
    "commit.begun",
    "commit.position",
    "commit.journal",
    "commit.projections",
    "commit.outcomes",
    "commit.ledger",
    "batch.committed",
    "batch.remembered",
    "batch.noted",
    "batch.told",
    "generation.begun",
    "trim.before",
)


class Died(BaseException):
    """An owner's end in the midst of its work; nobody catches it."""


class Owned(NamedTuple):
    """A partition in the hands of one owner."""

    worker: Worker
    session: AsyncClientSession
    owner: PartitionOwner


class Model:
    """Make it with `open`; nothing moves but through its methods (and what the intake does by itself)."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.redis: Any = redis.Redis.from_url(settings.redis_url or "")
        self.appender = Appender(settings.redis_url or "")
        self.shop = Shop(database, self.appender, seed=1)
        self.owned: dict[int, Owned] = {}
        self.former: list[Owned] = []
        self.intake: Intake | None = None
        self.patience_seconds = PATIENCE_SECONDS
        self._positions: dict[int, Position] = {}
        self._deleted = False  # somebody else than an owner removed entries

    @classmethod
    async def open(cls, settings: Settings) -> Model:
        """On an empty database and an empty Redis."""
        database = await Database.connect(settings, role="model")
        db = database.client[database.name]
        await asyncio.gather(*(db[name].delete_many({}) for name in await db.list_collection_names()))
        await database.close()
        model = cls(await Database.connect(settings, role="model"), settings)
        model.redis.flushall()
        await model.take_over()
        await model.open_intake()
        return model

    async def close(self) -> None:
        """Let go of everything."""
        if self.intake is not None:
            await self.intake.close(settle_seconds=0)
        for held in [*self.former, *self.owned.values()]:
            await self._end(held)
        await self.appender.close()
        self.redis.close()
        await self.database.close()

    async def _end(self, held: Owned) -> None:
        await held.owner._reader.close()
        await held.owner._sweep.close()
        await held.worker._clearing.close()
        await held.worker._broadcaster.close()
        await held.session.end_session()

    # What shops and visitors do

    async def place(self, count: int, loss: float) -> None:
        """Orders; some of their events never reach the stream."""
        self.shop.loss = loss
        await self.shop.place(count)

    async def go_on(self, count: int, loss: float) -> None:
        """Payments, shipments, refunds, cancellations of orders that are there."""
        self.shop.loss = loss
        if self.shop._orders:
            await self.shop.go_on(count)

    async def poison(self) -> None:
        """A payment that nobody can make anything of, and another behind it."""
        (name,) = await self.shop.place(1)
        for currency in ("XXX", "EUR"):
            await self.shop.report(OrderPaid(order_id=name, payment_id=currency, currency=currency, amount=1))

    async def accept(self, count: int) -> None:
        """What visitors do, through the write-ahead log."""
        await self._accept([self.shop.seen() for _ in range(count)])

    async def accept_again(self, which: int) -> None:
        """A sender repeats an event that was acknowledged: another acknowledgement of the same."""
        sent = [event for event in self.shop.acknowledged if event.origin.startswith("w:")]
        if sent:
            await self._accept([msgspec.structs.replace(sent[which % len(sent)])])

    async def _accept(self, events: list[Envelope]) -> None:
        assert self.intake is not None
        await self.intake.accept(events)
        self.shop.acknowledged += events

    # What the transport does

    async def republish(self, count: int) -> None:
        """The latest events once more, in the reverse order."""
        for event in reversed(self.shop.acknowledged[-count:]):
            place = partition_of(event.shop, event.aggregate_id, PARTITIONS)
            await appended(self.appender, place, encode(event))

    async def wipe(self) -> None:
        """FLUSHALL."""
        self.redis.flushall()

    async def forget_generation(self) -> None:
        """The words beside the streams are gone, as on a replica that never had them."""
        self.redis.delete(*[generation_key(partition) for partition in range(PARTITIONS)])

    async def lose_entries(self) -> None:
        """Entries of orders vanish from the streams."""
        self._deleted = True
        for partition in range(PARTITIONS):
            for entry, fields in self.redis.xrange(stream_key(partition)):
                if b'"origin":"o:' in fields.get(b"e", b""):
                    self.redis.xdel(stream_key(partition), entry)

    # What happens to processes

    async def open_intake(self) -> None:
        """A log: one that was left behind, else a new one."""
        directory = Path(self.settings.data) / "wal"
        self.intake = await Intake.open(self.database, self.settings.redis_url or "", directory)

    async def crash_intake(self) -> None:
        """The process that takes events in dies; another adopts its log."""
        assert self.intake is not None
        delivery = self.intake._delivery
        for task in delivery._tasks:
            task.cancel()
        await asyncio.gather(*delivery._tasks, return_exceptions=True)
        await delivery._sender.close()
        delivery.log.abandon()
        await self.open_intake()

    async def take_over(self) -> None:
        """A new worker takes every partition, from owners who know nothing of it and may go on."""
        worker = Worker(self.database, self.settings)
        await asyncio.gather(*(self._claim(worker, partition) for partition in range(PARTITIONS)))

    async def _claim(self, worker: Worker, partition: int) -> None:
        await self.database.leases.update_one({"_id": partition}, [{"$set": {"expiresAt": "$$NOW"}}])
        session = self.database.client.start_session()
        owner = await worker._owner(partition, session)
        assert owner is not None
        if partition in self.owned:
            self.former.append(self.owned[partition])
        self.owned[partition] = Owned(worker, session, owner)

    async def step(self, *, sweep: bool = False) -> None:
        """Every owner takes a page of its stream, or what lies in its outbox; one that is fenced is replaced."""
        await asyncio.gather(*(self._go_on(partition, sweep=sweep) for partition in range(PARTITIONS)))

    async def _go_on(self, partition: int, *, sweep: bool) -> bool:
        try:
            await self._step(self.owned[partition].owner, sweep=sweep)
        except (Died, Fenced):
            await self._claim(Worker(self.database, self.settings), partition)
            return True
        except (PyMongoError, Unavailable):  # `run` would go on as well
            pass
        return False

    async def _step(self, owner: PartitionOwner, *, sweep: bool) -> None:
        page: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        try:
            page.set_result(await owner._reader.read(owner._position.entry, count=100, block_seconds=0.001))
        except Unavailable as error:  # a busy machine: `run` would go on by the outbox
            page.set_exception(error)
        owner._last_trim = float("-inf")
        await owner._take_page(page)  # type: ignore[arg-type]  # a future is as good as the task that read it
        if sweep:
            owner._outage, owner._last_sweep = True, float("-inf")
            await owner._sweep_if_due()

    async def die(self, name: str, *, sweep: bool = False) -> bool:
        """The same, but who comes to the failpoint dies there and is replaced; whether anybody did."""

        def end() -> None:
            raise Died

        with armed(name, end):
            died = await asyncio.gather(*(self._go_on(partition, sweep=sweep) for partition in range(PARTITIONS)))
        return any(died)

    async def zombies(self) -> list[str]:
        """All former owners go on, all at once; what they commit is wrong."""
        before = await self._places()
        await asyncio.gather(*(self._go_on_regardless(held) for held in self.former))
        after = await self._places()
        moved = [partition for partition, place in before.items() if after[partition] != place]
        return [f"fence: partition {partition} was moved by a former owner" for partition in moved]

    async def _go_on_regardless(self, held: Owned) -> None:
        with suppress(Fenced, PyMongoError, Unavailable):
            await self._step(held.owner, sweep=True)

    async def _places(self) -> dict[int, Any]:
        return {document["_id"]: document async for document in self.database.positions.find()}

    # What must hold

    async def wrong(self) -> list[str]:
        """After any step: books agree within MongoDB, and positions, epochs and commits only rise."""
        lines = await consistent(self.database)
        async for document in self.database.positions.find():
            position = Position.of(document)
            before = self._positions.get(position.partition, position)
            for field in ("epoch", "n", "seq"):
                if getattr(position, field) < getattr(before, field):
                    lines.append(f"position: {field} of partition {position.partition} went back")
            self._positions[position.partition] = position
        return [*lines, *await self._epochs(), *self._trims()]

    def _trims(self) -> list[str]:
        """No entry that its owner has not committed was trimmed."""
        lines = []
        for p, position in self._positions.items():
            word = self.redis.get(generation_key(p))
            if self._deleted or not isinstance(word, bytes) or not position.generation.startswith(word.decode()):
                continue
            # A trim leaves the entry at which the position stands.
            entry = position.entry
            if entry != FIRST_ENTRY and not self.redis.xrange(stream_key(p), entry, entry):
                lines.append(f"trim: partition {p} lost entries at {entry} and maybe beyond")
        return lines

    async def _epochs(self) -> list[str]:
        leases = {lease["_id"]: lease["epoch"] async for lease in self.database.leases.find({"epoch": {"$gte": 0}})}
        return [
            f"epoch: partition {p} has {position.epoch}, its lease {leases[p]}, its owners {owners}"
            for p, position in self._positions.items()
            for owners in [[h.owner._position.epoch for h in [*self.former, self.owned[p]] if _of(h) == p]]
            if position.epoch > leases[p] or len(set(owners)) != len(owners)
        ]

    async def settle(self) -> list[str]:
        """Go on until all is settled; then everything that differs from what was acknowledged."""
        assert self.intake is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience_seconds):
                while await self._open():
                    await self.step(sweep=True)
                    await asyncio.sleep(0.02)
                await self.intake.settled()
        recount = await verify(self.database)
        return [*await audit(self.database, self.shop.acknowledged), *recount.differences]

    async def _open(self) -> bool:
        for held in self.owned.values():
            await held.worker._clearing.flush()
        found = {d["origin"] async for d in self.database.journal.find({}, {"origin": 1})}
        found |= {d["_id"] async for d in self.database.outcomes.find({}, {"_id": 1})}
        return not {event.origin for event in self.shop.acknowledged} <= found or bool(
            await self.database.orders.find_one({"outbox.p": {"$gte": 0}})
        )


def _of(held: Owned) -> int:
    return held.owner._position.partition
