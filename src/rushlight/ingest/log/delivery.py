"""Brings every record of one log to its terminal record: sent, sent again for as long as it is unsettled, let go."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from pymongo.errors import PyMongoError

from rushlight.errors import Unavailable
from rushlight.failpoints import at
from rushlight.ingest.log.feed import Feed
from rushlight.ingest.log.figures import Figures
from rushlight.ingest.log.sender import Sender
from rushlight.ingest.log.settling import Settling
from rushlight.ingest.log.wal import Call, WriteAheadLog
from rushlight.steady import steadily
from rushlight.store.database import Database

logger = logging.getLogger(__name__)

STREAM_WAIT_SECONDS = 0.02
PASS_SECONDS = 0.25
MAX_PASS_SECONDS = 1.0
LAST_WORD_SECONDS = 2.0
FIRST_BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 1.0
MAX_DOUBTFUL_RECORDS = 2000


class Delivery:
    """The work on one log, for as long as this process holds it."""

    def __init__(self, log: WriteAheadLog, database: Database, redis_url: str, figures: Figures) -> None:
        self.log = log
        self.figures = figures
        self._sender = Sender(redis_url)
        self._settling = Settling(log, database, self._sender)
        self._feed = Feed(log, self._look_up)
        self._waiting: deque[tuple[Call, float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._well = True
        self._unsent = asyncio.Event()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._pass_seconds = PASS_SECONDS
        # Records from the feed's cursor up to here were sent, maybe in vain.
        self._doubtful_end = 0
        self._erased: datetime | None = None
        self._tasks: list[asyncio.Task[None]] = []
        log.on_written = self._on_written

    def start(self) -> None:
        """Begin to send, to look up what is settled, and to publish the figures."""
        self._tasks = [asyncio.create_task(steadily(work)) for work in (self._send_all, self._watch)]

    async def settled(self) -> None:
        """Wait until everything that is on disk now has its terminal record."""
        end = self.log.written_end
        while (first := self.log.next_open(0)) is not None and first < end:
            self._settled.clear()
            await self._settled.wait()

    async def close(self, *, settle_seconds: float) -> None:
        """Give what is pending so long to settle, say for good how things stand, and let go of the log."""
        with suppress(TimeoutError):
            async with asyncio.timeout(settle_seconds):
                await self.settled()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._answer_all()
        await self._sender.close()
        at_rest = not self.figures.pending
        if at_rest:
            with suppress(OSError):
                await self.log.compact()
        with suppress(PyMongoError, TimeoutError):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self.figures.publish(await self.figures.time(), closed=at_rest)
        await self.log.close()

    def note_change(self) -> None:
        """The figures changed."""
        self.figures.changed = True
        self._wake.set()

    # What happens when records are on disk

    def _on_written(self, calls: Sequence[Call]) -> None:
        self._feed.written(calls)
        self._unsent.set()
        self.note_change()
        if not self._well or not self._feed.current:  # the stream is behind; the disk is what was promised
            for call in calls:
                call.answer()
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + STREAM_WAIT_SECONDS
        self._waiting.extend([(call, due) for call in calls])
        if self._timer is None:
            self._timer = loop.call_at(due, self._answer_overdue)

    def _answer_sent(self) -> None:
        waiting, cursor = self._waiting, self._feed.cursor
        while waiting and waiting[0][0].end <= cursor:
            at("log.answering")
            waiting.popleft()[0].answer()

    def _answer_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._waiting and self._waiting[0][1] <= loop.time():
            self._waiting.popleft()[0].answer()
            self._well = False  # whoever comes next is answered when it is on disk, until Redis answers again
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][1], self._answer_overdue)

    def _answer_all(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            self._waiting.popleft()[0].answer()

    # Sending

    async def _send_all(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        self._unsent.set()
        while True:
            await self._unsent.wait()
            self._unsent.clear()
            while not self._feed.drained:
                try:
                    await self._send_some()
                except (Unavailable, PyMongoError, OSError) as error:
                    if backoff == FIRST_BACKOFF_SECONDS:
                        logger.warning("log %s cannot send, and keeps what comes: %s", self.log.id, error)
                    self._well = False
                    self._answer_all()
                    await asyncio.sleep(backoff * random.uniform(0.5, 1.5))
                    backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)
                else:
                    self._well = True
                    backoff = FIRST_BACKOFF_SECONDS

    async def _send_some(self) -> None:
        batch = await self._feed.next()
        if not batch.data:
            self._feed.advance(batch.start, batch.end)
            return
        self._doubtful_end = max(batch.end, self._doubtful_end)
        at("log.sending")
        groups, refused, error = await self._sender.append(batch.numbers, batch.partitions, batch.data)
        at("log.sent")
        self._settling.sent(groups)
        self._feed.advance(batch.start, batch.end if refused is None else refused)
        self._answer_sent()
        if error is not None:
            raise error

    async def _look_up_doubtful(self) -> None:
        """What was sent without an answer may stand in the stream, and be settled long before Redis answers again."""
        numbers: list[int] = []
        number = self.log.next_open(self._feed.cursor)
        while number is not None and number < self._doubtful_end and len(numbers) < MAX_DOUBTFUL_RECORDS:
            numbers.append(number)
            number = self.log.next_open(number + 1)
        if numbers and not self._well:
            await self._look_up(numbers)

    async def _look_up(self, numbers: Sequence[int]) -> None:
        if len(await self._settling.look_up(numbers)) < len(numbers):
            self._note_settled()

    def _note_settled(self) -> None:
        self._settled.set()
        self.note_change()

    # Finding out what is settled

    async def _watch(self) -> None:
        told = False
        while True:
            self._wake.clear()
            try:
                await self._round()
                told = False
            except (PyMongoError, Unavailable) as error:
                if not told:
                    logger.warning("log %s cannot find out what is settled: %s", self.log.id, error)
                told = True
                await asyncio.sleep(MAX_PASS_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds()):
                    await self._wake.wait()
                    await asyncio.sleep(PASS_SECONDS)

    def _pause_seconds(self) -> float:
        due = self.figures.due_seconds
        return due if self.log.next_open(0) is None else min(due, self._pass_seconds)

    async def _round(self) -> None:
        checked_at = await self.figures.time() if self.figures.is_due else None
        if self.log.next_open(0) is not None:
            await self._pass(thorough=checked_at is not None)
        if checked_at is not None:
            before = self.figures.pending
            cut = await self._settling.cut()
            if self.figures.pending < before:
                self._note_settled()
            await self.figures.publish(checked_at, cut=cut)
            await self._forget_erased()
        elif self.figures.changed and not self.figures.pending:
            await self.figures.publish(await self.figures.time())
        # Whoever found out that they are settled: a full log in which nothing is open has to make room as well.
        self.log.drop_settled()

    async def _forget_erased(self) -> None:
        """Once somebody was erased, the newest segment ends: it goes as soon as everything in it is settled."""
        newest = await self._settling.newest_erasure()
        if newest == self._erased or not self.log.segments:
            return
        last = self.log.segments[-1]
        with suppress(OSError):
            await self.log.compact()
        if self.log.segments[-1] is not last or last.end == last.first:
            self._erased = newest

    async def _pass(self, *, thorough: bool = False) -> None:
        before = self.figures.pending
        await self._look_up_doubtful()
        found, again = await self._settling.go_through(thorough=thorough)
        if again:
            self._feed.rewind(again)
            self._unsent.set()
        if self.figures.pending < before:
            self._note_settled()
        self._pass_seconds = PASS_SECONDS if found else min(1.5 * self._pass_seconds, MAX_PASS_SECONDS)
