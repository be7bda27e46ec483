"""The stream of one partition: entries in order, read by one owner, trimmed only below its committed position.

Redis keys, all of a partition under one hash tag:

- ``{p07}:events``: the stream; each entry has one field ``e``, the envelope's JSON.
- ``{p07}:generation``: a random word made with the stream; another word means that the stream was lost and begun anew.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from redis.exceptions import ResponseError

from rushlight.bus.link import Link
from rushlight.errors import Unavailable

FIRST_ENTRY = "0-0"
CALL_TIMEOUT_SECONDS = 1.0


def stream_key(partition: int) -> str:
    """Redis key of the partition's stream."""
    return f"{{p{partition:02d}}}:events"


def generation_key(partition: int) -> str:
    """Redis key of the word that tells one life of the stream from the next."""
    return f"{{p{partition:02d}}}:generation"


class Entry(NamedTuple):
    """One stream entry: its Redis id and the envelope's JSON."""

    id: str
    data: bytes


class Page(NamedTuple):
    """What one read found, and the generation of the stream that it was read from."""

    generation: str
    entries: list[Entry]


class StreamReader:
    """Reads one partition's stream over a connection of its own."""

    def __init__(self, url: str, partition: int) -> None:
        self.partition = partition
        self._link = Link(url)

    async def read(self, after: str, *, count: int, block_seconds: float) -> Page:
        """Entries after the given id, waiting up to ``block_seconds`` for the first.

        The generation is asked for after the entries have come: entries of a newer life of the stream can then not
        pass for an older one's.

        Raises:
            Unavailable: Redis cannot be reached or answers with an error.
        """
        key = stream_key(self.partition)
        wait = ("BLOCK", max(1, int(block_seconds * 1000))) if block_seconds else ()
        command = ("XREAD", "COUNT", count, *wait, "STREAMS", key, after)
        (reply,) = await self._link.call(command, timeout_seconds=CALL_TIMEOUT_SECONDS + block_seconds)
        if isinstance(reply, Exception):
            raise Unavailable(f"Redis refuses to read {key}: {reply}")
        return Page(await self._generation(), _entries(reply))

    async def trim(self, below: str) -> None:
        """Forget entries below an id (never the entry itself). The caller has committed everything below it."""
        command = ("XTRIM", stream_key(self.partition), "MINID", "~", below)
        await self._link.call(command, timeout_seconds=CALL_TIMEOUT_SECONDS)

    async def close(self) -> None:
        """Drop the connection."""
        await self._link.close()

    async def _generation(self) -> str:
        key = generation_key(self.partition)
        set_once = ("SET", key, secrets.token_hex(8), "NX")
        replies = await self._link.call(set_once, ("GET", key), timeout_seconds=CALL_TIMEOUT_SECONDS)
        return generation(replies[1], self._link)


def generation(word: object, link: Link) -> str:
    """The generation from the word beside the stream and the server's replication id.

    Raises:
        Unavailable: the word could not be read.
    """
    if not isinstance(word, bytes):
        raise Unavailable(f"Redis gave no generation: {word}")
    return f"{word.decode()}:{link.replication_id}"


def entry_before(first: str, second: str) -> bool:
    """Whether one entry id stands before another in the stream."""
    return _entry_number(first) < _entry_number(second)


def _entry_number(entry: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence or 0)


def _entries(reply: object) -> list[Entry]:
    if not reply or isinstance(reply, ResponseError):
        return []
    # RESP2 answers a list of [key, entries], RESP3 a map.
    rows = next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]  # type: ignore[index]
    return [Entry(entry.decode(), _field(fields)) for entry, fields in rows]


def _field(fields: object) -> bytes:
    if isinstance(fields, dict):
        return bytes(fields.get(b"e", b""))
    return bytes(fields[1]) if fields else b""  # type: ignore[index]
