"""Bugs that this project does not have, and for each a story in which it does harm: what does a check say of it?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from pymongo.errors import PyMongoError

from rushlight.bus.stream import StreamReader, stream_key
from rushlight.engine import commit
from rushlight.engine.batch import Batch
from rushlight.engine.commit import Committer
from rushlight.engine.sorter import Sorter
from rushlight.events.envelope import encode
from rushlight.events.ids import partition_of
from rushlight.ingest.log.settling import Settling
from rushlight.projections.money import Money
from rushlight.store import bulk
from rushlight.store.database import of_primary
from rushlight.store.journal import Journal
from rushlight.store.leases import Leases
from rushlight.store.positions import Position, Positions
from tests.engine.failing import failing
from tests.engine.shop import appended
from tests.faults.model import PARTITIONS, Model

Patch = pytest.MonkeyPatch
LOST_REPLY = {"code": 64, "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}}


class Bug(NamedTuple):
    """A bug.

    Attributes:
        seed: puts it into the code. story: what then happens; returns what checks said. check: how a line of the one
            that has to fire begins.
    """

    seed: Callable[[Patch], None]
    story: Callable[[Model], Awaitable[list[str]]]
    check: str


# Seeds


def unfenced(patch: Patch) -> None:
    """The commit moves the position without asking whose it is."""

    async def move(self: Committer, before: Position, work: commit.Work) -> None:
        change = {"n": work.position.n, "seq": work.position.seq, "commit": work.token}
        await self._database.positions.update_one({"_id": before.partition}, {"$set": change}, session=self._session)

    patch.setattr(Committer, "_move", move)


def same_epoch(patch: Patch) -> None:
    """Whoever takes a lease gets the epoch that its former owner had."""
    take, claim = Leases.take, Positions.claim

    async def take_without_raising(self: Leases, partition: int, session: Any) -> int | None:
        epoch = await take(self, partition, session)
        return None if epoch is None else 1

    async def claim_anyway(self: Positions, partition: int, epoch: int) -> Position:
        await self._positions.update_one({"_id": partition}, {"$set": {"epoch": 0}})
        return await claim(self, partition, epoch)

    patch.setattr(Leases, "take", take_without_raising)
    patch.setattr(Positions, "claim", claim_anyway)


def number_starts_anew(patch: Patch) -> None:
    """A new owner counts its commits from nought."""
    claim = Positions.claim

    async def forget(self: Positions, partition: int, epoch: int) -> Position:
        await claim(self, partition, epoch)
        await self._positions.update_one({"_id": partition}, {"$set": {"n": 0, "epoch": epoch - 1}})
        return await claim(self, partition, epoch)

    patch.setattr(Positions, "claim", forget)


def outside(collection: str) -> Callable[[Patch], None]:
    """Some documents are written beside the transaction instead of in it."""

    def seed(patch: Patch) -> None:
        update = bulk.update

        async def beside(where: Any, updates: Any, **how: Any) -> int:
            if where.name.startswith(collection):
                how["session"] = None
            return await update(where, updates, **how)

        patch.setattr(bulk, "update", beside)

    return seed


def no_outcome(patch: Patch) -> None:
    """What is not stored gets no terminal record."""
    account = Committer._account

    async def forget(self: Committer, partition: int, work: commit.Work) -> None:
        await account(self, partition, work._replace(outcomes=()))

    patch.setattr(Committer, "_account", forget)


def new_numbers(patch: Patch) -> None:
    """A commit of which nobody knows whether it happened is made again, under the next number."""

    async def again(self: Committer, before: Position, work: commit.Work) -> None:
        try:
            await self._attempt(before, work)
        except PyMongoError:
            found = Position.of(await of_primary(self._database.positions).find_one({"_id": before.partition}) or {})
            after = msgspec.structs.replace(work.position, n=found.n + 1)
            await self._attempt(found, work._replace(position=after))

    patch.setattr(Committer, "commit", again)


def outcomes_forgotten(patch: Patch) -> None:
    """Nobody looks whether an acknowledgement had ended before."""

    async def none(*_: object) -> set[str]:
        return set()

    patch.setattr(Journal, "outcomes", none)


def as_they_come(patch: Patch) -> None:
    """An aggregate's versions are taken in the order in which the stream brings them."""

    async def unsorted(_: Sorter, fresh: list[Any], *__: object) -> list[Any]:
        return fresh

    patch.setattr(Sorter, "_in_order", unsorted)


def gaps_stay(patch: Patch) -> None:
    """Nobody looks for versions that the stream has not brought."""

    async def nothing(*_: object) -> None:
        return

    patch.setattr(Sorter, "_fill_gaps", nothing)


def cleared_at_sight(patch: Patch) -> None:
    """Outbox entries are cleared when they are read."""
    sort = Sorter.sort

    async def clear(self: Sorter, arrived: Any) -> Batch:
        batch = await sort(self, arrived)
        await self._outbox._orders.update_many({}, {"$set": {"outbox": []}})
        return batch

    patch.setattr(Sorter, "sort", clear)


def poison_vanishes(patch: Patch) -> None:
    """What cannot be processed is passed over."""
    patch.setattr(Batch, "park", lambda *_: None)


def trimmed_to_nothing(patch: Patch) -> None:
    """The stream is trimmed to its end instead of to the position."""

    async def trim(self: StreamReader, _: str) -> None:
        await self._link.call(("XTRIM", stream_key(self.partition), "MAXLEN", 0), timeout_seconds=1.0)

    patch.setattr(StreamReader, "trim", trim)


