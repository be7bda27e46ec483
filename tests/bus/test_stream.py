"""A stream is read in order, knows when it is another one, and is trimmed only below what was committed."""

from __future__ import annotations

import asyncio

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from rushlight.bus.appender import Appender
from rushlight.bus.stream import StreamReader, entry_before, generation_key, stream_key
from rushlight.errors import Unavailable
from rushlight.local.instance import Instance
from rushlight.settings import Settings
from tests.bus.conftest import closing, stored

PATIENCE_SECONDS = 30.0
IDS = st.tuples(st.integers(0, 2**40), st.integers(0, 2**20))


def url(settings: Settings) -> str:
    """Where the session's Valkey is."""
    assert settings.redis_url is not None
    return settings.redis_url


def fill(client: redis.Redis, count: int, partition: int = 0) -> list[str]:
    """Append numbered entries and return their ids."""
    for number in range(count):
        client.xadd(stream_key(partition), {"e": f"{number}"})
    return [key for key, _ in stored(client, partition)][-count:]


@pytest.fixture
def raw(settings: Settings) -> redis.Redis:
    """A client that gives bytes."""
    return redis.Redis.from_url(url(settings))


@given(IDS, IDS)
def test_order_of_ids(first: tuple[int, int], second: tuple[int, int]) -> None:
    """Ids are numbers, not text: 9-0 stands before 10-0."""
    assert entry_before(f"{first[0]}-{first[1]}", f"{second[0]}-{second[1]}") == (first < second)


async def test_pages(settings: Settings, raw: redis.Redis) -> None:
    """Reading on from the last entry gives every entry once, in order; then nothing."""
    ids = fill(raw, 25)
    read, after, generations = [], "0-0", set()
    async with closing(StreamReader(url(settings), 0)) as reader:
        while (page := await reader.read(after, count=10, block_seconds=0)).entries:
            read += page.entries
            generations.add(page.generation)
            after = page.entries[-1].id
    assert [(entry.id, entry.data) for entry in read] == [(key, b"%d" % n) for n, key in enumerate(ids)]
    assert len(generations) == 1
    raw.close()


async def test_waiting(settings: Settings, raw: redis.Redis) -> None:
    """A reader that waits wakes for the first entry; one that waits in vain comes back with nothing."""
    async with closing(StreamReader(url(settings), 0)) as reader:
        assert (await reader.read("0-0", count=10, block_seconds=0.05)).entries == []
        waiting = asyncio.create_task(reader.read("0-0", count=10, block_seconds=9))
        await asyncio.sleep(0.05)
        fill(raw, 1)
        assert [entry.data for entry in (await waiting).entries] == [b"0"]
    raw.close()


async def test_another_life_has_another_generation(settings: Settings, raw: redis.Redis) -> None:
    """The generation is the same for every reader and sender until the stream is wiped."""
    async with closing(StreamReader(url(settings), 0)) as reader, closing(Appender(url(settings))) as appender:
        before = (await reader.read("0-0", count=10, block_seconds=0)).generation
        assert (await appender.append(0, b"1")).generation == before
        assert (await reader.read("0-0", count=10, block_seconds=0)).generation == before
        raw.flushall()
        place = await appender.append(0, b"2")
        page = await reader.read("0-0", count=10, block_seconds=0)
    assert place.generation == page.generation != before
    assert [entry.data for entry in page.entries] == [b"2"]
    raw.close()


async def test_wiped_while_waiting(settings: Settings, raw: redis.Redis) -> None:
    """A reader that waits behind an entry of the old stream hears of the new one and sees another generation."""
    (last,) = fill(raw, 1)
    async with closing(StreamReader(url(settings), 0)) as reader:
        before = await reader.read("0-0", count=10, block_seconds=0)
        waiting = asyncio.create_task(reader.read(last, count=10, block_seconds=9))
        await asyncio.sleep(0.05)
        raw.flushall()
        fill(raw, 1)
        assert (await waiting).generation != before.generation
        # The word alone gone: the entries that are there may be anybody's.
        raw.delete(generation_key(0))
        assert (await reader.read(last, count=10, block_seconds=0)).generation != before.generation
    raw.close()


async def test_restarted(own_valkey: Instance) -> None:
    """After a restart the entries may be those of before or of a second earlier: it counts as another stream."""
    async with closing(StreamReader(own_valkey.redis_url, 0)) as reader:
        with redis.Redis.from_url(own_valkey.redis_url) as client:
            fill(client, 3)
        before = await reader.read("0-0", count=10, block_seconds=0)
        own_valkey.kill("valkey")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    after = await reader.read("0-0", count=10, block_seconds=0)
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
    assert after.generation != before.generation


async def test_frozen(own_valkey: Instance) -> None:
    """A reader whose server hangs says so soon after its wait is over, and reads on when it thaws."""
    async with closing(StreamReader(own_valkey.redis_url, 0)) as reader:
        with redis.Redis.from_url(own_valkey.redis_url) as client:
            fill(client, 1)
        before = await reader.read("0-0", count=10, block_seconds=0)
        own_valkey.freeze("valkey")
        with pytest.raises(Unavailable):
            await reader.read("0-0", count=10, block_seconds=0.1)
        own_valkey.thaw("valkey")
        assert await reader.read("0-0", count=10, block_seconds=0.1) == before


@pytest.mark.parametrize("cut", [0, 1, 150, 299, 300])
async def test_trimming(settings: Settings, raw: redis.Redis, cut: int) -> None:
    """Nothing at or after the position ever goes, whatever approximation the server makes of what is before it."""
    ids = fill(raw, 300)
    async with closing(StreamReader(url(settings), 0)) as reader:
        await reader.trim(ids[cut] if cut < 300 else "999999999999999-0")
    left = [key for key, _ in stored(raw, 0)]
    assert left[len(left) - len(ids[cut:]) :] == ids[cut:]
    if cut >= 299:
        assert len(left) < 300
    raw.close()


async def test_trimming_nothing(settings: Settings, raw: redis.Redis) -> None:
    """An absent stream is no error, and is not made by looking at it."""
    async with closing(StreamReader(url(settings), 0)) as reader:
        await reader.trim("5-0")
        assert (await reader.read("0-0", count=1, block_seconds=0)).entries == []
    assert raw.exists(stream_key(0)) == 0
    raw.close()


async def test_something_else_under_the_name(settings: Settings, raw: redis.Redis) -> None:
    """A key of another type is trouble with Redis, told in words, not a crash."""
    raw.set(stream_key(0), "x")
    async with closing(StreamReader(url(settings), 0)) as reader:
        with pytest.raises(Unavailable, match="WRONGTYPE"):
            await reader.read("0-0", count=1, block_seconds=0)
    raw.close()
