"""The one clock that times of several machines are compared by: the MongoDB primary's."""

from __future__ import annotations

from datetime import UTC, datetime

from rushlight.store.database import Database


async def server_time(database: Database) -> datetime:
    """The server's present, in UTC with millisecond precision.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    hello = await database.client.admin.command("hello")
    present: datetime = hello["localTime"]
    return present.replace(tzinfo=UTC)
