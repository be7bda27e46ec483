"""Single entries are taken out of the streams: those that are meant and were committed, and no others."""

from __future__ import annotations

import pytest
import redis

from rushlight.bus import scrubbing
from rushlight.bus.scrubbing import forget, scrub
from rushlight.bus.stream import stream_key
from rushlight.errors import Unavailable
from rushlight.settings import Settings
from tests.bus.conftest import stored

NOWHERE = "redis://127.0.0.1:1/0"


async def test_only_what_is_meant_and_committed_goes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several pages and partitions; what waits is counted, and the stream's own memory of its end stays."""
    monkeypatch.setattr(scrubbing, "PAGE_ENTRIES", 3)
    url = settings.redis_url or ""
    with redis.Redis.from_url(url) as client:
        for number in range(10):
            client.xadd(stream_key(0), {"e": f"{number}"})
        client.xadd(stream_key(1), {"e": "1"})
        entries = [key for key, _ in stored(client, 0)]
        last = client.execute_command("XINFO", "STREAM", stream_key(0))
        positions = {0: entries[6], 1: "0-0", 2: "0-0"}
        assert await scrub(url, positions, lambda data: int(data) % 2 == 1) == (3, 3)
        assert [data for _, data in stored(client, 0)] == [b"0", b"2", b"4", b"6", b"7", b"8", b"9"]
        assert await scrub(url, positions, lambda data: int(data) % 2 == 1) == (0, 3)
        after = client.execute_command("XINFO", "STREAM", stream_key(0))
        assert _end(after) == _end(last)
    await forget(url)


def _end(info: object) -> object:
    rows = info if isinstance(info, dict) else dict(zip(info[::2], info[1::2], strict=True))  # type: ignore[index]
    return rows[b"last-generated-id"] if b"last-generated-id" in rows else rows["last-generated-id"]


async def test_without_redis() -> None:
    """Who asks is told that it does not answer."""
    with pytest.raises(Unavailable):
        await scrub(NOWHERE, {0: "0-0"}, lambda _: True)
    with pytest.raises(Unavailable):
        await forget(NOWHERE)
