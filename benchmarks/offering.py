"""`python -m benchmarks.offering PLAN`: offers events on schedule to a loopback port, whether or not earlier ones have
been answered, and prints what became of them as one line of JSON.

Every request is sent when its time has come: over an idle connection, over a new one, or, once there are as many as
allowed, over the next that becomes idle; its latency counts from its scheduled time all the same.
"""

from __future__ import annotations

import asyncio
import gc
import random
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

import msgspec
import uvloop

from benchmarks import bodies, report

HOST = "127.0.0.1"
TICK_SECONDS = 0.001
LAST_ANSWER_SECONDS = 15.0
MOST_REQUESTS = 500_000
RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)\r\n", re.IGNORECASE)
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """What is offered: so many events a second, one a request, for so many seconds.

    Attributes:
        begin: the first event's id; the others count on from it.
        connections: at most so many at once.
    """

    port: int
    write_key: str
    format: bodies.Format
    per_second: float
    seconds: float
    seed: int
    begin: int
    connections: int = 512


class Answers(msgspec.Struct, frozen=True, rename="camel"):
    """The answers of one status; latencies in milliseconds.

    Attributes:
        kinds: by what the event was about. latency: from a request's scheduled time. service: from its sending.
        retry_after: seconds, each value that was seen with its count.
    """

    status: int
    count: int
    kinds: dict[str, int]
    latency: dict[str, float]
    service: dict[str, float]
    retry_after: dict[int, int]


