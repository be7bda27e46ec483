"""Every check of the oracle fires: for each, something is made wrong behind the system's back, and it is found."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rushlight.store.database import Collection, Database, Document
from tests.faults import trial as module
from tests.faults.checks import agrees, check, look
from tests.faults.diary import Answered, Diary, Sent, entries
from tests.faults.told import Told
from tests.faults.trial import Audit, Trial, trial
from tests.faults.watcher import Watcher
from tests.faults.world import World, span

Tamper = Callable[[Database], Awaitable[object]]
COLLECTIONS = ("journal", "outcomes", "positions", "ledger", "orders", "projection.money")


@pytest_asyncio.fixture
async def settled(world: World, diary: Path) -> AsyncIterator[Trial]:
    """An installation with some sales in it, at rest and right."""
    async with trial(world, diary, seed=4711, pause=0.05) as running:
        await asyncio.sleep(1.5)
        assert await running.verdict() == []
        yield running


async def _one(database: Database, name: str, **condition: Any) -> Document:
    found = await database.journal.find_one({"eventName": name, **condition}, sort=[("seq", -1)])
    assert found is not None
    return found


async def _lose(database: Database) -> None:
    await database.journal.delete_one({"_id": (await _one(database, "order_created", source="orders"))["_id"]})


async def _lose_a_view(database: Database) -> None:
    await database.journal.delete_one({"_id": (await _one(database, "view_item"))["_id"]})


async def _twice(database: Database) -> None:
    await _again(database, await _one(database, "order_created", source="orders"))


async def _invent(database: Database) -> None:
    await _again(database, await _one(database, "view_item"))


async def _again(database: Database, document: Document) -> None:
    (last,) = await database.journal.find({"p": document["p"]}).sort("seq", -1).limit(1).to_list()
    await database.journal.insert_one({**document, "_id": "f" * 32, "origin": "w:bug:1", "seq": last["seq"] + 1})


async def _wrong_amount(database: Database) -> None:
    document = await _one(database, "order_created", source="orders")
    await database.journal.update_one({"_id": document["_id"]}, {"$inc": {"payload.gross": 1}})


async def _wrong_refund(database: Database) -> None:
    document = await _one(database, "order_refunded")
    await database.journal.update_one({"_id": document["_id"]}, {"$inc": {"payload.amount": 1}})


async def _wrong_figure(database: Database) -> None:
    money = database.projection("money")
    document = await money.find_one({"_id": {"$regex": "/d/orders/"}})
    assert document is not None
    quarter = next(iter(document["q"]))
    await money.update_one({"_id": document["_id"]}, {"$inc": {f"q.{quarter}.g": 1}})


async def _reorder(database: Database) -> None:
    second = await _one(database, "order_paid", source="orders")
    await database.journal.update_one({"_id": second["_id"]}, {"$set": {"version": 1}})
    await database.journal.update_one(
        {"aggregateId": second["aggregateId"], "eventName": "order_created"}, {"$set": {"version": 2}}
    )


async def _gap(database: Database) -> None:
    document = await _one(database, "view_item")
    await database.journal.update_one({"_id": document["_id"]}, {"$set": {"seq": 10**6}})


async def _position_back(database: Database) -> None:
    await database.positions.update_one({"seq": {"$gt": 0}}, {"$inc": {"seq": -1}})


async def _miscounted(database: Database) -> None:
    await database.ledger.update_one({"source": "web", "stored": {"$gt": 0}}, {"$inc": {"stored": 1}})


async def _pending(database: Database) -> None:
    order = await database.orders.find_one({})
    assert order is not None
    document = await _one(database, "order_created", aggregateId=order["_id"])
    entry = {"n": 99, "p": document["p"], "at": document["timestamp"], "e": b"{}"}
    await database.orders.update_one({"_id": order["_id"]}, {"$push": {"outbox": entry}, "$inc": {"emitted": 1}})


BUGS: list[tuple[str, Tamper]] = [
    ("D", _lose),
    ("D", _lose_a_view),
    ("U", _twice),
    ("N", _invent),
    ("R", _wrong_amount),
    ("R", _wrong_refund),
    ("R", _wrong_figure),
    ("O", _reorder),
    ("O", _gap),
    ("O", _position_back),
    ("L", _miscounted),
    ("C", _pending),
]


async def test_what_is_wrong_in_the_database_is_found(settled: Trial) -> None:
    """One document lost, doubled, invented, reordered or changed is named under its letter; put back, all is well."""
    database = settled._database
    for letter, tamper in BUGS:
        kept = {name: await database.client[database.name][name].find().to_list() for name in COLLECTIONS}
        await tamper(database)
        wrong = await check(Told.read(settled.diary), database, {})
        assert letter in {line[0] for line in wrong}, (tamper.__name__, wrong)
        for name, documents in kept.items():
            await _put_back(database.client[database.name][name], documents)
    # The audit in the background may have caught the position that was put back.
    assert [line for line in await settled.differences() if line not in settled.audit.wrong] == []


async def _put_back(collection: Collection, documents: list[Document]) -> None:
    """Only what was changed: workers go on meanwhile."""
    before = {document["_id"]: document for document in documents}
    found = {document["_id"]: document async for document in collection.find()}
    for name in found.keys() - before.keys():
        await collection.delete_one({"_id": name})
    for name, document in before.items():
        if found.get(name) != document:
            await collection.replace_one({"_id": name}, document, upsert=True)


async def test_what_is_shown_is_compared(settled: Trial) -> None:
    """A board or an answer that is off by one cent, or misses a currency, is found."""
    told = Told.read(settled.diary)
    await settled.verdict()
    # Of a board of a day that began a moment ago not all of it could be asked.
    summary = await settled.world.get(settled._http, f"/api/v1/summary?{span()}")
    shown = copy.deepcopy((summary or {})["currencies"])
    assert set(shown) == {"USD", "EUR", "JPY"}
    await settled._found(told)
    assert agrees(told.figures("orders"), shown)
    shown["JPY"]["gross"] = str(int(shown["JPY"]["gross"]) + 1)
    assert not agrees(told.figures("orders"), shown)
    wrong = await check(told, settled._database, {"board": shown})
    assert [line for line in wrong if line.startswith("C the board in JPY: gross")]
    del shown["USD"]
    assert not agrees(told.figures("orders"), shown)


async def test_what_goes_back_is_seen(settled: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """A position or epoch that goes back while nobody compares journals is seen by the audit, and so is a bound."""
    audit = Audit(settled.world, settled._database)
    await audit.look()
    audit._places = {p: (epoch + 1, n, seq) for p, (epoch, n, seq) in audit._places.items()}
    await audit.look()
    assert {line[0] for line in audit.wrong} == {"O"}
    monkeypatch.setattr(module, "MAX_RSS_BYTES", 1)
    audit._bounds()
    assert {line[0] for line in audit.wrong} == {"O", "B"}


class _Frames:
    """A viewer whose frames are given."""

    def __init__(self, *frames: dict[str, Any]) -> None:
        self._frames = list(frames)

    async def frame(self) -> dict[str, Any]:
        """The next one."""
        if not self._frames:
            raise ConnectionResetError
        return self._frames.pop(0)


@pytest.mark.parametrize(
    "frames",
    [
        ({"version": 1},),
        ({"version": 1, "snapshot": True}, {"version": 3}),
        ({"version": 5, "snapshot": True}, {"version": 4}),
        ({"version": 5, "snapshot": True}, {"version": 5}),
    ],
)
async def test_versions_of_the_board_are_minded(frames: tuple[dict[str, Any], ...]) -> None:
    """A board that begins without a snapshot, skips, repeats or goes back is found out."""
    watcher = Watcher("http://127.0.0.1:1")
    async with asyncio.timeout(5) as silence:
        with pytest.raises(ConnectionResetError):
            await watcher._read(_Frames(*frames), silence)  # type: ignore[arg-type]
    await watcher.close()
    assert [line[0] for line in watcher.wrong] == ["O"]


async def test_the_diary_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Entries are on disk when the call returns; answers decide what must, may and must not be stored."""
    book = Diary(tmp_path / "diary")
    sent = [
        Sent(key=f"k{n}", kind="event", source="web", aggregate="v", name="login", event_id=f"{n}") for n in range(3)
    ]
    await asyncio.gather(*(book.note(one) for one in sent))
    await book.note(Answered(key="k0", outcome="accepted"), Answered(key="k1", outcome="refused"))
    assert len(list(entries(book.path))) == 5
    await book.close()
    told = Told.read(book.path)
    assert (told.sent, told.accepted, told.refused, told.unknown) == (3, 1, 1, 1)

    def wrong(*ids: str) -> set[str]:
        documents = [
            {"_id": one, "source": "web", "eventName": "login", "aggregateId": "v", "payload": {}} for one in ids
        ]
        return {line[0] for line in look(told, documents, [])}

    assert wrong("0") == wrong("0", "2") == set()
    assert wrong() == {"D"}
    assert wrong("0", "1") == wrong("0", "9") == {"N"}
    assert wrong("0", "0") == {"U"}
