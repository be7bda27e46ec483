"""Appends a log's records to the streams: one exchange at a time, in order, so that nothing overtakes what failed.

A partition's records go in one command (a script of one loop): all of them or none, and the last one's place to read.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

from rushlight.bus.appender import Placed
from rushlight.bus.link import Link, pack_head, pack_part
from rushlight.bus.stream import FIRST_ENTRY, generation, generation_key, stream_key
from rushlight.errors import Unavailable

DEADLINE_SECONDS = 1.0
APPEND_SCRIPT = "local r for i=1,#ARGV do r=redis.call('XADD',KEYS[1],'*','e',ARGV[i]) end return r"


class Group(NamedTuple):
    """Records of one partition that were appended together.

    Attributes:
        end: the number after the last one's. placed: where that one stands; the others stand before it.
    """

    partition: int
    end: int
    records: int
    placed: Placed


class Sent(NamedTuple):
    """What one exchange achieved: what was appended; the first record that was not, and why."""

    groups: list[Group]
    refused: int | None = None
    error: Unavailable | None = None


class Sender:
    """One connection to Redis for one log."""

    def __init__(self, url: str) -> None:
        self._link = Link(url)
        self._one = asyncio.Lock()  # exchange at a time
        # The streams' words as last read. An old one is harmless: what is noted under it counts as lost, never the
        # other way round.
        self._words: dict[int, bytes] = {}

    async def append(self, numbers: Sequence[int], partitions: Sequence[int], data: Sequence[bytes]) -> Sent:
        """Append records, in this order within each partition; a refusal concerns whole partitions.

        Args:
            numbers: the records' in the log. partitions: where each belongs. data: the envelopes.

        Raises:
            Unavailable: no answer; any part of them may stand in the streams.
        """
        groups: dict[int, list[bytes]] = {}
        last = dict(zip(partitions, numbers, strict=True))
        for partition in last:
            groups[partition] = []
        for partition, envelope in zip(partitions, data, strict=True):
            groups[partition].append(envelope)
        async with self._one:
            await self._learn(groups.keys() - self._words.keys())
            packed = b"".join([_pack(partition, group) for partition, group in groups.items()])
            replies = await self._link.exchange(packed, len(groups), timeout_seconds=DEADLINE_SECONDS)
        placed: list[Group] = []
        refused: list[int] = []
        error = None
        for (partition, group), reply in zip(groups.items(), replies, strict=True):
            if isinstance(reply, bytes):
                place = Placed(generation(self._words[partition], self._link), reply.decode())
                placed.append(Group(partition, last[partition] + 1, len(group), place))
            else:  # OOM, MISCONF, READONLY …
                error = Unavailable(f"Redis refuses: {reply}")
                refused.append(numbers[partitions.index(partition)])
        if error is None:
            return Sent(placed)
        await self._link.close()  # it may have become somebody else's replica
        return Sent(placed, min(refused), error)

    async def heads(self, partitions: Collection[int]) -> dict[int, Placed]:
        """Each stream's generation as of now, and the highest id that it ever gave out in it.

        Raises:
            Unavailable: no answer.
        """
        commands = [("XINFO", "STREAM", stream_key(partition)) for partition in partitions]
        async with self._one:
            await self._learn(partitions)
            replies = await self._link.call(*commands, timeout_seconds=DEADLINE_SECONDS)
        return {
            partition: Placed(generation(self._words[partition], self._link), _last_id(reply))
            for partition, reply in zip(partitions, replies, strict=True)
        }

    async def close(self) -> None:
        """Drop the connection."""
        await self._link.close()

    async def _learn(self, partitions: Collection[int]) -> None:
        if not partitions:
            return
        own = secrets.token_hex(8)
        commands = [("SET", generation_key(partition), own, "NX", "GET") for partition in partitions]
        replies = await self._link.call(*commands, timeout_seconds=DEADLINE_SECONDS)
        for partition, reply in zip(partitions, replies, strict=True):
            if reply is not None and not isinstance(reply, bytes):
                raise Unavailable(f"Redis gives no generation: {reply}")
            self._words[partition] = reply or own.encode()


def _pack(partition: int, group: Sequence[bytes]) -> bytes:
    parts = [pack_head(len(group) + 4), _begin(partition)]
    parts += [b"$%d\r\n%b\r\n" % (len(data), data) for data in group]
    return b"".join(parts)


@cache
def _begin(partition: int) -> bytes:
    return b"".join([pack_part(part) for part in ("EVAL", APPEND_SCRIPT, 1, stream_key(partition))])


def _last_id(reply: object) -> str:
    """``last-generated-id`` of XINFO STREAM; an absent stream has given out nothing."""
    if isinstance(reply, dict):
        found = reply.get(b"last-generated-id")
    elif isinstance(reply, list):
        found = dict(zip(reply[::2], reply[1::2], strict=True)).get(b"last-generated-id")
    else:
        found = None
    return found.decode() if isinstance(found, bytes) else FIRST_ENTRY
