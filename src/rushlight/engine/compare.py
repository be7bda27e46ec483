"""Two generations of one projection side by side: which documents only one of them has, and where they differ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import bson
import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure

from rushlight.projections.keys import document_id, prefix_range
from rushlight.store.database import Database, Document
from rushlight.store.generations import seq_name
from rushlight.store.snapshots import RETRY_SECONDS, is_snapshot_gone

MAX_SHOWN = 10
# An owner may have one generation one step ahead of the other; it does not stay so.
ATTEMPTS = 50


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One document that differs.

    Attributes:
        key: the document's, after generation and partition. field: the first that differs, by its path; empty when
            only one of the generations has the document. live, new: its value there, as text; None where it is not.
    """

    partition: int
    key: str
    kind: str
    field: str = ""
    live: str | None = None
    new: str | None = None


class Comparison(msgspec.Struct, kw_only=True):
    """What came of it.

    Attributes:
        documents: compared, of the live generation. missing: only that has them. extra: only the new one has them.
        different: both have them, and not the same. first: some of them all.
        unequal: partitions where the generations do not stand at the same place, which were not compared.
    """

    documents: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    first: list[Difference] = []
    unequal: list[int] = []

    @property
    def is_equal(self) -> bool:
        """Whether everything was compared and nothing differs."""
        return not (self.missing or self.extra or self.different or self.unequal)

    def note(self, difference: Difference) -> None:
        """Count one."""
        setattr(self, difference.kind, getattr(self, difference.kind) + 1)
        if len(self.first) < MAX_SHOWN:
            self.first.append(difference)


def canonical(document: Mapping[str, Any]) -> bytes:
    """The same bytes for the same content: keys sorted, every whole number in the least room it needs."""
    return bson.encode(_sorted(document))


async def compare(database: Database, name: str, live: int, new: int) -> Comparison:
    """Compare all documents of two generations, each partition at one moment at which both stand at the same place.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    comparison = Comparison(first=[])
    partitions = sorted([position["_id"] async for position in database.positions.find({}, {"_id": 1})])
    for partition in partitions:
        found = await _compared(database, name, (live, new), partition)
        if found is None:
            comparison.unequal.append(partition)
            continue
        comparison.documents += found.documents
        for kind in ("missing", "extra", "different"):
            setattr(comparison, kind, getattr(comparison, kind) + getattr(found, kind))
        comparison.first += found.first[: MAX_SHOWN - len(comparison.first)]
    return comparison


async def _compared(database: Database, name: str, both: tuple[int, int], partition: int) -> Comparison | None:
    for _ in range(ATTEMPTS):
        try:
            async with database.client.start_session(snapshot=True) as session:
                position = await database.positions.find_one({"_id": partition}, session=session) or {}
                seqs = {position.get("projections", {}).get(seq_name(name, number), 0) for number in both}
                if len(seqs) == 1:
                    return await _walk(database, name, both, partition, session)
        except OperationFailure as error:
            if not is_snapshot_gone(error):
                raise
        await asyncio.sleep(RETRY_SECONDS)
    return None


async def _walk(
    database: Database, name: str, both: tuple[int, int], partition: int, session: AsyncClientSession
) -> Comparison:
    """Both in the order of their keys, like the two halves of a zip."""
    found = Comparison(first=[])
    ours, theirs = [_documents(database, name, document_id(n, partition, ""), session) for n in both]
    left, right = await anext(ours, None), await anext(theirs, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None  # noqa: S101 - one of them is there
            found.note(Difference(partition=partition, key=left[0], kind="missing"))
        elif left is None or right[0] < left[0]:
            found.note(Difference(partition=partition, key=right[0], kind="extra"))
            right = await anext(theirs, None)
            continue
        elif canonical(left[1]) != canonical(right[1]):
            found.note(_first_difference(partition, left[0], left[1], right[1]))
            right = await anext(theirs, None)
        else:
            right = await anext(theirs, None)
        found.documents += 1
        left = await anext(ours, None)
    return found


async def _documents(
    database: Database, name: str, prefix: str, session: AsyncClientSession
) -> AsyncIterator[tuple[str, Document]]:
    cursor = database.projection(name).find({"_id": prefix_range(prefix)}, session=session).sort("_id")
    async for document in cursor:
        yield document.pop("_id")[len(prefix) :], document


def _first_difference(partition: int, key: str, live: Document, new: Document) -> Difference:
    ours, theirs = dict(_flat(live)), dict(_flat(new))
    field = min(
        path
        for path in ours.keys() | theirs.keys()
        if (path in ours) != (path in theirs) or _bytes(ours[path]) != _bytes(theirs[path])
    )
    values = [repr(some[field]) if field in some else None for some in (ours, theirs)]
    return Difference(partition=partition, key=key, kind="different", field=field, live=values[0], new=values[1])


def _bytes(value: Any) -> bytes:
    return canonical({"": value})


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    if not items:
        yield path, value
    for name, item in items:
        yield from _flat(item, f"{path}.{name}" if path else str(name))


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    # A sum that once needed 64 bits keeps them in the store.
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
