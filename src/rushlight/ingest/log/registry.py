"""What each log says of itself in MongoDB (``logs``): registered before its first 2xx, silent when it is gone.

A document is ``{_id: log, host, path, holder: pid, startedAt, heartbeatAt, checkedAt, sources: {NAME: {acknowledged,
pending}}, rejected: {NAME: {reason: n}}, oldest: {money?, behaviour?}, bytes, capBytes, closed, damage?}``. ``oldest``
is when the oldest unsettled event of a class was received; ``checkedAt`` is the server's time from before that was
found out.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument

from rushlight.store.database import Database, Document, relaxed

IDENTITY = "identity"


async def identity(database: Database) -> str:
    """The name that this database was given once, by which a log knows whether it belongs here."""
    document = await database.meta.find_one_and_update(
        {"_id": IDENTITY},
        {"$setOnInsert": {"value": secrets.token_hex(8)}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return str((document or {})["value"])


async def partitions_of(database: Database) -> int:
    """The database's number of partitions, which is fixed for its life."""
    document = await database.meta.find_one({"_id": "partitions"})
    return int((document or {})["count"])


class Registration:
    """One log's document, written by its holder only."""

    def __init__(self, database: Database, log_id: str, path: str, cap_bytes: int) -> None:
        self._logs = database.logs
        self._relaxed = relaxed(database.logs)
        self._admin = database.client.admin
        self._id = log_id
        self._fixed: Document = {"host": host(), "path": path, "holder": os.getpid()}
        if cap_bytes:  # whoever only empties it leaves the cap as it was
            self._fixed["capBytes"] = cap_bytes

    async def begin(self) -> Document:
        """Take the document over, or make it; returns what it said before (``{}`` for a new log).

        Raises:
            PyMongoError: it is not registered, and must not acknowledge anything.
        """
        before = await self._logs.find_one_and_update(
            {"_id": self._id},
            {
                "$set": {**self._fixed, "closed": False},
                "$setOnInsert": {"sources": {}, "rejected": {}, "oldest": {}, "bytes": 0},
                "$currentDate": {"startedAt": True, "heartbeatAt": True, "checkedAt": True},
            },
            upsert=True,
        )
        return before or {}

    async def time(self) -> datetime:
        """The server's time.

        Raises:
            PyMongoError: it does not answer.
        """
        answer: dict[str, Any] = await self._admin.command("hello")
        moment: datetime = answer["localTime"]
        return moment

    async def publish(self, figures: Mapping[str, Any], *, final: bool = False) -> None:
        """Say how things stand, with a heartbeat of the server's time.

        Args:
            final: wait until a majority has it (the last word before leaving).

        Raises:
            PyMongoError: it may not have been said.
        """
        logs = self._logs if final else self._relaxed
        change: Document = {"$set": {**self._fixed, **figures}, "$currentDate": {"heartbeatAt": True}}
        await logs.update_one({"_id": self._id}, change)


def sources_of(acknowledged: Counter[str], pending: Counter[str]) -> Document:
    """Both counts by source, as the document has them."""
    return {name: {"acknowledged": count, "pending": pending[name]} for name, count in acknowledged.items()}


def host() -> str:
    """The name under which this machine's logs are registered."""
    return socket.gethostname()
