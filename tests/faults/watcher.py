"""A board that nobody reloads: it keeps what `analyticsUpdate` says, comes again when dropped, and minds versions."""

from __future__ import annotations

import asyncio
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.live.serving import RawViewer

SILENCE_SECONDS = 6.0
AGAIN_SECONDS = 0.2


class Watcher:
    """One viewer.

    Attributes:
        state: the figures as they are shown. wrong: versions that were not the next one, one sentence each.
        snapshots: how often it had to begin anew. frames: how many it has seen.
    """

    def __init__(self, board: str) -> None:
        self.state: dict[str, Any] = {}
        self.wrong: list[str] = []
        self.snapshots = 0
        self.frames = 0
        self._address = f"ws://{board.removeprefix('http://')}/socket.io/?EIO=4&transport=websocket"
        self._task = asyncio.create_task(self._watch())

    @property
    def currencies(self) -> dict[str, Any]:
        """Today's sales."""
        found: dict[str, Any] = self.state.get("today", {}).get("currencies", {})
        return found

    async def close(self) -> None:
        """Leave."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS) as silence:
                    async with connect(self._address, max_size=None, close_timeout=1) as connection:
                        viewer = RawViewer(connection, "/live")
                        await viewer.enter("default")
                        await self._read(viewer, silence)
            except (OSError, WebSocketException, TimeoutError, AssertionError):
                await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self, viewer: RawViewer, silence: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        version = None
        while True:
            frame = await viewer.frame()
            silence.reschedule(loop.time() + SILENCE_SECONDS)
            if version is None:
                self.snapshots += 1
                if not frame.get("snapshot"):
                    self.wrong.append("O the first frame of a connection is no snapshot")
                self.state = {}
            elif frame["version"] != version + 1:
                self.wrong.append(f"O frame {frame['version']} of the board came after {version}")
            version = frame["version"]
            self.frames += 1
            self.state.update(frame)
