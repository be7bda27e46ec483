"""Counts the documents themselves and compares: are the ledger's counters what journal and outcomes hold?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping

import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession

from rushlight.store.accounts import LOG_ORIGIN, ORDERS_ACCOUNT
from rushlight.store.database import Database, Document
from rushlight.store.ledger import Ledger, read
from rushlight.store.outbox import ORIGIN as OUTBOX_ORIGIN

SHOWN_ORIGINS = 5
COLUMN_OF = {"duplicate": "duplicate", "parked": "parked", "dropped": "dropped", "unreadable": "parked"}

Columns = dict[str, dict[str, int]]

# In whose books an origin stands, as `store/accounts.py` has it.
ACCOUNT: Document = {
    "$switch": {
        "branches": [
            {"case": {"$eq": [{"$substrCP": ["$origin", 0, 2]}, OUTBOX_ORIGIN]}, "then": ORDERS_ACCOUNT},
            {"case": {"$eq": [{"$substrCP": ["$origin", 0, 2]}, LOG_ORIGIN]}, "then": "$source"},
        ],
        "default": None,
    }
}


class Recount(msgspec.Struct, rename="camel", kw_only=True):
    """What `rushlight ledger --verify` found.

    Attributes:
        verified: whether the ledger balances and every counter is what the documents say.
        differences: each disagreement in one sentence.
    """

    verified: bool
    ledger: Ledger
    differences: list[str]


async def verify(database: Database) -> Recount:
    """Recount everything; reads every event, so it takes its time.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    ledger = await read(database)
    async with database.client.start_session(snapshot=True) as session:
        counted = await _counted(database, session)
        documents = await _documents(database, session)
        differences = [
            *_compare(counted, documents),
            *[line async for line in _gaps(database, session)],
            *await _settled_twice(database, session),
        ]
    return Recount(verified=ledger.balanced and not differences, ledger=ledger, differences=differences)


async def _counted(database: Database, session: AsyncClientSession) -> Columns:
    columns: Columns = {}
    async for counter in database.ledger.find({}, session=session):
        of_source = columns.setdefault(counter["source"], {})
        for kind in ("stored", *COLUMN_OF):
            column = COLUMN_OF.get(kind, kind)
            of_source[column] = of_source.get(column, 0) + counter.get(kind, 0)
    return columns


async def _documents(database: Database, session: AsyncClientSession) -> Columns:
    columns: Columns = {}
    stored: list[Document] = [{"$group": {"_id": ACCOUNT, "n": {"$sum": 1}}}]
    async for row in await database.journal.aggregate(stored, session=session):
        if row["_id"] is not None:
            columns.setdefault(row["_id"], {})["stored"] = row["n"]
    ended: list[Document] = [
        {"$set": {"origin": "$_id"}},
        {"$group": {"_id": {"account": ACCOUNT, "kind": "$kind"}, "n": {"$sum": 1}}},
    ]
    async for row in await database.outcomes.aggregate(ended, session=session):
        if (account := row["_id"].get("account")) is not None:
            of_source = columns.setdefault(account, {})
            column = COLUMN_OF.get(row["_id"]["kind"], row["_id"]["kind"])
            of_source[column] = of_source.get(column, 0) + row["n"]
    return columns


def _compare(counted: Columns, documents: Columns) -> Iterator[str]:
    for source in sorted(counted.keys() | documents.keys()):
        ours, theirs = counted.get(source, {}), documents.get(source, {})
        for column in sorted(ours.keys() | theirs.keys()):
            says, holds = ours.get(column, 0), theirs.get(column, 0)
            if says != holds:
                yield f"{source}: the counter of {column} says {says}, and there are {holds}"


async def _gaps(database: Database, session: AsyncClientSession) -> AsyncIterator[str]:
    """Partitions whose journal is not the dense sequence that their position says."""
    ends: list[Document] = [{"$group": {"_id": "$p", "n": {"$sum": 1}, "last": {"$max": "$seq"}}}]
    found = {row["_id"]: row async for row in await database.journal.aggregate(ends, session=session, hint="place")}
    async for position in database.positions.find({}, {"seq": 1}, session=session):
        partition, seq = position["_id"], position["seq"]
        row: Mapping[str, int] = found.pop(partition, {"n": 0, "last": 0})
        if (row["n"], row["last"]) != (seq, seq):
            yield f"partition {partition}: position {seq}, but {row['n']} events up to place {row['last']}"
    for partition in sorted(found):
        yield f"partition {partition}: {found[partition]['n']} events without a position"


async def _settled_twice(database: Database, session: AsyncClientSession) -> list[str]:
    """Origins with two terminal records: two events, or an event and an outcome."""
    twice: list[Document] = [
        {"$group": {"_id": "$origin", "n": {"$sum": 1}}},
        {"$match": {"n": {"$gt": 1}}},
        {"$limit": SHOWN_ORIGINS},
    ]
    rows = await database.journal.aggregate(twice, session=session, allowDiskUse=True)
    lines = [f"{row['_id']} is in the journal {row['n']} times" async for row in rows]
    both: list[Document] = [
        {"$match": {"eventId": {"$gt": ""}}},
        {"$lookup": {"from": "journal", "localField": "eventId", "foreignField": "_id", "as": "stored"}},
        {"$set": {"stored": {"$first": "$stored.origin"}}},
        {"$match": {"$expr": {"$or": [{"$eq": ["$stored", "$_id"]}, _duplicate_of_nothing()]}}},
        {"$limit": SHOWN_ORIGINS},
        {"$project": {"kind": 1, "stored": 1}},
    ]
    async for row in await database.outcomes.aggregate(both, session=session):
        stored = "stored as well" if row.get("stored") else "but nothing of that id is stored"
        lines.append(f"{row['_id']} ended as {row['kind']}, {stored}")
    return lines


def _duplicate_of_nothing() -> Document:
    return {"$and": [{"$eq": ["$kind", "duplicate"]}, {"$lte": ["$stored", None]}]}
