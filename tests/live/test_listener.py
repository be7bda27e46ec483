"""Hints of changes are heard, and a subscription that has silently died is made anew."""

from __future__ import annotations

import msgspec
import pytest
from redis.asyncio import Redis

from rushlight.bus.broadcast import CHANGES_CHANNEL, Change
from rushlight.live import listener as listener_module
from rushlight.live.listener import MAX_UNHEARD_LOOKS, Listener
from rushlight.settings import Settings
from tests.query.eventually import eventually


async def publish(client: Redis, *shops: str) -> int:
    """Broadcast a change; returns how many heard it."""
    return int(await client.publish(CHANGES_CHANNEL, msgspec.json.encode(Change(1, 7, list(shops)))))


async def test_every_changed_shop_is_told(settings: Settings) -> None:
    """Also after a message that makes no sense."""
    heard: list[str] = []
    listener = Listener(settings.redis_url or "", heard.append)
    listener.start()
    async with Redis.from_url(settings.redis_url or "") as client:

        async def published() -> bool:
            return await publish(client, "one", "two") > 0

        await eventually(published)
        await client.publish(CHANGES_CHANNEL, b"{")
        await publish(client, "three")
        await eventually(lambda: "three" in heard)
    await listener.stop()
    assert heard == ["one", "two", "three"]


async def test_a_dead_subscription_is_made_anew(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The subscription is alive but hears nothing, while looks find changes: the watchdog subscribes again."""
    heard: list[str] = []
    listener = Listener(settings.redis_url or "", heard.append)
    monkeypatch.setattr(listener_module, "CHANGES_CHANNEL", "elsewhere")
    listener.start()
    async with Redis.from_url(settings.redis_url or "") as client:

        async def subscribed() -> bool:
            return bool((await client.pubsub_numsub("elsewhere"))[0][1])

        await eventually(subscribed)
        monkeypatch.setattr(listener_module, "CHANGES_CHANNEL", CHANGES_CHANNEL)
        for _ in range(MAX_UNHEARD_LOOKS):
            assert listener.restarts == 0
            await listener.looked(True)

        async def published() -> bool:
            return await publish(client, "one") > 0

        await eventually(published)
        await eventually(lambda: "one" in heard)
    await listener.stop()
    assert listener.restarts == 1


async def test_looks_that_find_nothing_prove_nothing(settings: Settings) -> None:
    """A quiet shop is no sign of a dead subscription."""
    listener = Listener(settings.redis_url or "", lambda _: None)
    for _ in range(3 * MAX_UNHEARD_LOOKS):
        await listener.looked(False)
    assert listener.restarts == 0
