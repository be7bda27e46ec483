"""Sends an import's orders no faster than they settle, and notes as accepted only what is on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from rushlight.errors import Unavailable
from rushlight.events.envelope import Envelope
from rushlight.ingest.history.orders import Fault, OrderMaker
from rushlight.ingest.history.stage import Stage
from rushlight.ingest.history.work import Work

BATCH_EVENTS = 500
BATCH_LINES = 5_000
# What is under way at most. More would not be faster: workers make the larger batches of it, and when the transactions
# of all partitions together dirty a good part of MongoDB's cache (256 MB by default) it rolls them back.
MAX_UNSETTLED_EVENTS = 4_000
MAX_UNSETTLED_BYTES = 8 << 20
EVENT_BYTES, LINE_BYTES = 500, 100  # of an envelope without its lines, and of a line; an estimate
SAVE_SECONDS = 0.5
POLL_SECONDS = 0.02
PROGRESS_SECONDS = 0.2
STALL_SECONDS = 600.0

Phase = Literal["reading", "sending", "settling", "journal"]


class Acceptor(Protocol):
    """The write-ahead log as this module uses it (see ``ingest/intake.py``)."""

    @property
    def pending(self) -> int:
        """How many accepted events have no terminal record yet."""

    async def accept(self, envelopes: Sequence[Envelope], /) -> object:
        """Take events: they are on disk when this returns; Unavailable when there is no room."""

    def reject(self, source: str, reason: str, count: int = 1) -> None:
        """Count what was turned away, for the ledger."""

    async def settled(self) -> None:
        """Wait until everything that was accepted has its terminal record."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where an import is.

    Attributes:
        done, total: thousandths of the file while reading, orders while sending, events while settling or from the
            journal.
        pending: accepted events that are not settled. rejected: rows with a fault.
        waiting: why nothing moves just now, else empty.
    """

    phase: Phase
    done: int
    total: int
    pending: int = 0
    rejected: int = 0
    waiting: str = ""


class Sending:
    """Sends what is not accepted yet, and keeps count on disk."""

    def __init__(
        self,
        intake: Acceptor,
        maker: OrderMaker,
        work: Work,
        stage: Stage,
        progress: Callable[[Progress], None],
    ) -> None:
        self._intake = intake
        self._work = work
        self._tally = work.tally
        self._stage = stage
        self._progress = progress
        self._maker = maker
        self._accepted = msgspec.json.encode(self._tally)
        self._saved = self._told = 0.0
        self._sent_events = self._sent_bytes = 0

    async def run(self) -> None:
        """Send the rest of the file; what was accepted is kept whatever happens."""
        try:
            self._count_homeless()
            batch: list[Envelope] = []
            lines = 0
            for order in self._stage.read(self._tally.next):
                made = self._maker.make(order)
                batch += made.envelopes
                lines += len(order.lines)
                self._tally.add(order.number, order.size, made)
                self._reject(made.faults)
                if len(batch) >= BATCH_EVENTS or lines >= BATCH_LINES:
                    await self._send(batch, lines)
                    batch, lines = [], 0
            await self._send(batch, lines)
        finally:
            self._work.save(self._accepted)

    def _count_homeless(self) -> None:
        if self._tally.homeless:
            return
        for row, fault in self._stage.without_order():
            field, code = ("", "record") if fault else ("order_id", "id")
            faults = [Fault(row=row, field=field, reason=fault or "is empty", code=code)]
            self._tally.fail(faults)
            self._reject(faults)
        self._tally.homeless = True

    def _reject(self, faults: Sequence[Fault]) -> None:
        self._work.report(faults)
        for fault in faults:
            self._intake.reject(self._maker.source, fault.code)

    async def _send(self, batch: list[Envelope], lines: int) -> None:
        patience = Patience(self._intake)
        while self._full():
            await self._wait(patience, "for figures to catch up", POLL_SECONDS)
        while batch:
            try:
                await self._intake.accept(batch)
                break
            except Unavailable as error:
                await self._wait(patience, error.reason, min(error.retry_after_seconds, 1.0))
        self._sent_events += len(batch)
        self._sent_bytes += EVENT_BYTES * len(batch) + LINE_BYTES * lines
        self._accepted = msgspec.json.encode(self._tally)
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self._work.save(self._accepted)
            self._saved = time.monotonic()
        self._tell("")

    def _full(self) -> bool:
        pending = self._intake.pending
        mean = self._sent_bytes / self._sent_events if self._sent_events else EVENT_BYTES
        return pending >= MAX_UNSETTLED_EVENTS or pending * mean >= MAX_UNSETTLED_BYTES

    async def _wait(self, patience: Patience, reason: str, seconds: float) -> None:
        patience.check(reason)
        self._tell(reason if patience.seconds > PROGRESS_SECONDS else "")
        await asyncio.sleep(seconds)

    def _tell(self, waiting: str) -> None:
        if time.monotonic() - self._told > PROGRESS_SECONDS or self._tally.next == self._stage.orders:
            self._told = time.monotonic()
            self._progress(
                Progress(
                    phase="sending",
                    done=self._tally.next,
                    total=self._stage.orders,
                    pending=self._intake.pending,
                    rejected=self._tally.rejected,
                    waiting=waiting,
                )
            )


class Patience:
    """Gives up when for ten minutes nothing was settled."""

    def __init__(self, intake: Acceptor) -> None:
        self._intake = intake
        self._pending = intake.pending
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """For how long nothing has moved."""
        return time.monotonic() - self._since

    def check(self, reason: str) -> None:
        """Raise Unavailable when it has been too long."""
        if self._intake.pending != self._pending:
            self._pending, self._since = self._intake.pending, time.monotonic()
        if self.seconds > STALL_SECONDS:
            raise Unavailable(
                f"nothing was settled for {STALL_SECONDS:.0f} s ({reason}); is a worker running? "
                "The same command continues where this one ended"
            )


async def settle(intake: Acceptor, rejected: int, progress: Callable[[Progress], None]) -> None:
    """Wait until everything that was accepted is settled."""
    patience = Patience(intake)
    total = max(1, intake.pending)
    settling = asyncio.create_task(intake.settled())
    try:
        while not settling.done():
            patience.check("settling")
            left = intake.pending
            progress(
                Progress(
                    phase="settling",
                    done=total - min(left, total),
                    total=total,
                    pending=left,
                    rejected=rejected,
                )
            )
            await asyncio.wait([settling], timeout=PROGRESS_SECONDS)
    finally:
        settling.cancel()
        await asyncio.wait([settling])
    settling.result()
