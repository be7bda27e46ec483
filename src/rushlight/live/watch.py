"""Watches one shop while it has viewers: at most ten frames a second, at least one, each encoded once for all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from rushlight.errors import Unavailable
from rushlight.live.frames import Frames
from rushlight.live.picture import Painter, Picture
from rushlight.steady import steadily

log = logging.getLogger(__name__)

MIN_INTERVAL_SECONDS = 0.1
HEARTBEAT_SECONDS = 1.0
# A picture that took long to make is followed by a rest of this many times as long, so that a busy machine is left
# to those who sell.
REST_FACTOR = 2.0


class Audience(Protocol):
    """Those who watch one shop."""

    def broadcast(self, frame: bytes) -> None:
        """Hand a delta to everybody who has had a snapshot."""

    async def welcome(self, snapshot: Callable[[], bytes]) -> None:
        """Hand a snapshot to everybody who waits for one."""


class Watch:
    """The frames of one shop.

    Args:
        looked: told after each look whether anything had been stored since the look before.
    """

    def __init__(
        self, shop: str, painter: Painter, audience: Audience, looked: Callable[[bool], Awaitable[None]]
    ) -> None:
        self.shop = shop
        self._painter = painter
        self._audience = audience
        self._looked = looked
        self._frames = Frames(shop)
        self._dirty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seen_at = 0.0
        self._seen: datetime | None = None
        self._stored = 0
        self._failing = False

    def poke(self) -> None:
        """Something changed, or somebody waits."""
        self._dirty.set()

    def start(self) -> None:
        """Begin to watch."""
        if self._task is None:
            self._task = asyncio.create_task(steadily(self._run))

    async def stop(self) -> None:
        """Cease to watch."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        painting: asyncio.Task[Picture] | None = None
        try:
            while True:
                began = time.monotonic()
                if painting is None:
                    self._dirty.clear()
                    painting = asyncio.create_task(self._painter.paint())
                await asyncio.wait({painting}, timeout=HEARTBEAT_SECONDS)
                if not painting.done():
                    await self._show(None)
                    continue
                done, painting = painting, None
                await self._show(done)
                await self._rest(began)
        finally:
            if painting is not None:
                painting.cancel()
                await asyncio.gather(painting, return_exceptions=True)
            await self._painter.close()

    async def _show(self, painted: asyncio.Task[Picture] | None) -> None:
        """Send the next frame: the picture's, or a heartbeat when there is none."""
        picture = self._take(painted) if painted is not None else None
        if picture is not None:
            self._audience.broadcast(self._frames.advance(picture))
            self._seen, self._seen_at = picture.as_of, time.monotonic()
        elif not self._frames.is_empty:
            self._audience.broadcast(self._frames.repeat(self._as_of()))
        if not self._frames.is_empty:
            await self._audience.welcome(lambda: self._frames.snapshot(self._as_of()))
        stored, self._stored = self._stored, self._painter.stored
        await self._looked(self._stored != stored)

    def _take(self, painted: asyncio.Task[Picture]) -> Picture | None:
        try:
            picture = painted.result()
        except Unavailable as error:
            if not self._failing:
                log.warning("shop %s: the board stands still: %s", self.shop, error)
            self._failing = True
            return None
        self._failing = False
        return picture

    def _as_of(self) -> datetime:
        """The server's present, as far as it can be told since it was last heard."""
        if self._seen is None:
            raise LookupError(f"nothing has been seen of shop {self.shop}")
        return self._seen + timedelta(milliseconds=int(1000 * (time.monotonic() - self._seen_at)))

    async def _rest(self, began: float) -> None:
        """Leave a distance to the next frame, then wait until there is a reason for it."""
        took = time.monotonic() - began
        pause = max(MIN_INTERVAL_SECONDS - took, min(REST_FACTOR * took, HEARTBEAT_SECONDS))
        await asyncio.sleep(pause)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, began + HEARTBEAT_SECONDS - time.monotonic())):
                await self._dirty.wait()
