"""Breaks what runs on this machine, by name: the servers and the roles of an instance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from redis.asyncio import Redis

from rushlight.errors import SetupError
from rushlight.local import Instance, read

RESTART_SECONDS = 60.0
POLL_SECONDS = 0.02


class Faults:
    """Faults of one running instance; names are ``valkey``, ``mongod``, ``web``, ``orders``, ``worker-1`` …

    Args:
        instance: a running instance, or the data directory of one.

    Raises:
        SetupError: nothing runs there.
    """

    def __init__(self, instance: Instance | Path | str) -> None:
        found = instance if isinstance(instance, Instance) else read(instance)
        if found is None:
            raise SetupError(f"nothing runs on {instance}")
        self.instance = found

    @property
    def names(self) -> list[str]:
        """What can be broken."""
        return sorted(self.instance.children)

    async def kill(self, name: str) -> None:
        """End it with SIGKILL, and wait until its supervisor has started it again.

        Raises:
            SetupError: nothing of this name runs, or it does not come back within a minute.
        """
        before = self.instance.pid_of(name)
        self.instance.kill(name)
        deadline = time.monotonic() + RESTART_SECONDS
        while self.instance.pid_of(name) == before:
            if time.monotonic() > deadline:
                raise SetupError(f"{name} did not start again within {RESTART_SECONDS:g} s")
            await asyncio.sleep(POLL_SECONDS)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Inside, it neither answers nor dies (SIGSTOP); afterwards it goes on where it stood.

        Raises:
            SetupError: nothing of this name runs.
        """
        self.instance.freeze(name)
        try:
            yield
        finally:
            self.instance.thaw(name)

    @asynccontextmanager
    async def stopped(self, name: str) -> AsyncIterator[None]:
        """Inside, it is stopped, in good order, and stays so; afterwards it is started again.

        Raises:
            SetupError: nothing of this name runs, or it does not start again.
        """
        await self.instance.stop(name)
        try:
            yield
        finally:
            await self.instance.start(name)

    async def wipe(self) -> None:
        """Empty the transport (FLUSHALL), as a Redis that restarts without its data would be. Nothing else is lost."""
        async with Redis.from_url(self.instance.redis_url) as client:
            await client.flushall()
