"""One connection whose replies never mix up, whatever is cancelled, late or refused."""

from __future__ import annotations

import asyncio

import pytest
import redis
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from rushlight.bus.link import Link, pack
from rushlight.errors import Unavailable
from rushlight.local.instance import Instance
from rushlight.settings import Settings
from tests.bus.conftest import closing
from tests.faults.network import Network

NOBODY = "redis://127.0.0.1:1/0"


def url(settings: Settings) -> str:
    """Where the session's Valkey is."""
    assert settings.redis_url is not None
    return settings.redis_url


@given(st.lists(st.binary(max_size=9) | st.text(max_size=9) | st.integers(), min_size=1, max_size=5))
def test_packed_commands(parts: list[bytes | str | int]) -> None:
    """A packed command is RESP: each part with its length in bytes."""
    expected = [part if isinstance(part, bytes) else str(part).encode("utf-8") for part in parts]
    rest = pack(parts)
    head, _, rest = rest.partition(b"\r\n")
    assert head == b"*%d" % len(parts)
    for part in expected:
        length, _, rest = rest.partition(b"\r\n")
        assert length == b"$%d" % len(part)
        assert rest[: len(part) + 2] == part + b"\r\n"
        rest = rest[len(part) + 2 :]
    assert rest == b""


async def test_an_error_reply_is_an_answer(settings: Settings) -> None:
    """A command that Redis refuses is told in its place among the replies; the connection goes on."""
    async with closing(Link(url(settings))) as link:
        replies = await link.call(("SET", "a", "b"), ("LPUSH", "a", "x"), ("GET", "a"), timeout_seconds=5)
        assert replies[0] == b"OK"
        assert isinstance(replies[1], Exception)
        assert replies[2] == b"b"


async def test_which_server_answers(settings: Settings) -> None:
    """The replication id is read at the connect."""
    async with closing(Link(url(settings))) as link:
        await link.call(("PING",), timeout_seconds=5)
        with redis.Redis.from_url(url(settings)) as client:
            assert link.replication_id == client.info("replication")["master_replid"]


async def test_cancelled_in_mid_reply(settings: Settings) -> None:
    """A caller that is cancelled while it waits for its reply does not leave it to the next caller."""
    async with closing(Link(url(settings))) as link:
        for number in range(5):
            blocked = asyncio.create_task(link.call(("BLPOP", "nothing", "5"), timeout_seconds=9))
            await asyncio.sleep(0.02)
            blocked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await blocked
            assert await link.call(("ECHO", str(number)), timeout_seconds=5) == [str(number).encode()]


async def test_cancelled_while_waiting_for_its_turn(settings: Settings) -> None:
    """A caller that gives up in the queue does not break the exchange of the one before it."""
    async with closing(Link(url(settings))) as link:
        first = asyncio.create_task(link.call(("BLPOP", "list", "9"), timeout_seconds=9))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(link.call(("ECHO", "x"), timeout_seconds=9)) for _ in range(3)]
        late = asyncio.create_task(link.call(("ECHO", "x"), timeout_seconds=0.05))
        with pytest.raises(Unavailable):
            await late
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        with redis.Redis.from_url(url(settings)) as client:
            client.rpush("list", "given")
        assert await first == [[b"list", b"given"]]


async def test_callers_take_turns(settings: Settings) -> None:
    """A hundred callers at once each get their own replies."""
    async with closing(Link(url(settings))) as link:
        calls = [link.call(("ECHO", f"{n}"), ("ECHO", f"-{n}"), timeout_seconds=9) for n in range(100)]
        assert await asyncio.gather(*calls) == [[b"%d" % n, b"-%d" % n] for n in range(100)]


def test_a_connection_that_the_server_closed(settings: Settings) -> None:
    """On the event loop of the roles too, a call on a connection that is gone says so, and the next makes another."""

    async def scenario() -> None:
        async with closing(Link(f"redis://{network.address('valkey')}")) as link:
            await link.call(("PING",), timeout_seconds=9)
            network.reset("valkey")
            await asyncio.sleep(0.1)
            with pytest.raises(Unavailable):
                await link.call(("PING",), timeout_seconds=9)
            assert await link.call(("ECHO", "back"), timeout_seconds=9) == [b"back"]

    upstream = url(settings).removeprefix("unix://")
    with Network({"valkey": upstream}) as network, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_nobody_there() -> None:
    """Without a server a call fails in time, and so does the next."""
    async with closing(Link(NOBODY)) as link:
        for _ in range(2):
            with pytest.raises(Unavailable, match="does not answer"):
                await link.call(("PING",), timeout_seconds=2)


async def test_a_frozen_server(own_valkey: Instance) -> None:
    """A call to a server that hangs fails by its deadline, on an old connection and on a new one; then all is well."""
    async with closing(Link(own_valkey.redis_url)) as link:
        await link.call(("SET", "n", 0), timeout_seconds=5)
        own_valkey.freeze("valkey")
        for _ in range(3):
            with pytest.raises(Unavailable):
                await link.call(("INCR", "n"), timeout_seconds=0.2)
        own_valkey.thaw("valkey")
        assert await link.call(("ECHO", "back"), timeout_seconds=5) == [b"back"]