def by_the_clock(patch: Patch) -> None:
    """A fold asks what time it is."""
    fold = Money.fold

    def at_some_time(self: Money, state: Any, event: Any) -> None:
        moment = event.occurred_at + timedelta(minutes=time.time_ns() // 1000 % 1000)
        fold(self, state, msgspec.structs.replace(event, occurred_at=moment))

    patch.setattr(Money, "fold", at_some_time)


def sent_is_settled(patch: Patch) -> None:
    """A log believes settled what it has sent."""
    sent = Settling.sent

    def believe(self: Settling, groups: Any) -> None:
        sent(self, groups)
        for group in groups:
            for segment in list(self._log.segments):
                for number in list(segment.open_of(group.partition, segment.first, min(segment.end, group.end))):
                    self._log.settle(number)

    patch.setattr(Settling, "sent", believe)


# Stories


async def two_owners(model: Model) -> list[str]:
    """Others take the partitions; the former owners go on."""
    await model.place(4, 0.0)
    await model.step()
    await model.take_over()
    await model.place(8, 0.0)
    return [*await model.zombies(), *await model.wrong()]


async def taken_over(model: Model) -> list[str]:
    """Owners follow each other."""
    await model.place(8, 0.0)
    await model.step(sweep=True)
    lines = await model.wrong()
    await model.take_over()
    return [*lines, *await model.wrong()]


async def dead_before_its_commit(model: Model) -> list[str]:
    """Everything is written, and the owner dies before it commits."""
    await model.place(4, 1.0)
    await model.step(sweep=True)
    await model.go_on(6, 1.0)
    assert await model.die("commit.ledger", sweep=True)
    return [*await model.wrong(), *await model.settle()]


async def repeated(model: Model) -> list[str]:
    """An event is acknowledged twice, and comes once more."""
    await model.accept(1)
    await model.step(sweep=True)
    await model.step()
    await model.accept_again(0)
    await model.step()
    await model.republish(2)
    await model.step()
    return [*await model.wrong(), *await model.settle()]


async def repeated_in_doubt(model: Model) -> list[str]:
    """An event is acknowledged twice, and nobody learns whether that was committed."""
    await model.accept(1)
    await model.step()
    await model.step()
    await model.accept_again(0)
    lost = {"failCommands": ["commitTransaction"], "writeConcernError": LOST_REPLY}
    async with failing(model.database, {"times": 1}, appName="rushlight model", **lost):
        await model.step()
    return [*await model.wrong(), *await model.settle()]


async def backwards(model: Model) -> list[str]:
    """What happened to an order comes in the reverse order."""
    await model.step()
    await model.place(1, 1.0)
    await model.go_on(3, 1.0)
    await model.republish(5)
    await model.step()
    return [*await model.wrong(), *await model.settle()]


async def with_gaps(model: Model) -> list[str]:
    """The first events of orders never reach the stream, the later ones do."""
    await model.step()
    await model.place(3, 1.0)
    await model.go_on(6, 0.0)
    await model.step()
    return [*await model.wrong(), *await model.settle()]


async def dead_in_mid_work(model: Model) -> list[str]:
    """An owner has read what lies in an outbox, and dies."""
    await model.place(4, 1.0)
    assert await model.die("batch.folded", sweep=True)
    return [*await model.wrong(), *await model.settle()]


async def poisoned(model: Model) -> list[str]:
    """An event that cannot be processed, and another one behind it."""
    await model.poison()
    await model.step(sweep=True)
    return [*await model.wrong(), *await model.settle()]


async def crowded(model: Model) -> list[str]:
    """More than a page waits in a stream."""
    await model.step()
    assert model.intake is not None
    events = [model.shop.seen("v-1") for _ in range(150)]
    for event in events:
        await appended(model.appender, partition_of(event.shop, event.aggregate_id, PARTITIONS), encode(event))
    model.shop.acknowledged += events
    await model.step()
    return await model.wrong()


async def wiped(model: Model) -> list[str]:
    """The streams are lost with what a log has sent."""
    await model.step()
    await model.accept(8)
    await model.wipe()
    return await model.settle()


BUGS: dict[str, Bug] = {
    "the position is not fenced": Bug(unfenced, two_owners, "fence:"),
    "the epoch of a lease is not raised": Bug(same_epoch, taken_over, "epoch:"),
    "a new owner counts its commits anew": Bug(number_starts_anew, taken_over, "position:"),
    "ledger counters are raised beside the transaction": Bug(outside("ledger"), dead_before_its_commit, "ledger"),
    "figures are written beside the transaction": Bug(outside("projection."), dead_before_its_commit, "fold"),
    "terminal records are not written": Bug(no_outcome, repeated, "lost:"),
    "an unknown commit is made again under a new number": Bug(new_numbers, repeated_in_doubt, "ledger"),
    "a repeated acknowledgement is not looked up": Bug(outcomes_forgotten, repeated, "ledger"),
    "the order of versions is ignored": Bug(as_they_come, backwards, "versions of"),
    "gaps between versions are not filled": Bug(gaps_stay, with_gaps, "versions of"),
    "an outbox is cleared before its entries are settled": Bug(cleared_at_sight, dead_in_mid_work, "lost:"),
    "poison is passed over": Bug(poison_vanishes, poisoned, "lost:"),
    "the stream is trimmed past the position": Bug(trimmed_to_nothing, crowded, "trim:"),
    "a fold depends on the clock": Bug(by_the_clock, taken_over, "fold"),
    "a log drops what it has only sent": Bug(sent_is_settled, wiped, "lost:"),
}
