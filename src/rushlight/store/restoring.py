"""A journal without its position, as a partial restore leaves it: the partition goes on after the journal's end.

Which of the journal's events stand in the figures nobody can say any more. So this partition's projection documents are
deleted, and its generations begin again at the first event, caught up from the journal as every one that is behind;
until then freshness says that they are. What the stream and the outboxes bring again is found out by its ids.
"""

from __future__ import annotations

import logging

from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from rushlight.errors import Fenced
from rushlight.store.database import Collection, Database, Document
from rushlight.store.generations import Generations, seq_name

log = logging.getLogger(__name__)

STEP_DOCUMENTS = 1000
PROJECTIONS = "projection."


async def restored(database: Database, partition: int, epoch: int) -> Document:
    """Make a partition whose position was lost fit to go on; the position as it then is.

    Interrupted, the next owner does it again: the position says ``lost`` until all of it is done.

    Raises:
        Fenced: a newer owner is at it.
    """
    log.error(
        "the position of partition %d was lost and its journal was not: its figures are made anew from the journal",
        partition,
    )
    fence = {"_id": partition, "epoch": epoch}
    async with database.client.start_session() as session:
        for name in sorted(await database.client[database.name].list_collection_names()):
            if name.startswith(PROJECTIONS):
                documents = database.projection(name.removeprefix(PROJECTIONS))
                while await _deleted(database, documents, fence, session):
                    pass
    known = await Generations(database).read()
    keys = [seq_name(name, number) for name in known.generations for number in known.of(name)]
    position = await database.positions.find_one_and_update(
        fence,
        {"$set": {"projections": dict.fromkeys(keys, 0)}, "$unset": {"lost": ""}},
        return_document=ReturnDocument.AFTER,
    )
    if position is None:
        raise _fenced(partition)
    return position


async def _deleted(database: Database, documents: Collection, fence: Document, session: AsyncClientSession) -> bool:
    """Delete some of a partition's documents, while it is still ours; whether there were any."""
    partition = fence["_id"]

    async def step(session: AsyncClientSession) -> bool:
        # The position is written first: a newer owner that folds anew must not lose what it has made.
        moved = await database.positions.update_one(fence, {"$inc": {"n": 1}}, session=session)
        if not moved.matched_count:
            raise _fenced(partition)
        found = documents.find({"p": partition}, {"_id": 1}, session=session).limit(STEP_DOCUMENTS)
        ids = [document["_id"] async for document in found]
        await documents.delete_many({"_id": {"$in": ids}}, session=session)
        return bool(ids)

    return await session.with_transaction(step)


def _fenced(partition: int) -> Fenced:
    return Fenced(f"partition {partition} has a newer owner")
