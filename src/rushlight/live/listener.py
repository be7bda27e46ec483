"""Hears which shops changed. It is only a hint: watches look for themselves every second, with Redis or without."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import msgspec

from rushlight.bus.broadcast import CHANGES_CHANNEL, Change, listen

log = logging.getLogger(__name__)

# So many looks in a row that found changes of which nothing was heard: the subscription is dead, whatever it says.
MAX_UNHEARD_LOOKS = 5

_decoder = msgspec.json.Decoder(Change)


class Listener:
    """One subscription for one process, while it is wanted.

    Args:
        heard: called with each shop that changed.

    Attributes:
        restarts: how often the watchdog has made it anew.
    """

    def __init__(self, redis_url: str, heard: Callable[[str], None]) -> None:
        self._redis_url = redis_url
        self._heard = heard
        self._task: asyncio.Task[None] | None = None
        self._messages = 0
        self._unheard_looks = 0
        self._deaf = False
        self.restarts = 0

    def start(self) -> None:
        """Subscribe, if it is not subscribed."""
        if self._task is None or self._task.done():
            self._unheard_looks = 0
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Unsubscribe."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def looked(self, changed: bool) -> None:
        """Told after each look at the positions; makes the subscription anew when it misses what others see."""
        if self._messages or not changed:
            self._unheard_looks = 0
        else:
            self._unheard_looks += 1
        self._messages = 0
        if self._unheard_looks >= MAX_UNHEARD_LOOKS:
            if not self._deaf:
                log.warning("nothing is heard of changes that happen; subscribing anew")
            self._deaf = True
            self.restarts += 1
            await self.stop()
            self.start()

    async def _run(self) -> None:
        async for data in listen(self._redis_url, [CHANGES_CHANNEL]):
            self._messages += 1
            self._deaf = False
            with suppress(msgspec.MsgspecError):
                for shop in _decoder.decode(data).shops:
                    self._heard(shop)
