"""The bad network is as bad as it says, shown with a real Valkey behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from rushlight.local.instance import Instance
from tests.faults.network import Network
from tests.faults.proxy import Weather


@pytest.fixture
def network(servers: Instance) -> Iterator[Network]:
    """One link, to the session's Valkey."""
    with Network({"valkey": servers.redis_url.removeprefix("unix://")}) as opened:
        yield opened


@pytest.fixture
def client(network: Network) -> Iterator[redis.Redis]:
    """A client behind the link that never tries again by itself."""
    url = f"redis://{network.address('valkey')}"
    with redis.Redis.from_url(url, socket_timeout=60.0, retry=None, protocol=2) as opened:
        opened.ping()
        yield opened


def test_fine_weather(client: redis.Redis) -> None:
    """What is sent arrives, also when it is large."""
    client.set("large", "x" * 3_000_000)
    assert len(client.get("large") or "") == 3_000_000


def test_slices_and_throttling_lose_no_byte(network: Network, client: redis.Redis) -> None:
    """Byte for byte, or slowly, everything arrives."""
    network.turn("valkey", Weather(slice=7))
    client.set("text", "abc" * 700)
    network.turn("valkey", Weather(rate=20_000))
    assert client.get("text") == b"abc" * 700


def test_delay(network: Network, client: redis.Redis) -> None:
    """A round trip takes both delays at least."""
    network.turn("valkey", Weather(delay=0.1))
    started = time.monotonic()
    client.ping()
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize(("way", "reached"), [("up", False), ("down", True)])
def test_a_hole_in_one_direction(
    network: Network, client: redis.Redis, servers: Instance, way: str, reached: bool
) -> None:
    """The request or only its answer is swallowed, and arrives when the hole closes."""
    with redis.Redis.from_url(servers.redis_url) as direct:
        direct.delete("count")
        network.turn("valkey", Weather(hold=("up",) if way == "up" else ("down",)))
        connection = client.connection_pool.get_connection()
        connection.send_command("INCR", "count")  # type: ignore[no-untyped-call]
        deadline = time.monotonic() + (20 if reached else 0.3)
        while time.monotonic() < deadline and not direct.get("count"):
            time.sleep(0.02)
        assert bool(direct.get("count")) is reached
        assert not connection.can_read(timeout=0.1)
        network.turn("valkey")
        assert connection.read_response() == 1
        client.connection_pool.release(connection)


@pytest.mark.parametrize(("at_mark", "done"), [("before", None), ("after", b"1")])
def test_reset_before_and_after_the_server_acted(
    network: Network, client: redis.Redis, servers: Instance, at_mark: str, done: bytes | None
) -> None:
    """The client sees the same reset; the server has acted in one case only."""
    with redis.Redis.from_url(servers.redis_url) as direct:
        direct.delete("marked")
        weather = Weather(mark="marked", at_mark="before" if at_mark == "before" else "after", marks=1)
        network.turn("valkey", weather)
        with pytest.raises(redis.ConnectionError):
            client.incr("marked")
        assert direct.get("marked") == done
        assert network.look("valkey").marked == 1
        client.incr("marked")


def test_refused(network: Network, client: redis.Redis) -> None:
    """Connections are cut, new ones too, until it is over."""
    network.turn("valkey", Weather(refuse=True))
    with pytest.raises(redis.ConnectionError):
        client.ping()
    network.turn("valkey")
    assert client.ping()
