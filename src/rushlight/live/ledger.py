"""The ledger beside the figures: it stands for itself, and counting it never holds a frame up."""

from __future__ import annotations

import asyncio
import time

from rushlight.errors import Unavailable
from rushlight.query.figures import Figures, Ledger

INTERVAL_SECONDS = 0.9
# A small ledger is read in less than this, and stands in the same frame.
MOMENT_SECONDS = 0.05


class LedgerTile:
    """The ledger as it was last read: it stands for itself, and counting it may take longer than a frame."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._reading: asyncio.Task[Ledger] | None = None
        self._due = 0.0
        self.value: Ledger | None = None

    async def refresh(self) -> None:
        """Begin to read it when it is due, and take over what has been read; the first is waited for.

        Raises:
            Unavailable: it could never be read so far; later the last one stays, and says how old it is.
        """
        patience = None if self.value is None else 0.0
        if self._reading is None and time.monotonic() >= self._due:
            self._due = time.monotonic() + INTERVAL_SECONDS
            self._reading = asyncio.create_task(self._figures.read_ledger())
            patience = None if self.value is None else MOMENT_SECONDS
        if self._reading is None:
            return
        await asyncio.wait({self._reading}, timeout=patience)
        if self._reading.done():
            reading, self._reading = self._reading, None
            try:
                self.value = reading.result()
            except Unavailable:
                if self.value is None:
                    raise

    async def close(self) -> None:
        """Give up what is being read."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
