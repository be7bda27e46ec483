"""`GET /api/v1/parked` tells what is parked of a shop, why, and in which order it will be retried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rushlight.query.api import build
from rushlight.query.parked import parked
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.query.world import client

SINCE = datetime(2026, 3, 4, 5, tzinfo=UTC)


def record(number: int, aggregate: str, **changes: Any) -> dict[str, Any]:
    """A parked event, as a commit writes it."""
    fields = {"eventId": f"{number:032x}", "source": "web", "shop": "default", "eventName": "view_item"}
    kept = {"place": number, "reason": f"reason {number}", "event": f"<b>{number}</b>", "bytes": 8}
    stands = {"p": number % 3, "kind": "parked", "at": SINCE + timedelta(seconds=number)}
    return {"_id": f"w:log:{number}", **stands, **fields, **kept, "aggregateId": aggregate, **changes}


async def fill(database: Database) -> None:
    """Events of two aggregates, of another shop's, repeats, and what could not be read."""
    nobody = {"aggregateId": None, "shop": None, "eventName": None}
    unread = [record(20, "", _id="o:o-1:1"), record(21, "", _id="s:0:7-1", kind="unreadable")]
    for document in unread:
        for name in nobody:
            del document[name]
    events = [
        record(3, "v-1", version=4),
        record(2, "v-1", version=3, attempts=2, reason="first", eventName="purchase"),
        record(1, "v-2"),
        record(4, "v-3", shop="other"),
        record(5, "v-1", kind="dropped"),
        record(6, "v-1", kind="duplicate"),
    ]
    await database.outcomes.insert_many([*events, *unread])


async def test_what_is_parked(database: Database, settings: Settings) -> None:
    """Aggregates with count, age and the first reason; other shops' are not told; unreadable records are."""
    await fill(database)
    async with client(build(database, settings)) as http:
        answer = (await http.get("/api/v1/parked")).json()
        assert (answer["events"], answer["total"], answer["unreadableTotal"], answer["queue"]) == (3, 2, 2, [])
        second, first = answer["aggregates"]
        assert (second["aggregateId"], second["events"]) == ("v-2", 1)
        assert first == {
            "aggregateId": "v-1",
            "events": 2,
            "since": "2026-03-04T05:00:02Z",
            "reason": "first",
            "attempts": 2,
            "origin": "w:log:2",
            "eventNames": ["purchase", "view_item"],
            "sources": ["web"],
        }
        assert [(each["origin"], each["retryable"]) for each in answer["unreadable"]] == [
            ("o:o-1:1", True),
            ("s:0:7-1", False),
        ]
        limited = (await http.get("/api/v1/parked?limit=1")).json()
        assert (limited["total"], len(limited["aggregates"]), len(limited["unreadable"])) == (2, 1, 1)
        other = (await http.get("/api/v1/parked?shop=other")).json()
        assert [each["aggregateId"] for each in other["aggregates"]] == ["v-3"]


async def test_a_bounded_look(database: Database) -> None:
    """A board that looks at some of the events only counts no more than these."""
    await fill(database)
    found = await parked(database, "default", limit=5, at_most=2)
    assert (found.events, found.total, found.aggregates[0].reason) == (2, 1, "first")


async def test_one_aggregate(database: Database, settings: Settings) -> None:
    """With ``aggregate`` its events come in the order of a retry, each with its text."""
    await fill(database)
    async with client(build(database, settings)) as http:
        answer = (await http.get("/api/v1/parked?aggregate=v-1")).json()
        assert [(event["version"], event["event"]) for event in answer["queue"]] == [(3, "<b>2</b>"), (4, "<b>3</b>")]
        assert (answer["events"], answer["total"], answer["unreadableTotal"]) == (2, 1, 0)
        nobody = (await http.get("/api/v1/parked?aggregate=v-9")).json()
        assert (nobody["events"], nobody["queue"], nobody["aggregates"]) == (0, [], [])


async def test_wrong_questions(database: Database, settings: Settings) -> None:
    """A limit out of range or a shop that is none is the asker's fault."""
    async with client(build(database, settings)) as http:
        for query in ("limit=0", "limit=501", "limit=x", "shop=A%00", f"aggregate={'x' * 257}"):
            assert (await http.get(f"/api/v1/parked?{query}")).status_code == 400
