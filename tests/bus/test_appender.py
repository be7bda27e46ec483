"""What is appended at the same time shares one exchange; nobody waits past the deadline; offers never wait at all."""

from __future__ import annotations

import asyncio
import itertools

import pytest
import redis

from rushlight.bus import appender as module
from rushlight.bus.appender import MAX_PIPELINE_ENTRIES, Appender, Placed
from rushlight.bus.stream import StreamReader, entry_before
from rushlight.errors import Unavailable
from rushlight.local.instance import Instance
from rushlight.settings import Settings
from tests.bus.conftest import closing, stored

PATIENCE_SECONDS = 20.0


def url(settings: Settings) -> str:
    """Where the session's Valkey is."""
    assert settings.redis_url is not None
    return settings.redis_url


async def until_well(appender: Appender) -> None:
    """Wait until it would try again."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not appender.well:  # noqa: ASYNC110 - a deadline passes, nothing happens
            await asyncio.sleep(0.02)


async def test_what_comes_together_goes_together(settings: Settings, valkey: redis.Redis) -> None:
    """Three thousand appends of one moment are three exchanges, in order, and each learns its place."""
    valkey.config_resetstat()
    async with closing(Appender(url(settings))) as appender, closing(StreamReader(url(settings), 3)) as reader:
        placed = await asyncio.gather(*[appender.append(3, b"%d" % n) for n in range(3 * MAX_PIPELINE_ENTRIES)])
        page = await reader.read("0-0", count=9999, block_seconds=0)
    assert [(entry.id, entry.data) for entry in page.entries] == [
        (place.entry, b"%d" % n) for n, place in enumerate(placed)
    ]
    assert {place.generation for place in placed} == {page.generation}
    # One question for the stream's generation an exchange, and one by the reader.
    assert valkey.info("commandstats")["cmdstat_set"]["calls"] == 4


async def test_partitions_share_an_exchange(settings: Settings, valkey: redis.Redis) -> None:
    """Entries of eight partitions keep their order within each and do not need eight exchanges."""
    valkey.config_resetstat()
    async with closing(Appender(url(settings))) as appender:
        placed = await asyncio.gather(*[appender.append(n % 8, b"%d" % n) for n in range(400)])
    for partition in range(8):
        assert [data for _, data in stored(valkey, partition)] == [b"%d" % n for n in range(partition, 400, 8)]
        mine = [place.entry for place in placed[partition::8]]
        assert all(entry_before(first, second) for first, second in itertools.pairwise(mine))
    assert valkey.info("commandstats")["cmdstat_set"]["calls"] == 8


async def test_offers_and_appends_keep_their_order(settings: Settings, valkey: redis.Redis) -> None:
    """An offer is not overtaken by an append that came after it."""
    async with closing(Appender(url(settings))) as appender:
        for number in range(50):
            assert appender.offer(0, b"o%d" % number)
            future = appender.append(0, b"a%d" % number)
        await future
    assert [data for _, data in stored(valkey, 0)] == [
        b"%c%d" % (kind, number) for number in range(50) for kind in b"oa"
    ]


async def test_frozen(own_valkey: Instance) -> None:
    """While Redis hangs, appends fail by the deadline, offers are dropped and counted; afterwards both work again."""
    async with closing(Appender(own_valkey.redis_url)) as appender:
        await appender.append(0, b"before")
        own_valkey.freeze("valkey")
        futures = [appender.append(0, b"during") for _ in range(3)]
        assert appender.offer(0, b"first offer")  # nobody has noticed yet
        for future in futures:
            with pytest.raises(Unavailable):
                await future
        assert not appender.well
        assert not appender.offer(0, b"second offer")
        assert appender.dropped == 2
        own_valkey.thaw("valkey")
        await until_well(appender)
        place = await appender.append(0, b"after")
        assert isinstance(place, Placed)
        assert appender.offer(0, b"third offer")
    with redis.Redis.from_url(own_valkey.redis_url) as client:
        found = [data for _, data in stored(client, 0)]
    # What a hanging server had in its socket it may still take; nothing is there twice, and nothing out of order.
    assert [data for data in found if data not in {b"during", b"first offer"}] == [
        b"before",
        b"after",
        b"third offer",
    ]
    assert found.count(b"during") <= 3


async def test_queued_offers_go_when_redis_goes(own_valkey: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offers queued behind a failing exchange are dropped with it instead of piling up; there is a cap before that."""
    monkeypatch.setattr(module, "MAX_QUEUED_BYTES", 1000)
    async with closing(Appender(own_valkey.redis_url)) as appender:
        await appender.append(0, b"before")
        own_valkey.freeze("valkey")
        sent = appender.append(0, b"sent")
        await asyncio.sleep(0.05)
        taken = [appender.offer(0, bytes(100)) for _ in range(50)]
        assert 10 <= sum(taken) <= 11
        with pytest.raises(Unavailable):
            await sent
        async with asyncio.timeout(PATIENCE_SECONDS):
            while appender.dropped < 50:  # noqa: ASYNC110 - counted by another task
                await asyncio.sleep(0.02)
        assert appender._queued_bytes == 0


async def test_closing_leaves_nobody_waiting(own_valkey: Instance) -> None:
    """Closed in mid-exchange and with a queue behind it, every future ends."""
    appender = Appender(own_valkey.redis_url)
    await appender.append(0, b"before")
    own_valkey.freeze("valkey")
    futures = [appender.append(0, b"x") for _ in range(3 * MAX_PIPELINE_ENTRIES)]
    await asyncio.sleep(0.05)
    await appender.close()
    done, pending = await asyncio.wait(futures, timeout=PATIENCE_SECONDS)
    assert not pending
    assert {type(future.exception()) for future in done} == {Unavailable}


async def test_refused(own_valkey: Instance) -> None:
    """A server that is full refuses: the sender is told why, offers stop, and it goes on when there is room."""
    with redis.Redis.from_url(own_valkey.redis_url) as client:
        async with closing(Appender(own_valkey.redis_url)) as appender:
            await appender.append(0, b"before")
            client.config_set("maxmemory", 1)
            with pytest.raises(Unavailable, match="maxmemory"):
                await appender.append(0, b"during")
            assert not appender.offer(0, b"offer")
            client.config_set("maxmemory", 0)
            await appender.append(0, b"after")
        assert [data for _, data in stored(client, 0)] == [b"before", b"after"]
