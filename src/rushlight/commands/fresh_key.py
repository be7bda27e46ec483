"""``python -m rushlight.commands.fresh_key KIND``: prints a new write key of the default shop."""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

from rushlight.ingest.keys import create
from rushlight.settings import DEFAULT_SHOP, Settings
from rushlight.store.database import Database


async def main(kind: Literal["public", "secret"]) -> None:
    """Make it and print it."""
    database = await Database.connect(Settings.from_env(), role="keys")
    try:
        sys.stdout.write(await create(database, kind, DEFAULT_SHOP) + "\n")
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(main("secret" if sys.argv[1] == "secret" else "public"))