class Outcome(msgspec.Struct, frozen=True, rename="camel"):
    """What became of everything that was offered.

    Attributes:
        seconds: from the first to the last scheduled time. late: by how many milliseconds requests were sent after
            their time, for want of an idle connection or because the generator was busy.
        unanswered: connection lost, or no answer within fifteen seconds after the last request.
        accepted_by_second: answers of 2xx by the second of their arrival.
    """

    offered: int
    seconds: float
    answers: list[Answers]
    unanswered: int
    late: dict[str, float]
    connections: int
    accepted_by_second: list[int]

    @property
    def accepted(self) -> int:
        """Events that were answered with 2xx."""
        return sum(each.count for each in self.answers if each.status // 100 == 2)

    @property
    def goodput(self) -> float:
        """Events per second that were answered with 2xx."""
        return self.accepted / self.seconds if self.seconds else 0.0


class _Sent(NamedTuple):
    due: float
    sent: float
    answered: float
    status: int
    kind: bodies.Kind
    retry_after: int | None


class Offering:
    """Sends one plan's requests and keeps what came back."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._loop = asyncio.get_running_loop()
        self._requests = bodies.requests(plan.format, plan.write_key, plan.seed, plan.begin)
        self._due: deque[float] = deque()
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._all_closed = asyncio.Event()
        self._opened = 0
        self._opening: set[asyncio.Task[object]] = set()
        self.finished: list[_Sent] = []
        self.lost = 0

    async def run(self) -> Outcome:
        """Offer everything and wait for the last answers."""
        times = list(schedule(self._plan))
        if len(times) > MOST_REQUESTS:
            raise ValueError(f"{len(times)} requests are more than {MOST_REQUESTS}")
        began = time.monotonic()
        position = 0
        while position < len(times):
            elapsed = time.monotonic() - began
            while position < len(times) and times[position] <= elapsed:
                self._due.append(began + times[position])
                position += 1
            self._send_due()
            await asyncio.sleep(TICK_SECONDS)
        deadline = time.monotonic() + LAST_ANSWER_SECONDS
        while len(self.finished) + self.lost < len(times) and time.monotonic() < deadline:
            self._send_due()
            await asyncio.sleep(TICK_SECONDS)
        outcome = self._outcome(times, began)
        await self._close()
        return outcome

    async def _close(self) -> None:
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        self._all_closed.clear()
        for connection in self._open:
            connection.close()
        if self._open:
            await self._all_closed.wait()

    def _send_due(self) -> None:
        while self._due and self._idle:
            self._idle.pop().send(self._due.popleft(), next(self._requests))
        wanted = min(len(self._due) - len(self._opening), self._plan.connections - self._opened)
        for _ in range(wanted):
            self._opened += 1
            task: asyncio.Task[object] = self._loop.create_task(
                self._loop.create_connection(lambda: _Connection(self), HOST, self._plan.port)
            )
            self._opening.add(task)
            task.add_done_callback(self._opened_one)

    def _opened_one(self, task: asyncio.Task[object]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and task.exception() is not None:  # refused: what is due waits for the next
            self._opened -= 1

    def made(self, connection: _Connection) -> None:
        """A connection is open."""
        self._open.add(connection)
        self.idle(connection)

    def idle(self, connection: _Connection) -> None:
        """A connection can take the next request."""
        if self._due:
            connection.send(self._due.popleft(), next(self._requests))
        else:
            self._idle.append(connection)

    def gone(self, connection: _Connection, *, in_flight: bool) -> None:
        """A connection is closed."""
        self._open.discard(connection)
        if not self._open:
            self._all_closed.set()
        self._opened -= 1
        self.lost += in_flight
        if connection in self._idle:
            self._idle.remove(connection)

    def _outcome(self, times: Sequence[float], began: float) -> Outcome:
        seconds = [0] * (int(self._plan.seconds + LAST_ANSWER_SECONDS) + 1)
        for each in self.finished:
            if each.status // 100 == 2:
                seconds[min(len(seconds) - 1, int(each.answered - began))] += 1
        while seconds and not seconds[-1]:
            seconds.pop()
        statuses = sorted({each.status for each in self.finished})
        return Outcome(
            offered=len(times),
            seconds=self._plan.seconds,
            answers=[self._answers(status) for status in statuses],
            unanswered=len(times) - len(self.finished),
            late=percentiles((each.sent - each.due) * 1000 for each in self.finished),
            connections=self._opened,
            accepted_by_second=seconds,
        )

    def _answers(self, status: int) -> Answers:
        found = [each for each in self.finished if each.status == status]
        kinds: dict[str, int] = dict.fromkeys(bodies.KINDS, 0)
        retry_after: dict[int, int] = {}
        for each in found:
            kinds[each.kind] += 1
            if each.retry_after is not None:
                retry_after[each.retry_after] = retry_after.get(each.retry_after, 0) + 1
        latency = percentiles((each.answered - each.due) * 1000 for each in found)
        service = percentiles((each.answered - each.sent) * 1000 for each in found)
        return Answers(status, len(found), kinds, latency, service, dict(sorted(retry_after.items())))


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, offering: Offering):
        self._offering = offering
        self._buffer = b""
        self._request: tuple[float, float, bodies.Kind] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes
        self._offering.made(self)

    def close(self) -> None:
        """End it, whatever is on its way."""
        self._transport.close()

    def send(self, due: float, request: bodies.Request) -> None:
        """Send a request whose time has come."""
        self._request = (due, time.monotonic(), request.kind)
        self._transport.write(request.data)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._request is None:
            return
        head = self._buffer[: end + 2]
        length = CONTENT_LENGTH.search(head)
        if len(self._buffer) < end + 4 + (int(length[1]) if length else 0):
            return
        due, sent, kind = self._request
        status = int(head[9:12])
        after = RETRY_AFTER.search(head) if status >= 400 else None
        retry_after = int(after[1]) if after else None
        self._offering.finished.append(_Sent(due, sent, time.monotonic(), status, kind, retry_after))
        self._buffer, self._request = b"", None
        if b"\r\nconnection: close\r\n" in head.lower():
            self._transport.close()
        else:
            self._offering.idle(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason changes nothing
        self._offering.gone(self, in_flight=self._request is not None)


def schedule(plan: Plan) -> Iterator[float]:
    """The times at which shoppers who know nothing of each other send: seconds from the start, at random gaps."""
    chance = random.Random(plan.seed)
    at = chance.expovariate(plan.per_second)
    while at < plan.seconds:
        yield at
        at += chance.expovariate(plan.per_second)


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """The percentiles of a result, to a hundredth."""
    found = sorted(values)
    return {name: round(report.percentile(found, share), 2) for name, share in PERCENTILES.items()} if found else {}


async def _offer(plan: Plan) -> Outcome:
    return await Offering(plan).run()


def main(arguments: Sequence[str]) -> None:
    """Offer what the plan says."""
    plan = msgspec.json.decode(arguments[0], type=Plan)
    gc.disable()  # the number of requests is limited, and a collection would delay some
    print(msgspec.json.encode(uvloop.run(_offer(plan))).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
