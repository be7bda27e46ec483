"""One owner a partition: a lease with a heartbeat, and an epoch that fences whoever held it before.

A lease document is ``{_id: p, owner, epoch, expiresAt, session}``, all times the server's. A live worker has the
document ``{_id: "worker:ID", expiresAt}``, by which workers know their fair share.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any
from uuid import UUID

from bson.binary import Binary, UuidRepresentation
from pymongo.errors import PyMongoError

from rushlight.failpoints import at
from rushlight.store.database import Database, Document

WORKER = "worker:"


class Leases:
    """The leases as one worker sees them."""

    def __init__(self, database: Database, owner: str, ttl_seconds: float) -> None:
        self._leases = database.leases
        self._positions = database.positions
        self._client = database.client
        self._owner = owner
        self._ttl_ms = int(ttl_seconds * 1000)

    async def heartbeat(self) -> set[int]:
        """Prolong this worker and all its leases.

        Returns:
            The partitions that are still its own.
        """
        await self.prolong()
        return {lease["_id"] async for lease in self._leases.find({"owner": self._owner}, {"_id": 1})}

    async def prolong(self, *, but: Collection[int] = ()) -> None:
        """Prolong this worker and its leases.

        Args:
            but: partitions whose leases may expire.
        """
        expires = {"$add": ["$$NOW", self._ttl_ms]}
        await self._leases.update_one(
            {"_id": f"{WORKER}{self._owner}"}, [{"$set": {"expiresAt": expires}}], upsert=True
        )
        mine: Document = {"owner": self._owner, **({"_id": {"$nin": list(but)}} if but else {})}
        await self._leases.update_many(mine, [{"$set": {"expiresAt": expires}}])

    async def survey(self) -> tuple[int, set[int]]:
        """How many workers live, and which partitions are held by a live owner."""
        live = self._leases.find({"$expr": {"$gt": ["$expiresAt", "$$NOW"]}}, {"_id": 1, "owner": 1})
        documents = await live.to_list()
        workers = sum(1 for document in documents if isinstance(document["_id"], str))
        return workers, {document["_id"] for document in documents if document.get("owner")}

    async def expire(self, is_dead: Callable[[str], bool]) -> None:
        """End the leases of owners that are known to be dead, before their time.

        A mistake costs a live owner its lease, never correctness: its next commit is fenced.

        Args:
            is_dead: whether the worker of this name is certainly gone.
        """
        workers = self._leases.find({"_id": {"$regex": f"^{WORKER}"}, "$expr": {"$gt": ["$expiresAt", "$$NOW"]}})
        names = [str(document["_id"]).removeprefix(WORKER) async for document in workers]
        for name in filter(is_dead, names):
            theirs = {"$or": [{"owner": name}, {"_id": f"{WORKER}{name}"}]}
            await self._leases.update_many(theirs, [{"$set": {"expiresAt": "$$NOW"}}])

    async def take(self, partition: int, session: UUID) -> int | None:
        """Take a partition that nobody holds.

        Whoever held it before is fenced by the new epoch, and its session is ended, so that a transaction that it
        left open does not hold up its successor.

        Args:
            session: id of the server session in which this owner will commit.

        Returns:
            The new epoch (the fencing token), or None when somebody else holds the lease.
        """
        free = {"$or": [{"owner": None}, {"$expr": {"$lte": ["$expiresAt", "$$NOW"]}}]}
        taken: list[Document] = [
            {
                "$set": {
                    "owner": self._owner,
                    "epoch": {"$add": ["$epoch", 1]},
                    "expiresAt": {"$add": ["$$NOW", self._ttl_ms]},
                    "session": _binary(session),
                }
            }
        ]
        if not await self._leases.find_one({"_id": partition}, {"_id": 1}):
            await self._begin(partition)
        before = await self._leases.find_one_and_update({"_id": partition, **free}, taken)
        if before is None:
            return None
        at("lease.taken")
        if before["owner"] and "session" in before:
            await self._kill(before["session"])
        return int(before["epoch"]) + 1

    async def _begin(self, partition: int) -> None:
        """The first lease; above the position's epoch where a restore brought back that alone."""
        position = await self._positions.find_one({"_id": partition}, {"epoch": 1}) or {"epoch": 0}
        first = {"owner": None, "epoch": position["epoch"]}
        await self._leases.update_one({"_id": partition}, {"$setOnInsert": first}, upsert=True)

    async def release(self, partition: int) -> None:
        """Give a partition back, if it is still held."""
        await self._leases.update_one({"_id": partition, "owner": self._owner}, {"$set": {"owner": None}})

    async def leave(self) -> None:
        """Give everything back and no longer count as a worker."""
        await self._leases.update_many({"owner": self._owner}, {"$set": {"owner": None}})
        await self._leases.delete_one({"_id": f"{WORKER}{self._owner}"})
        await self._leases.delete_many({"_id": {"$regex": f"^{WORKER}"}, "$expr": {"$lte": ["$expiresAt", "$$NOW"]}})

    async def end(self, session: UUID) -> None:
        """End what a session of our own has open, so that a transaction whose fate is unknown holds up nobody."""
        await self._kill(_binary(session))

    async def _kill(self, session: Any) -> None:
        # Where this is not allowed, transactionLifetimeLimitSeconds bounds the wait.
        with suppress(PyMongoError):
            await self._client.admin.command("killSessions", [{"id": session}])


def _binary(session: UUID) -> Binary:
    return Binary.from_uuid(session, UuidRepresentation.STANDARD)
