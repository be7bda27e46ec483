"""A commit is all or nothing, once or not at all, and only the owner's, whatever MongoDB answers on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from rushlight.engine import commit as module
from rushlight.engine.batch import Batch, Candidate, Outcome
from rushlight.engine.commit import Committer, Refused, Work, next_position
from rushlight.engine.folding import Folder
from rushlight.errors import Fenced, Retryable
from rushlight.events.envelope import Envelope, encode
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.money import Money
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.journal import Journal, to_raw
from rushlight.store.leases import Leases
from rushlight.store.positions import Position, Positions
from tests.engine.audit import audit
from tests.engine.failing import failing
from tests.engine.shop import Shop
from tests.engine.wire import wire

PARTITION = 0
# It is stored, and the answer says that nobody knows.
LOST_REPLY = {"code": 64, "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}}


@pytest_asyncio.fixture
async def fragile(failing_url: str, settings: Settings) -> AsyncIterator[Database]:
    """A database there, opened under the name ``rushlight owner``."""
    opened = await Database.connect(msgspec.structs.replace(settings, mongo_url=failing_url), role="owner")
    yield opened
    await opened.client.drop_database(opened.name)
    await opened.close()


class Owner:
    """Commits batches of one partition as its owner does."""

    def __init__(self, database: Database, position: Position) -> None:
        self.position = position
        self.database = database
        self._session = database.client.start_session()
        self._committer = Committer(database, self._session)

    @classmethod
    async def claim(cls, database: Database, epoch: int = 1) -> Owner:
        """The owner of this epoch."""
        return cls(database, await Positions(database).claim(PARTITION, epoch))

    async def work(self, *events: Envelope, outcomes: tuple[Outcome, ...] = ()) -> Work:
        """Fold events and outcomes into what the next transaction writes."""
        batch = Batch(accepted=[Candidate(event, encode(event)) for event in events], outcomes=list(outcomes))
        first = self.position.seq + 1
        journal = [to_raw(event, PARTITION, seq) for seq, event in enumerate(events, first)]
        folders = [Folder(self.database, projection, 1, PARTITION) for projection in (Money(), Behaviour())]
        folded = [await folder.fold(events, first) for folder in folders]
        after = next_position(self.position, events=len(events), generation="g", entry=f"{self.position.n + 1}-0")
        return Work.of(after, batch, folded, journal, [folder.name for folder in folders])

    async def commit(self, *events: Envelope, outcomes: tuple[Outcome, ...] = ()) -> None:
        """Commit events and outcomes in one batch."""
        await self.send(await self.work(*events, outcomes=outcomes))

    async def send(self, work: Work) -> None:
        """Commit what was folded."""
        await self._committer.commit(self.position, work)
        self.position = work.position

    async def close(self) -> None:
        """End the session and what it has open, as a worker does."""
        await Leases(self.database, "", 1.0).end(self._session.session_id["id"].as_uuid())
        await self._session.end_session()


def visits(count: int) -> list[Envelope]:
    """Events of visitors, all in this partition as far as anybody asks here."""
    shop = Shop(None, None)  # type: ignore[arg-type]  # it only makes events here
    return [shop.seen() for _ in range(count)]


async def state(database: Database) -> dict[str, Any]:
    """All that a commit writes, as it stands."""
    names = ("journal", "outcomes", "ledger", "positions", "projection.money", "projection.behaviour")
    db = database.client[database.name]
    return {name: await db[name].find().sort("_id").to_list() for name in names}


async def test_everything_moves_at_once(database: Database) -> None:
    """Journal, figures, outcomes, counters and position stand after a commit; two commits follow each other densely."""
    owner = await Owner.claim(database)
    events = visits(5)
    repeat = msgspec.structs.replace(events[0], origin="w:log:99")
    await owner.commit(*events[:3])
    await owner.commit(*events[3:], outcomes=(Outcome("duplicate", "w:log:99", "", encode(repeat), repeat),))
    assert await audit(database, [*events, repeat]) == []
    found = await Positions(database).read(PARTITION)
    assert found is not None
    assert (found.n, found.seq, found.entry) == (2, 5, "2-0")
    await owner.close()


async def test_a_repeat_that_nobody_saw(database: Database) -> None:
    """An event that another partition stored meanwhile stops the whole batch, which leaves no trace; sorted again."""
    owner = await Owner.claim(database)
    events = visits(3)
    await owner.commit(events[0])
    before = await state(database)
    other = {"_id": events[2].id, "p": 7, "seq": 1, "origin": "w:other:1", "shop": "default"}
    await database.journal.insert_one(other)
    with pytest.raises(Retryable, match="another partition"):
        await owner.commit(events[1], events[2])
    assert await Journal(database).origins([events[1].id, events[2].id]) == {events[2].id: "w:other:1"}
    await database.journal.delete_one({"_id": events[2].id})
    assert await state(database) == before
    await owner.commit(events[1])
    assert await audit(database, events[:2]) == []
    await owner.close()


async def test_the_former_owner_is_fenced(database: Database) -> None:
    """After another claimed the partition the former owner's commit leaves no trace, and is not tried again."""
    former = await Owner.claim(database, 1)
    events = visits(3)
    await former.commit(events[0])
    owner = await Owner.claim(database, 2)
    with pytest.raises(Fenced, match="newer owner"):
        await former.commit(events[1])
    await owner.commit(events[2])
    with pytest.raises(Fenced, match="newer owner"):
        await former.commit(events[1])
    assert await audit(database, [events[0], events[2]]) == []
    for one in (former, owner):
        await one.close()


