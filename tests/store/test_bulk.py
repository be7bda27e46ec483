"""Many updates in few commands, none lost at the seams, and the server's refusals told."""

from __future__ import annotations

import pytest
from pymongo.errors import BulkWriteError

from rushlight.store import bulk
from rushlight.store.database import Database


async def test_more_than_a_command_holds(database: Database) -> None:
    """Statements beyond a command's count and beyond its bytes all arrive."""
    many = [{"q": {"_id": n}, "u": {"$inc": {"n": n}}, "upsert": True} for n in range(2500)]
    large = [{"q": {"_id": f"l{n}"}, "u": {"$set": {"text": "x" * 5_000_000}}, "upsert": True} for n in range(7)]
    await bulk.update(database.notices, bulk.encode([*many, *large]))
    await bulk.update(database.notices, [])
    assert await database.notices.count_documents({"_id": {"$type": "int"}}) == 2500
    assert await database.notices.count_documents({"_id": {"$type": "string"}}) == 7


async def test_refusals(database: Database) -> None:
    """A statement that the server refuses is an error with its code; the others were run."""
    statements = [
        {"q": {"_id": "text"}, "u": {"$set": {"n": "x"}}, "upsert": True},
        {"q": {"_id": "text"}, "u": {"$inc": {"n": 1}}, "upsert": True},
        {"q": {"_id": "other"}, "u": {"$inc": {"n": 1}}, "upsert": True},
    ]
    with pytest.raises(BulkWriteError) as refused:
        await bulk.update(database.notices, bulk.encode(statements))
    assert [row["index"] for row in refused.value.details["writeErrors"]] == [1]
    assert await database.notices.count_documents({"_id": "other"}) == 1
