"""The last events of each shop that were turned away, and how many there were, by source and reason (``rejected``).

A sample is ``{shop, at, source, dialect, key, code, field, reason, sample}``; a shop's counts are in the document
``{_id: counts/SHOP, counts: {SOURCE: {code: n}}}``. What came without a key of any shop has the shop ``""``. Written
now and then and without waiting for a majority: the ledger says how much was turned away, this helps to find out why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from rushlight.store.database import Database, Document, relaxed

KEPT, STRANGE = 100, 20
NOBODY = ""
Counts = dict[str, dict[str, int]]


class Sample(msgspec.Struct, rename="camel", kw_only=True):
    """One event, or one request as a whole, that was turned away.

    Attributes:
        shop: empty when no shop's key came with it. key: the first characters of the key.
        code, field, reason: as its sender was told.
        sample: JSON of the event without secrets and personal data, or empty; a cut one is not whole JSON.
    """

    shop: str
    at: datetime
    source: str
    dialect: str
    key: str
    code: str
    field: str
    reason: str
    sample: str


async def keep(database: Database, samples: Sequence[Sample], counts: Mapping[str, Counts]) -> None:
    """Add samples and counts (by shop), and forget all but the last samples of each of these shops.

    Raises:
        PyMongoError: MongoDB does not take it.
    """
    rejected = relaxed(database.rejected)
    raised = [
        UpdateOne({"_id": f"counts/{shop}"}, {"$inc": _flat(of_shop)}, upsert=True) for shop, of_shop in counts.items()
    ]
    if raised:
        await rejected.bulk_write(raised, ordered=False)
    if samples:
        await rejected.insert_many([_document(sample) for sample in samples], ordered=False)
    for shop in {sample.shop for sample in samples}:
        old = await rejected.find({"shop": shop}, {"_id": 1}).sort([("at", -1), ("_id", -1)]).skip(KEPT).to_list()
        if old:
            await rejected.delete_many({"_id": {"$in": [row["_id"] for row in old]}})


async def latest(
    database: Database, shop: str, limit: int, session: AsyncClientSession | None = None
) -> tuple[Counts, Counts, list[Sample]]:
    """Counts of the shop, counts of what came without a key of any shop, and the last samples of both, newest first."""
    names = [f"counts/{shop}", f"counts/{NOBODY}"]
    found = {
        row["_id"]: row.get("counts", {})
        async for row in database.rejected.find({"_id": {"$in": names}}, session=session)
    }
    # A stranger's many must not push out the shop's own.
    own = await _last(database, shop, limit, session)
    strange = await _last(database, NOBODY, min(limit, STRANGE), session)
    rows = sorted([*own, *strange], key=lambda row: row["at"], reverse=True)[:limit]
    counts, nobody = (found.get(name, {}) for name in names)
    return counts, nobody, [msgspec.convert(row, Sample) for row in rows]


async def _last(database: Database, shop: str, limit: int, session: AsyncClientSession | None) -> list[Document]:
    found = database.rejected.find({"shop": shop}, {"_id": 0}, session=session)
    return await found.sort("at", -1).limit(limit).to_list()


def by_reason(counts: Counts) -> dict[str, int]:
    """The same whatever the source."""
    total: dict[str, int] = {}
    for codes in counts.values():
        for code, n in codes.items():
            total[code] = total.get(code, 0) + n
    return total


def _document(sample: Sample) -> Document:
    plain: dict[str, Any] = msgspec.to_builtins(sample, builtin_types=(datetime,))
    return plain


def _flat(counts: Counts) -> dict[str, int]:
    return {f"counts.{source}.{code}": n for source, codes in counts.items() for code, n in codes.items()}
