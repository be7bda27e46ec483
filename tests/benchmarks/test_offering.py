"""The open-loop generator sends what is due and counts what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from itertools import pairwise

import pytest

from benchmarks.offering import Offering, Outcome, Plan, schedule

LENGTH = re.compile(rb"content-length: (\d+)\r\n")


class Door:
    """Takes in the first `room` requests, turns the others away, and closes the connection of the last."""

    def __init__(self, room: int, closes_after: int):
        self.room = room
        self.closes_after = closes_after
        self.seen = 0
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = LENGTH.search(head)
                assert length is not None
                await reader.readexactly(int(length[1]))
                self.seen += 1
                if self.seen > self.closes_after:
                    break
                if self.seen <= self.room:
                    writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}")
                else:
                    writer.write(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self.open -= 1


async def _offer(door: Door, connections: int, per_second: float = 2000.0) -> Outcome:
    server = await asyncio.start_server(door.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        plan = Plan(port, "key", "cloudevents", per_second, 0.1, seed=1, begin=1, connections=connections)
        outcome = await asyncio.to_thread(Offering(plan).run)
        while door.open:  # noqa: ASYNC110 - it sees only now that they are closed
            await asyncio.sleep(0.001)
        return outcome


@pytest.fixture
async def outcome() -> Outcome:
    """What became of some two hundred requests of which fifty found room."""
    return await _offer(Door(room=50, closes_after=10**6), connections=4)


async def test_answers_are_counted_by_status(outcome: Outcome) -> None:
    """Acceptances and rejections stand apart, with their latencies and what was said about coming back."""
    taken, refused = outcome.answers
    assert (taken.status, taken.count, refused.status) == (202, 50, 429)
    assert taken.count + refused.count == outcome.offered
    assert sum(taken.kinds.values()) == 50
    assert refused.retry_after == {3: refused.count}
    assert (outcome.accepted, outcome.unanswered) == (50, 0)
    assert sum(outcome.accepted_by_second) == 50
    assert 0 < taken.service["p50"] <= taken.latency["max"]


async def test_never_more_connections_than_allowed(outcome: Outcome) -> None:
    """Requests that find no idle connection wait for one, which is told apart, and are sent all the same."""
    assert outcome.connections == 4
    assert outcome.queued["max"] > 0
    assert outcome.late.keys() == outcome.queued.keys()


async def test_a_lost_connection_is_no_answer() -> None:
    """Requests whose connection breaks are counted as unanswered, and the others go on over new ones."""
    door = Door(room=10**6, closes_after=20)
    outcome = await _offer(door, connections=2, per_second=500.0)
    assert outcome.accepted == 20
    assert outcome.unanswered == outcome.offered - 20 > 0


def test_the_schedule_keeps_its_pace_and_its_seed() -> None:
    """Gaps are random, the pace is the plan's, and a seed gives the same times again."""
    plan = Plan(1, "key", "cloudevents", 1000.0, 10.0, seed=7, begin=1)
    times = list(schedule(plan))
    assert times == sorted(times) == list(schedule(plan))
    assert 9500 < len(times) < 10500
    assert len({round(b - a, 6) for a, b in pairwise(times)}) > 1000
