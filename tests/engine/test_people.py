"""What names a person reaches ``subjects`` with the commit and nothing else, once; an erasure holds for who is late."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from rushlight.bus.appender import Appender
from rushlight.bus.broadcast import event_channel, listen
from rushlight.engine import people
from rushlight.engine.commit import next_position
from rushlight.events.catalogue import Line, OrderCreated
from rushlight.events.envelope import Envelope, now
from rushlight.events.ids import money_id, partition_of
from rushlight.failpoints import armed
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.positions import Positions
from rushlight.store.subjects import Subjects, subject_id, tombstone_id
from tests.engine.aside import asked, old_code, right, wish
from tests.engine.audit import audit, eventually, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop

NOW = now()
MAIL = "canary-7f3a@customers.example"
pytestmark = pytest.mark.timeout(300)


def told(shop: Shop, visitor: str, customer: str | None = None, **personal: Any) -> Envelope:
    """Something that a visitor did, with what names the person."""
    return shop.seen(visitor, customer_id=customer, personal=personal or None, occurred_at=NOW, received_at=now())


def as_stored(events: Sequence[Envelope]) -> list[Envelope]:
    """The events as the journal has to have them."""
    return [msgspec.structs.replace(event, personal=None) for event in events]


def bought(order_id: str, customer: str, visitor: str, **personal: Any) -> Envelope:
    """An order that came through the write-ahead log."""
    order = OrderCreated(
        order_id=order_id,
        currency="EUR",
        lines=[Line(product_id="p-1", quantity=1, amount=100)],
        gross=100,
        total=100,
        customer_id=customer,
        visitor_id=visitor,
    )
    event = order.seal(
        id=money_id("default", "api", order_id, "order_created"), shop="default", source="api", origin=f"w:l:{order_id}"
    )
    event.personal = personal or None
    return event


async def holding(database: Database, word: str) -> list[str]:
    """The collections in which a word stands."""
    found = []
    for name in await database.client[database.name].list_collection_names():
        documents = await database.client[database.name][name].find().to_list()
        if word in repr(documents):
            found.append(name)
    return sorted(found)


async def erase(database: Database, *subjects: tuple[str, str], at: datetime) -> None:
    """What an erasure does first: the tombstones, then the positions."""
    for kind, name in subjects:
        _id = tombstone_id("default", "c" if kind == "c" else "v", name)
        await database.erased.update_one({"_id": _id}, {"$max": {"at": at}}, upsert=True)
    await database.positions.update_many({}, {"$max": {"erased": at}})


async def person(database: Database, customer: str) -> dict[str, str]:
    """A customer's traits as JSON, by name."""
    found = await Subjects(database, 8).person("default", customer)
    return {name: trait.value for name, trait in found.traits.items()}


