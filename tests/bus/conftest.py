"""Looking into the streams, and letting go of what was opened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import pytest
import redis

from rushlight.bus.stream import stream_key
from rushlight.settings import Settings


class Closable(Protocol):
    """What has to be closed in the loop that opened it."""

    async def close(self) -> None:
        """Let go."""


C = TypeVar("C", bound=Closable)


@asynccontextmanager
async def closing(thing: C) -> AsyncIterator[C]:
    """The thing, closed at the end of the block whatever happens in it."""
    try:
        yield thing
    finally:
        await thing.close()


def stored(client: Any, partition: int) -> list[tuple[str, bytes]]:
    """Id and data of every entry of a partition's stream."""
    entries = client.execute_command("XRANGE", stream_key(partition), "-", "+")
    return [(_text(key), _bytes(fields)) for key, fields in entries]


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()


def _bytes(fields: dict[Any, Any]) -> bytes:
    data = next(iter(fields.values()))
    return data.encode() if isinstance(data, str) else bytes(data)


@pytest.fixture
def valkey(settings: Settings) -> Iterator[redis.Redis]:
    """A plain client of the session's Valkey, to look with."""
    assert settings.redis_url is not None
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        yield client
