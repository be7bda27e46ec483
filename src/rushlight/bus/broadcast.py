"""Pub/sub: "something changed" after each commit, and each committed event for whoever peeks. No guarantee at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from rushlight.bus.link import Link, pack
from rushlight.errors import Unavailable

CHANGES_CHANNEL = "rushlight:changes"
PUBLISH_TIMEOUT_SECONDS = 0.5
LISTEN_POLL_SECONDS = 1.0
RETRY_SECONDS = 2.0


class Change(msgspec.Struct, frozen=True):
    """A partition's figures moved on to ``seq``; ``shops`` are those whose figures changed."""

    p: int
    seq: int
    shops: list[str]


def event_channel(name: str) -> str:
    """Channel on which committed events of this name are published."""
    return f"events:{name}"


# The channels that somebody has subscribed to; how many patterns, which may mean any; and whether there are replicas or
# other nodes, on which whoever listens is not known here.
_WHO_LISTENS = (("PUBSUB", "CHANNELS", event_channel("*")), ("PUBSUB", "NUMPAT"), ("ROLE",), ("INFO", "cluster"))


def _heard(channels: object, patterns: object, role: object, cluster: object) -> Collection[bytes] | None:
    """The channels that somebody listens to; None where it may be any."""
    alone = isinstance(role, list) and role[0] == b"master" and not role[2]
    one = isinstance(cluster, bytes) and b"cluster_enabled:0" in cluster
    return channels if alone and one and patterns == 0 and isinstance(channels, list) else None


class Broadcaster:
    """Publishes for one process; a failure is forgotten, because readers poll as well."""

    def __init__(self, url: str) -> None:
        self._link = Link(url)
        self._silent_until = 0.0

    async def committed(self, change: Change, events: Iterable[tuple[str, bytes]]) -> None:
        """Tell that a commit happened, with each event's name and envelope JSON where somebody listens to that name."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._silent_until:
            return
        told = ("PUBLISH", CHANGES_CHANNEL, msgspec.json.encode(change))
        try:
            _, *listeners = await self._link.call(told, *_WHO_LISTENS, timeout_seconds=PUBLISH_TIMEOUT_SECONDS)
            heard = _heard(*listeners)
            named = [(event_channel(name), data) for name, data in events] if heard is None or heard else []
            wanted = [pack(("PUBLISH", c, data)) for c, data in named if heard is None or c.encode() in heard]
            if wanted:
                await self._link.exchange(b"".join(wanted), len(wanted), timeout_seconds=PUBLISH_TIMEOUT_SECONDS)
        except Unavailable:
            # A commit must not wait for a server that nobody hears.
            self._silent_until = loop.time() + RETRY_SECONDS

    async def close(self) -> None:
        """Drop the connection."""
        await self._link.close()


async def listen(url: str, channels: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """Messages of the channels as they come, across reconnects; what is published meanwhile is missed.

    Ends only when the caller stops iterating.
    """
    while True:
        client = Redis.from_url(url, socket_connect_timeout=1.0, health_check_interval=5)
        try:
            async with client.pubsub() as subscription:
                await subscription.subscribe(*channels)
                while True:
                    message = await subscription.get_message(
                        ignore_subscribe_messages=True, timeout=LISTEN_POLL_SECONDS
                    )
                    if message is not None:
                        yield message["data"]
        except (RedisError, OSError, RuntimeError):  # the last is uvloop's word for a transport that is closed
            await asyncio.sleep(LISTEN_POLL_SECONDS)
        finally:
            await client.aclose()