async def test_only_subjects_have_it(database: Database, appender: Appender, brisk: Settings) -> None:
    """Traits and links are there with the commit; journal, figures, outcomes and broadcasts hold nothing of them."""
    shop = Shop(database, appender, seed=61)
    heard: list[bytes] = []

    async def peek() -> None:
        async for message in listen(brisk.redis_url or "", [event_channel("view_item"), event_channel("add_to_cart")]):
            heard.append(message)  # noqa: PERF401 - looked at while it still listens

    listening = asyncio.create_task(peek())
    try:
        async with Redis.from_url(brisk.redis_url or "") as client:

            async def subscribed() -> bool:
                return all(n for _, n in await client.pubsub_numsub(event_channel("view_item")))

            await eventually(subscribed)
        first = [told(shop, "v-1", "ada", mail=MAIL, name="Ada"), told(shop, "v-2", phone="+49 1")]
        again = [told(shop, "v-2", "ada"), bought("o-77", "ada", "v-3", town="Ulm")]
        async with working(brisk):
            await shop.send(first)
            await settled(database, first)
            await shop.send([*again, *first])
            await settled(database, again)

            async def all_heard() -> bool:
                return len(heard) >= 3

            await eventually(all_heard)
        assert await holding(database, MAIL) == ["subjects"]
        assert MAIL.encode() not in b"".join(heard)
        found = await Subjects(database, 8).person("default", "ada")
        assert found.visitors == ["v-1", "v-2", "v-3"]
        assert await person(database, "ada") == {
            "mail": f'"{MAIL}"',
            "name": '"Ada"',
            "phone": '"+49 1"',
            "town": '"Ulm"',
        }
        assert await audit(database, as_stored([*first, *again])) == []
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_an_alias_and_what_is_known_costs_nothing(
    database: Database, appender: Appender, brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret key makes two names one person; a link that is stored is written again only for another day."""
    written: list[int] = []
    tell = people.Register.tell

    async def counting(self: people.Register, batch: Any) -> people.People | None:
        found = await tell(self, batch)
        written.append(len(found.updates) if found else 0)
        return found

    monkeypatch.setattr(people.Register, "tell", counting)
    shop = Shop(database, appender, seed=62)
    alias = shop.seen(
        "v-1", name="alias", payload={"visitorId": "v-1", "previousId": "former"}, customer_id="ada", occurred_at=NOW
    )
    alias.source = "api"
    claimed = shop.seen(
        "eve", name="alias", payload={"visitorId": "eve", "previousId": "ada"}, customer_id="eve", occurred_at=NOW
    )
    async with working(brisk):
        for events, updates in (
            ([told(shop, "v-1", "ada")], 1),
            ([told(shop, "v-1", "ada"), told(shop, "v-1"), told(shop, "ada", "ada")], 0),
            ([shop.seen("v-1", customer_id="ada", occurred_at=NOW - timedelta(days=2))], 1),
            ([alias], 2),
            ([alias], 0),
            ([claimed], 1),
        ):
            written.clear()
            await shop.send(events)
            await settled(database, events)

            async def passed() -> bool:
                return sum(written) == updates  # noqa: B023 - awaited in the same round

            await eventually(passed)
    names = await Subjects(database, 8).names("default", "former")
    assert names == ["former", "ada"]
    stranger = await Subjects(database, 8).person("default", "eve")
    assert (stranger.customers, stranger.visitors) == (["eve"], ["ada"])


async def test_a_parked_event_keeps_it_apart(database: Database, appender: Appender, brisk: Settings) -> None:
    """What is parked shows nothing personal; a retry delivers it, a drop ends it, and no copy stays."""
    shop = Shop(database, appender, seed=63)
    events = [told(shop, "v-1", "ada", mail=MAIL), told(shop, "v-2", "eve", mail=MAIL)]
    with old_code({"view_item", "add_to_cart"}):
        async with working(brisk):
            await shop.send(events)
            await settled(database, events)
    assert await holding(database, MAIL) == ["subjects"]
    assert await person(database, "ada") == {}
    async with working(brisk):
        await asked(database, wish("v-1"), wish("v-2", "drop", "no use"))
    assert await person(database, "ada") == {"mail": f'"{MAIL}"'}
    assert await person(database, "eve") == {}
    assert [d["_id"] async for d in Subjects(database, 8).parked("default")] == []
    await right(database, as_stored(events))


async def test_who_is_late_comes_without(database: Database, appender: Appender, brisk: Settings) -> None:
    """What was received before the erasure loses the person and the link; what comes after is a new relation."""
    shop = Shop(database, appender, seed=64)
    before = now() - timedelta(minutes=1)
    known, late = [told(shop, "v-0", "eve", mail="kept")], list[Envelope]()
    for event in (
        told(shop, "v-1", "ada", mail=MAIL),
        told(shop, "v-2", mail=MAIL),
        bought("o-78", "ada", "v-3", mail=MAIL),
        shop.seen("v-4", name="played", payload={"customerId": "ada", "x": 1}, customer_id="ada", trace="t"),
    ):
        event.received_at = before
        late.append(event)
    async with working(brisk):
        await shop.send(known)
        await settled(database, known)
        await erase(database, ("c", "ada"), ("v", "v-2"), at=now() - timedelta(seconds=30))
        await shop.send(late)
        await settled(database, late)
        assert await holding(database, MAIL) == []
        assert (await Subjects(database, 8).person("default", "ada")).visitors == []
        assert await person(database, "eve") == {"mail": '"kept"'}
        stored = {d["aggregateId"]: d async for d in database.journal.find({"_id": {"$in": [e.id for e in late]}})}
        assert "customerId" not in stored["v-1"]
        assert ("visitorId" in stored["o-78"], "visitorId" in stored["o-78"]["payload"]) == (False, False)
        assert stored["o-78"]["customerId"] == stored["o-78"]["payload"]["customerId"] == "ada"
        assert stored["v-4"]["payload"] == {"customerId": "erased", "x": 1}
        assert not {"customerId", "trace"} & stored["v-4"].keys()
        # Who was with whom is not known any more, and what the visitor said before is not taken either.
        stranger = told(shop, "v-1", mail=MAIL)
        stranger.received_at = before
        new = [stranger, told(shop, "v-1", "ada", mail="new"), bought("o-79", "ada", "v-3")]
        await shop.send(new)
        await settled(database, new)
    assert await holding(database, MAIL) == []
    assert await person(database, "ada") == {"mail": '"new"'}
    assert (await Subjects(database, 8).person("default", "ada")).visitors == ["v-1", "v-3"]


async def test_an_erasure_in_mid_commit(database: Database, appender: Appender, brisk: Settings) -> None:
    """A batch that was sorted before somebody was erased, and commits after, is made anew without the person."""
    shop = Shop(database, appender, seed=65)
    events = [told(shop, "v-1", "ada", mail=MAIL)]
    at = now() + timedelta(minutes=1)
    sorted_once = False
    partition = partition_of("default", "v-1", 8)

    def meanwhile() -> None:
        nonlocal sorted_once
        if not sorted_once:
            sorted_once = True
            erasing.append(asyncio.create_task(erase(database, ("c", "ada"), at=at)))

    erasing: list[asyncio.Task[None]] = []
    prepare = people.Register.prepare

    async def slowly(self: people.Register, batch: Any) -> None:
        await prepare(self, batch)
        if any(event.aggregate_id == "v-1" for event, _ in batch.accepted):
            meanwhile()
            await asyncio.gather(*erasing)

    async with working(brisk):
        visit = [told(shop, "v-1")]
        await shop.send(visit)
        await settled(database, visit)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(people.Register, "prepare", slowly)
            await shop.send(events)
            await settled(database, events)
    assert sorted_once
    assert await holding(database, MAIL) == []
    assert await database.subjects.count_documents({}) == 0
    position = await database.positions.find_one({"_id": partition})
    assert position is not None
    assert position["erased"] == at


async def test_nothing_of_it_without_the_commit(database: Database, appender: Appender, brisk: Settings) -> None:
    """A transaction that fails after the people were written leaves none of it; its repetition all of it, once."""
    shop = Shop(database, appender, seed=66)
    events: Sequence[Envelope] = [told(shop, "v-1", "ada", mail=MAIL)]
    seen: list[int] = []

    def fail() -> None:
        if len(seen) < 2:
            seen.append(1)
            raise OSError("no")

    async with working(brisk):
        visit = [told(shop, "v-1")]
        await shop.send(visit)
        await settled(database, visit)
        with armed("commit.people", fail):
            await shop.send(events)
            await settled(database, events)
    assert await person(database, "ada") == {"mail": f'"{MAIL}"'}
    link = subject_id(partition_of("default", "v-1", 8), "default", "l", "ada", "v-1")
    assert await database.subjects.count_documents({"_id": link}) == 1
    assert await audit(database, as_stored([*visit, *events])) == []


async def test_a_partition_that_begins_later_knows_of_it(database: Database) -> None:
    """A position that is made, or made anew, after an erasure says when somebody was erased last."""
    moments = [NOW - timedelta(hours=1), NOW, NOW - timedelta(hours=2)]
    await database.erased.insert_many([{"_id": str(at), "at": at} for at in moments])
    assert (await Positions(database).claim(0, 1)).erased == NOW
    assert next_position((await Positions(database).claim(0, 2)), events=1, generation="", entry="0-1").erased == NOW
