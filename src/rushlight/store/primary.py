"""Whether MongoDB has a primary."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pymongo
from pymongo.errors import PyMongoError

from rushlight.store.database import Database

CHECK_SECONDS = 1.0


def mongodb(database: Database) -> Callable[[], Awaitable[str | None]]:
    """The check that a primary answers."""

    async def answers() -> str | None:
        try:
            with pymongo.timeout(CHECK_SECONDS):
                await database.client.admin.command("ping")
        except PyMongoError:
            return "no primary answers"
        return None

    return answers
