"""Commands work on the instance that runs on the data directory, or run its servers and a worker while they last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from rushlight.errors import SetupError
from rushlight.local import Instance, joined, read
from rushlight.settings import Settings
from rushlight.store.database import Database


class Session(NamedTuple):
    """An instance to work on, its database, and settings with every URL filled in."""

    instance: Instance
    database: Database
    settings: Settings


def modules_of(settings: Settings) -> tuple[str, ...]:
    """The Python modules that were named, or else those of the instance that runs on the data directory."""
    instance = None if settings.modules else read(settings.path)
    return instance.settings.modules if instance else settings.modules


@asynccontextmanager
async def opened(
    settings: Settings, *, role: str, roles: Sequence[str] = ("worker",), reads: bool = False
) -> AsyncIterator[Session]:
    """A connection to the running instance, or to one that runs with ``roles`` for as long as this lasts.

    Args:
        role: shown in the server's list of connections.
        reads: the command only reads, so a directory without data is a mistake and not a beginning.

    Raises:
        SetupError, Unavailable: nothing runs and nothing can be started.
    """
    if reads and not settings.mongo_url and not settings.path.exists():
        raise SetupError(f"there is no Rushlight data in {settings.path.absolute()}: say where with --data")
    async with joined(settings, roles) as instance:
        database = await Database.connect(instance.settings, role=role)
        try:
            yield Session(instance, database, instance.settings)
        finally:
            await database.close()