async def test_anothers_commit_is_not_taken_for_ones_own(database: Database) -> None:
    """A commit with the same epoch and the next number, but not ours: our events are not believed committed."""
    owner, twin = await Owner.claim(database, 1), None
    twin = Owner(database, owner.position)
    first, second = visits(2)
    await twin.commit(first)
    with pytest.raises(Fenced, match="without us"):
        await owner.commit(second)
    assert await audit(database, [first]) == []
    for one in (owner, twin):
        await one.close()


async def test_what_never_fits(database: Database) -> None:
    """A sum beyond 64 bits is refused at once and for good, and leaves no trace."""
    owner = await Owner.claim(database)
    events = visits(2)
    await owner.commit(events[0])
    await database.ledger.update_one({"_id": "00/web"}, {"$set": {"stored": 2**63 - 1}})
    before = await state(database)
    with pytest.raises(Refused) as refused:
        await owner.commit(events[1])
    assert refused.value.for_good
    assert not any(word in str(refused.value) for word in ("full error", "clusterTime"))
    assert await state(database) == before
    await owner.close()


WAYS_TO_FAIL: list[tuple[list[str], int, dict[str, Any]]] = [
    (["commitTransaction"], 2, {"closeConnection": True}),
    (["commitTransaction"], 2, {"errorCode": 50}),
    (["commitTransaction"], 2, {"errorCode": 11602}),
    (["commitTransaction"], 2, {"writeConcernError": LOST_REPLY}),
    (["commitTransaction", "find"], 4, {"closeConnection": True}),
    (["commitTransaction", "abortTransaction"], 3, {"closeConnection": True}),
    (["update"], 2, {"closeConnection": True}),
    (["update"], 1, {"errorCode": 112}),
    (["insert"], 2, {"errorCode": 262}),
    (["insert", "abortTransaction"], 2, {"errorCode": 251}),
]


async def test_once_whatever_is_answered(fragile: Database) -> None:
    """Lost connections and replies, interrupted and unknown commits: each batch is committed once, the next too."""
    owner = await Owner.claim(fragile)
    events = visits(3 * len(WAYS_TO_FAIL))
    for number, (commands, times, how) in enumerate(WAYS_TO_FAIL):
        work = await owner.work(*events[3 * number : 3 * number + 2])
        async with failing(fragile, {"times": times}, failCommands=commands, appName="rushlight owner", **how):
            await owner.send(work)
        await owner.commit(events[3 * number + 2])
        assert owner.position.n == 2 * number + 2
        assert (number, await audit(fragile, events[: 3 * number + 3])) == (number, [])
    await owner.close()


async def test_once_though_nobody_hears_of_it(failing_url: str, settings: Settings) -> None:
    """The answer to a commit that was done gets lost, and to the driver's repeat of it too: it is committed once."""
    async with wire(failing_url) as between:
        database = await Database.connect(msgspec.structs.replace(settings, mongo_url=between.url), role="owner")
        owner = await Owner.claim(database)
        events = visits(5)
        for number, event in enumerate(events):
            between.lose("commitTransaction", number % 3)
            await owner.commit(event)
            assert owner.position.n == number + 1
        assert between.lost == 0 + 1 + 2 + 0 + 1
        assert await audit(database, events) == []
        await owner.close()
        await database.client.drop_database(database.name)
        await database.close()


async def test_a_commit_that_stays_unknown(fragile: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody says in time whether it was committed, the owner gives up; the next starts from what is there."""
    monkeypatch.setattr(module, "MAX_ATTEMPTS", 2)
    owner = await Owner.claim(fragile)
    events = visits(2)
    work = await owner.work(events[0])
    commands = ["commitTransaction", "find"]
    async with failing(fragile, "alwaysOn", failCommands=commands, errorCode=50, appName="rushlight owner"):
        with pytest.raises(Fenced, match="going on from what it has"):
            await owner.send(work)
    await owner.close()
    successor = await Owner.claim(fragile, 2)
    await successor.commit(events[1] if successor.position.n else events[0])
    assert successor.position.n in {1, 2}
    assert await audit(fragile, events[: successor.position.seq]) == []
    await successor.close()


async def test_too_much_at_once(fragile: Database) -> None:
    """A transaction that the server ends again and again is given back to be cut."""
    owner = await Owner.claim(fragile)
    events = visits(4)
    work = await owner.work(*events)
    async with failing(fragile, {"times": 3}, failCommands=["insert"], errorCode=251, appName="rushlight owner"):
        with pytest.raises(Refused) as refused:
            await owner.send(work)
    assert not refused.value.for_good
    await owner.commit(*events[:2])
    await owner.commit(*events[2:])
    assert await audit(fragile, events) == []
    await owner.close()


async def test_two_owners_at_once(database: Database) -> None:
    """Twenty commits of two who both believe to own the partition: each number is committed by one of them."""
    first = await Owner.claim(database, 1)
    second = Owner(database, first.position)
    events = visits(40)

    async def go_on(owner: Owner, mine: list[Envelope]) -> list[Envelope]:
        committed = []
        for event in mine:
            try:
                await owner.commit(event)
                committed.append(event)
            except Fenced:
                position = await Positions(database).read(PARTITION)
                assert position is not None
                owner.position = position
        return committed

    done = await asyncio.gather(go_on(first, events[:20]), go_on(second, events[20:]))
    committed = [event for mine in done for event in mine]
    assert committed
    assert await audit(database, committed) == []
    for one in (first, second):
        await one.close()
