"""Many updates in few commands: what ``bulk_write`` does, without an object and a check for each of thousands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError

from rushlight.store.database import Collection, Document

MAX_COMMAND_UPDATES = 1000
# A command is one document of at most 16 MiB; this leaves room for its other fields.
MAX_COMMAND_BYTES = 12 << 20

Raw = RawBSONDocument


def encode(documents: Iterable[Document]) -> list[Raw]:
    """Documents or update statements as BSON, once; sending them copies bytes."""
    return [RawBSONDocument(bson.encode(document)) for document in documents]


async def update(
    collection: Collection,
    updates: Sequence[Raw],
    *,
    session: AsyncClientSession | None = None,
    write_concern: Document | None = None,
) -> int:
    """Run update statements (``{"q": …, "u": …, "upsert": …}``), in no particular order.

    Args:
        session: inside its transaction the transaction's concerns count.
        write_concern: outside a transaction.

    Returns:
        How many documents they matched or made.

    Raises:
        BulkWriteError: the server refused some; ``details["writeErrors"]`` tells which.
        PyMongoError: a command failed.
    """
    count = 0
    concern: dict[str, Any] = {"writeConcern": write_concern} if write_concern else {}
    for part in _parts(updates):
        command = {"update": collection.name, "updates": part, "ordered": False, **concern}
        reply = await collection.database.command(command, session=session)
        if reply.get("writeErrors"):
            raise BulkWriteError(reply)
        count += reply["n"]
    return count


def _parts(updates: Sequence[Raw]) -> Iterator[list[Raw]]:
    part: list[Raw] = []
    size = 0
    for statement in updates:
        if part and (len(part) == MAX_COMMAND_UPDATES or size + len(statement.raw) > MAX_COMMAND_BYTES):
            yield part
            part, size = [], 0
        part.append(statement)
        size += len(statement.raw)
    if part:
        yield part
