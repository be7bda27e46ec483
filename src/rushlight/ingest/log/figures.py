"""What one log publishes of itself: counts that only its records change, and how fresh they are."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from rushlight.failpoints import at
from rushlight.ingest.log.priority import MONEY
from rushlight.ingest.log.registry import Registration, sources_of
from rushlight.ingest.log.settling import Cut
from rushlight.ingest.log.wal import WriteAheadLog
from rushlight.store.database import Document

PUBLISH_SECONDS = 1.0
HEARTBEAT_SECONDS = 2.0
MAX_DAMAGE_LINES = 20


class Figures:
    """One log's figures: every second while something changes, and a heartbeat every two.

    Attributes:
        changed: whether there is something that was not published yet.
        rejected: what was turned away at the door, by source and reason.
    """

    def __init__(self, log: WriteAheadLog, registration: Registration, rejected: dict[str, dict[str, int]]) -> None:
        self.changed = True
        self.rejected = rejected
        self._log = log
        self._registration = registration
        self._published_at = 0.0
        self._oldest = {True: 0, False: 0}

    @property
    def pending(self) -> int:
        """Acknowledged records without a terminal record."""
        return self._log.pending.total()

    @property
    def due_seconds(self) -> float:
        """Time until the next heartbeat."""
        return max(0.0, self._published_at + HEARTBEAT_SECONDS - asyncio.get_running_loop().time())

    @property
    def is_due(self) -> bool:
        """Whether it is time to publish."""
        elapsed = asyncio.get_running_loop().time() - self._published_at
        return elapsed >= (PUBLISH_SECONDS if self.changed or self.pending else HEARTBEAT_SECONDS)

    async def time(self) -> datetime:
        """The server's time: what is found out after it may be published as checked at it.

        Raises:
            PyMongoError: it does not answer.
        """
        return await self._registration.time()

    async def publish(self, checked_at: datetime, *, closed: bool = False, cut: Cut | None = None) -> None:
        """Say how things stand.

        Args:
            cut: instead of the present, a moment of which the ledger's counters are known as well.

        Raises:
            PyMongoError: it may not have been said.
        """
        oldest = {"money": self._since(money=True), "behaviour": self._since(money=False)}
        figures: Document = {
            "checkedAt": checked_at,
            "sources": sources_of(*(cut[:2] if cut else (self._log.acknowledged, self._log.pending))),
            "rejected": self.rejected,
            "oldest": {name: at for name, at in oldest.items() if at is not None},
            "bytes": self._log.size,
            "closed": closed,
        }
        figures["terminals"] = cut.terminals if cut else {}
        if self._log.damage:
            figures["damage"] = self._log.damage[-MAX_DAMAGE_LINES:]
        self.changed = False
        self._published_at = asyncio.get_running_loop().time()
        at("log.publishing")
        await self._registration.publish(figures, final=closed)
        at("log.published")

    def _since(self, *, money: bool) -> datetime | None:
        """When the oldest unsettled event of a class was received, those among them that are not answered yet."""
        written = self._oldest_written(money=money)
        # Only a call of money priority can hold money; behaviour may be in any.
        calls = (call for call in self._log.writing if not money or call.priority == MONEY)
        writing = next((call.received_ms for call in calls), None)
        received = [at for at in (written, writing) if at is not None]
        return datetime.fromtimestamp(min(received) / 1000, UTC) if received else None

    def _oldest_written(self, *, money: bool) -> int | None:
        if money and not self._log.pending_money:
            self._oldest[True] = self._log.written_end
            return None
        number = self._log.next_open(self._oldest[money])
        while number is not None:
            segment = self._log.segment_of(number)
            if (segment.priorities[number - segment.first] == MONEY) == money:
                self._oldest[money] = number
                return segment.received[number - segment.first]
            number = self._log.next_open(number + 1)
        self._oldest[money] = self._log.written_end
        return None
