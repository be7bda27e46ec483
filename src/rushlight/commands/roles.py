"""One role by itself, in this process: on the servers that are given by URL, or those of the data directory."""

from __future__ import annotations

import asyncio

import msgspec

from rushlight.app import run
from rushlight.local import joined
from rushlight.settings import Settings


def alone(role: str, settings: Settings) -> int:
    """Run a role until a signal; the exit code."""
    if settings.redis_url and settings.mongo_url:
        return run(role, settings)
    return asyncio.run(_beside_servers(role, settings))


async def _beside_servers(role: str, settings: Settings) -> int:
    async with joined(settings, ()) as instance:
        started = instance.settings
        with_port = settings.port if role != "worker" else started.port
        return await asyncio.to_thread(run, role, msgspec.structs.replace(started, port=with_port))
