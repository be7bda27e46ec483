"""Whoever listens hears what is committed; whoever does not is not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rushlight.bus.broadcast import CHANGES_CHANNEL, Broadcaster, Change, _heard, event_channel, listen
from rushlight.local.instance import Instance
from rushlight.settings import Settings
from tests.bus.conftest import closing

PATIENCE_SECONDS = 30.0
CHANGE = Change(p=3, seq=7, shops=["default"])


async def hear(messages: AsyncIterator[bytes], broadcaster: Broadcaster, change: Change) -> bytes:
    """Publish until it is heard: a subscription begins at some moment that nobody is told."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        heard = asyncio.ensure_future(anext(messages))
        while not heard.done():
            await broadcaster.committed(change, [])
            await asyncio.wait([heard], timeout=0.1)
        return await heard


async def test_listeners_hear(settings: Settings) -> None:
    """A listener to changes gets the change, one to a name each event of that name, as published."""
    assert settings.redis_url is not None
    changes = listen(settings.redis_url, [CHANGES_CHANNEL])
    named = listen(settings.redis_url, [event_channel("order_created"), event_channel("purchase")])
    async with closing(Broadcaster(settings.redis_url)) as broadcaster:
        assert msgspec.json.decode(await hear(changes, broadcaster, CHANGE), type=Change) == CHANGE
        waiting = asyncio.ensure_future(anext(named))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not waiting.done():
                await broadcaster.committed(CHANGE, [("page_view", b"no"), ("purchase", b'{"id":"1"}')])
                await asyncio.wait([waiting], timeout=0.1)
        assert await waiting == b'{"id":"1"}'
    await changes.aclose()
    await named.aclose()


async def test_only_what_somebody_hears_is_told(own_valkey: Instance) -> None:
    """Events of names that nobody listens to are not published; a subscription to a pattern hears all of them."""
    url = own_valkey.redis_url
    events = [("purchase", b"1"), ("view_item", b"2")]
    async with closing(Broadcaster(url)) as broadcaster, Redis.from_url(url) as client:
        before = await client.info("commandstats")
        await broadcaster.committed(CHANGE, events)
        after = await client.info("commandstats")
        assert _published(after) - _published(before) == 1
        async with client.pubsub() as pattern:
            await pattern.psubscribe(event_channel("*"))
            assert await pattern.get_message(timeout=PATIENCE_SECONDS)
            await broadcaster.committed(CHANGE, events)
            heard = [await pattern.get_message(timeout=PATIENCE_SECONDS) for _ in events]
            assert [message and message["data"] for message in heard] == [b"1", b"2"]


def test_listeners_elsewhere_may_be_any() -> None:
    """Where there are replicas or other nodes, or where Redis does not say, everything is published."""
    here = ([b"events:purchase"], 0, [b"master", 0, []], b"# Cluster\r\ncluster_enabled:0\r\n")
    assert _heard(*here) == [b"events:purchase"]
    elsewhere = (ResponseError("NOPERM"), 1, [b"master", 0, [[b"10.0.0.2", b"6379", b"0"]]], b"cluster_enabled:1")
    for place, other in enumerate(elsewhere):
        replies: list[object] = list(here)
        replies[place] = other
        assert _heard(*replies) is None


def _published(stats: dict[str, dict[str, int]]) -> int:
    return stats.get("cmdstat_publish", {}).get("calls", 0)


async def test_a_listener_survives_a_restart(own_valkey: Instance) -> None:
    """After Redis was killed and came back, the same listener hears again."""
    changes = listen(own_valkey.redis_url, [CHANGES_CHANNEL])
    async with closing(Broadcaster(own_valkey.redis_url)) as broadcaster:
        await hear(changes, broadcaster, CHANGE)
        own_valkey.kill("valkey")
        later = Change(p=3, seq=8, shops=[])
        heard = b""
        while not heard or msgspec.json.decode(heard, type=Change) != later:
            heard = await hear(changes, broadcaster, later)
    await changes.aclose()


async def test_nobody_there() -> None:
    """A commit is told to nobody when there is no Redis, and that is no error."""
    async with closing(Broadcaster("redis://127.0.0.1:1/0")) as broadcaster:
        for _ in range(3):
            await broadcaster.committed(CHANGE, [("purchase", b"{}")])
