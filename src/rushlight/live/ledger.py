"""The ledger beside the figures: it stands for itself, and counting it never holds a frame up."""

from __future__ import annotations

import asyncio
import time

from rushlight.errors import Unavailable
from rushlight.query.figures import Figures, Ledger

INTERVAL_SECONDS = 0.9


class LedgerTile:
    """The ledger as it was last read: it stands for itself, and counting it may take longer than a frame."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._reading: asyncio.Task[Ledger] | None = None
        self._due = 0.0
        self.value: Ledger | None = None

    async def refresh(self) -> None:
        """Begin to read it when it is due, and take over what has been read; only the first is waited for.

        Raises:
            Unavailable: it could never be read so far; later the last one stays, and says how old it is.
        """
        now = time.monotonic()
        if self._reading is None and now >= self._due:
            self._reading = asyncio.create_task(self._figures.read_ledger())
            self._due = now + INTERVAL_SECONDS
        if self._reading is not None and (self.value is None or self._reading.done()):
            reading, self._reading = self._reading, None
            try:
                self.value = await reading
            except Unavailable:
                if self.value is None:
                    raise

    async def close(self) -> None:
        """Give up what is being read."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
