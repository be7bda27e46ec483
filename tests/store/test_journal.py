"""What the journal and the outcomes say of an event, an acknowledgement and an aggregate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rushlight.events.envelope import Envelope
from rushlight.store.database import Database
from rushlight.store.journal import Journal, to_document

MOMENT = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def event(number: int, **changes: Any) -> Envelope:
    """An event that differs from the others by its number."""
    plain: dict[str, Any] = {
        "id": f"e{number}",
        "name": "page_view",
        "aggregate_id": "a",
        "payload": {},
        "occurred_at": MOMENT,
        "received_at": MOMENT,
        "shop": "default",
        "source": "web",
        "origin": f"w:l:{number}",
    }
    return Envelope(**plain | changes)


async def store(database: Database, *events: Envelope, partition: int = 0) -> None:
    """Put events into the journal as one partition's."""
    await database.journal.insert_many([to_document(e, partition, seq) for seq, e in enumerate(events, start=1)])


async def test_what_is_settled(database: Database) -> None:
    """An acknowledgement is settled when its event is stored under it, or when it ended otherwise, and only then."""
    await store(database, event(1), event(2))
    await database.outcomes.insert_one({"_id": "w:l:9", "kind": "duplicate", "p": 0})
    journal = Journal(database)
    assert await journal.origins(["e1", "e2", "e3"]) == {"e1": "w:l:1", "e2": "w:l:2"}
    assert await journal.outcomes(["w:l:1", "w:l:9"]) == {"w:l:9"}
    pairs = [("e1", "w:l:1"), ("e1", "w:l:9"), ("e2", "w:other:2"), ("e3", "w:l:3")]
    assert await journal.settled(pairs) == {"w:l:1", "w:l:9"}
    assert await journal.settled([]) == set()


async def test_versions(database: Database) -> None:
    """The highest version with a terminal record, stored or parked, shop by shop."""
    await store(
        database,
        event(1, version=1),
        event(2, version=3),
        event(3, version=5, shop="other"),
        event(4, aggregate_id="b"),
        event(5, aggregate_id="c", version=9),
    )
    parked = {"kind": "parked", "p": 0, "shop": "default", "aggregateId": "a", "version": 4}
    await database.outcomes.insert_many(
        [{"_id": "1", **parked}, {"_id": "2", **parked, "kind": "duplicate", "version": 8}]
    )
    journal = Journal(database, latest=True)
    assert await journal.versions(["a", "b", "absent"]) == {("default", "a"): 4, ("other", "a"): 5}
    assert await journal.parked(0) == {("default", "a")}
    assert await journal.parked(1) == set()


async def test_reading_on(database: Database) -> None:
    """A partition is read in its sequence, page by page; an aggregate by version, whatever its partition holds."""
    await store(database, *[event(n, version=10 - n) for n in range(1, 8)])
    await store(database, event(100, aggregate_id="b"), partition=1)
    journal = Journal(database)
    first = await journal.read(0, after=0, limit=4)
    rest = await journal.read(0, after=first[-1]["seq"], limit=40)
    assert [document["seq"] for document in [*first, *rest]] == [1, 2, 3, 4, 5, 6, 7]
    trail = [document["version"] async for document in journal.of_aggregate("a", "default")]
    assert trail == [3, 4, 5, 6, 7, 8, 9]
