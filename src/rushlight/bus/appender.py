"""Appends to the streams: what is handed over at the same time shares one pipeline; nobody waits past a deadline."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import NamedTuple

from rushlight.bus.link import Link, pack
from rushlight.bus.stream import generation, generation_key, stream_key
from rushlight.errors import Unavailable

MAX_PIPELINE_ENTRIES = 1000
MAX_QUEUED_BYTES = 16 << 20
DEADLINE_SECONDS = 1.0
RETRY_SECONDS = 0.5


class Placed(NamedTuple):
    """Where an appended event came to stand."""

    generation: str
    entry: str


class _Append(NamedTuple):
    partition: int
    data: bytes
    done: asyncio.Future[Placed] | None


class Appender:
    """The sending side of the streams for one process.

    `append` is for senders that must know (ingest); `offer` is a fast path for those whose record stands elsewhere
    (the order service): never awaited, and dropped while Redis is unwell.
    """

    def __init__(self, url: str) -> None:
        self._link = Link(url)
        self._queue: deque[_Append] = deque()
        self._queued_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._unwell_until = 0.0
        self.dropped = 0

    @property
    def well(self) -> bool:
        """Whether the last exchange succeeded, or long enough has passed to try again."""
        return asyncio.get_running_loop().time() >= self._unwell_until

    def append(self, partition: int, data: bytes) -> asyncio.Future[Placed]:
        """Queue an envelope; the future gives its place.

        The future raises Unavailable when Redis does not take it in time: it may stand in the stream nevertheless.
        """
        done: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()
        self._enqueue(_Append(partition, data, done))
        return done

    def offer(self, partition: int, data: bytes) -> bool:
        """Queue an envelope if Redis is well and there is room; never waits, never raises."""
        if not self.well or self._queued_bytes > MAX_QUEUED_BYTES:
            self.dropped += 1
            return False
        self._enqueue(_Append(partition, data, None))
        return True

    async def close(self) -> None:
        """Send what is queued (within the deadline) and drop the connection."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=DEADLINE_SECONDS)
            self._task.cancel()
            await asyncio.wait([self._task])
        self._fail([*self._queue], Unavailable("the appender is closed"))
        self._queue.clear()
        await self._link.close()

    def _enqueue(self, item: _Append) -> None:
        self._queue.append(item)
        self._queued_bytes += len(item.data)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_PIPELINE_ENTRIES))]
            self._queued_bytes -= sum(len(item.data) for item in batch)
            try:
                await self._send(batch)
            except Unavailable as error:
                self._unwell_until = asyncio.get_running_loop().time() + RETRY_SECONDS
                self._fail(batch, error)
                self._drop_offers()
            except BaseException:  # closed in mid-exchange: nobody may wait for ever
                self._fail(batch, Unavailable("the appender is closed"))
                raise

    async def _send(self, batch: list[_Append]) -> None:
        # The generation's word is asked for before the entries: if the stream is lost between the two, they are
        # noted under the older generation and count as lost, never the other way round. Offers note nothing; should
        # one of them begin a stream anew, the reader makes the word when it comes.
        partitions = list(dict.fromkeys(item.partition for item in batch if item.done is not None))
        packed = bytearray()
        for partition in partitions:
            key = generation_key(partition)
            packed += pack(("SET", key, secrets.token_hex(8), "NX"))
            packed += pack(("GET", key))
        for item in batch:
            packed += _pack_append(item)
        heads = 2 * len(partitions)
        replies = await self._link.exchange(bytes(packed), heads + len(batch), timeout_seconds=DEADLINE_SECONDS)
        words = dict(zip(partitions, replies[1:heads:2], strict=True))
        for item, reply in zip(batch, replies[heads:], strict=True):
            self._settle(item, words.get(item.partition), reply)

    def _settle(self, item: _Append, word: object, reply: object) -> None:
        if not isinstance(reply, bytes):  # OOM, MISCONF, READONLY …
            self._unwell_until = asyncio.get_running_loop().time() + RETRY_SECONDS
            self._fail([item], Unavailable(f"Redis refuses: {reply}"))
        elif item.done is not None and not item.done.done():
            try:
                item.done.set_result(Placed(generation(word, self._link), reply.decode()))
            except Unavailable as error:
                item.done.set_exception(error)

    def _fail(self, items: list[_Append], error: Unavailable) -> None:
        for item in items:
            if item.done is None:
                self.dropped += 1
            elif not item.done.done():
                item.done.set_exception(error)

    def _drop_offers(self) -> None:
        offers = [item for item in self._queue if item.done is None]
        self.dropped += len(offers)
        self._queue = deque(item for item in self._queue if item.done is not None)
        self._queued_bytes = sum(len(item.data) for item in self._queue)


def _pack_append(item: _Append) -> bytes:
    key = stream_key(item.partition).encode()
    return b"*5\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$1\r\n*\r\n$1\r\ne\r\n$%d\r\n%b\r\n" % (
        len(key),
        key,
        len(item.data),
        item.data,
    )
