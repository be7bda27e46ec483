"""`python -m benchmarks.offering PLAN`: offers events on schedule to a loopback port, whether or not earlier ones have
been answered, and prints what became of them as one line of JSON.

Requests are made beforehand. Each is sent when its time has come, or, when all connections wait for an answer, over the
next that becomes idle; its latency counts from its scheduled time all the same. The loop here waits for nothing but the
kernel, so how late it comes to a request that is due is its own doing, and told apart.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from benchmarks import bodies, report

HOST = "127.0.0.1"
LAST_ANSWER_SECONDS = 15.0
CONNECT_SECONDS = 5.0
MOST_REQUESTS = 200_000
MOST_BYTES = 1 << 16
MOST_KNOWN = 1000
NICE = -5
RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)\r\n", re.IGNORECASE)
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """What is offered: so many events a second, one a request, for so many seconds.

    Attributes:
        begin: the first event's id; the others count on from it.
        connections: so many, all opened beforehand.
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
        seconds: from the first to the last scheduled time. late: by how many milliseconds the generator came to
            requests after their time. queued: for how many more they waited for a connection without a request.
        cpu_share: of one core, what the generator used.
        unanswered: connection lost, or no answer within fifteen seconds after the last request.
        accepted_by_second: answers of 2xx by the second of their arrival.
    """

    offered: int
    seconds: float
    answers: list[Answers]
    unanswered: int
    late: dict[str, float]
    queued: dict[str, float]
    cpu_share: float
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


class _Due(NamedTuple):
    """A request whose time has come, and when the generator saw that."""

    at: float
    seen: float
    request: bodies.Request


class _Sent(NamedTuple):
    due: _Due
    sent: float
    answered: float
    status: int
    retry_after: int | None


class _Reply(NamedTuple):
    """What an answer says."""

    status: int
    retry_after: int | None
    closes: bool


class Offering:
    """Sends one plan's requests and keeps what came back."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._times = list(schedule(plan))
        if len(self._times) > MOST_REQUESTS:
            raise ValueError(f"{len(self._times)} requests are more than {MOST_REQUESTS}")
        made = bodies.requests(plan.format, plan.write_key, plan.seed, plan.begin)
        self._requests = [request for _, request in zip(self._times, made, strict=False)]
        self._poll = select.epoll()
        self._due: deque[_Due] = deque()
        self._sockets: dict[int, socket.socket] = {}
        self._idle: list[socket.socket] = []
        self._busy: dict[int, tuple[_Due, float]] = {}
        self._parts: dict[int, bytes] = {}
        self._known: dict[bytes, _Reply] = {}
        self.finished: list[_Sent] = []
        self.lost = 0

    def run(self) -> Outcome:
        """Offer everything and wait for the last answers."""
        for _ in range(self._plan.connections):
            self._open()
        busy, began = time.process_time(), time.monotonic()
        try:
            self._offer(began)
        finally:
            for connection in self._sockets.values():
                connection.close()
            self._poll.close()
        share = (time.process_time() - busy) / (time.monotonic() - began)
        return self._outcome(began, share)

    def _offer(self, began: float) -> None:
        times, requests = self._times, self._requests
        position, count = 0, len(times)
        end = began + self._plan.seconds + LAST_ANSWER_SECONDS
        while (now := time.monotonic()) < end and (position < count or len(self.finished) + self.lost < count):
            while position < count and began + times[position] <= now:
                self._due.append(_Due(began + times[position], now, requests[position]))
                position += 1
            self._send_due()
            pause = min(0.1, max(0.0, began + times[position] - time.monotonic())) if position < count else 0.1
            for descriptor, _ in self._poll.poll(pause):
                self._read(descriptor)

    def _open(self) -> None:
        connection = socket.create_connection((HOST, self._plan.port), CONNECT_SECONDS)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(connection.fileno(), select.EPOLLIN)
        self._sockets[connection.fileno()] = connection
        self._idle.append(connection)

    def _send_due(self) -> None:
        while self._due and self._idle:
            self._send(self._idle.pop(), self._due.popleft())

    def _send(self, connection: socket.socket, due: _Due) -> None:
        descriptor = connection.fileno()
        self._busy[descriptor] = (due, time.monotonic())
        try:
            whole = connection.send(due.request.data) == len(due.request.data)
        except OSError:
            whole = False
        if not whole:  # the last one was answered, so there is room, unless it was closed meanwhile
            self._lose(descriptor)

    def _read(self, descriptor: int) -> None:
        connection = self._sockets.get(descriptor)
        if connection is None:
            return
        try:
            data = connection.recv(MOST_BYTES)
        except OSError:
            data = b""
        if not data:
            self._lose(descriptor)
            return
        if descriptor in self._parts:
            data = self._parts.pop(descriptor) + data
        reply = self._known.get(data) or _read_reply(data)
        if reply is None:
            self._parts[descriptor] = data
            return
        if len(self._known) < MOST_KNOWN:
            self._known[data] = reply
        due, sent = self._busy.pop(descriptor)
        self.finished.append(_Sent(due, sent, time.monotonic(), reply.status, reply.retry_after))
        if reply.closes:
            self._lose(descriptor)
        elif self._due:
            self._send(connection, self._due.popleft())
        else:
            self._idle.append(connection)

    def _lose(self, descriptor: int) -> None:
        """A connection is closed; another takes its place, if there is one to be had."""
        connection = self._sockets.pop(descriptor)
        if connection in self._idle:
            self._idle.remove(connection)
        self._parts.pop(descriptor, None)
        self.lost += self._busy.pop(descriptor, None) is not None
        self._poll.unregister(descriptor)
        connection.close()
        with contextlib.suppress(OSError):
            self._open()

    def _outcome(self, began: float, share: float) -> Outcome:
        seconds = [0] * (int(self._plan.seconds + LAST_ANSWER_SECONDS) + 1)
        for each in self.finished:
            if each.status // 100 == 2:
                seconds[min(len(seconds) - 1, int(each.answered - began))] += 1
        while seconds and not seconds[-1]:
            seconds.pop()
        statuses = sorted({each.status for each in self.finished})
        return Outcome(
            offered=len(self._times),
            seconds=self._plan.seconds,
            answers=[self._answers(status) for status in statuses],
            unanswered=len(self._times) - len(self.finished),
            late=percentiles((each.due.seen - each.due.at) * 1000 for each in self.finished),
            queued=percentiles((each.sent - each.due.seen) * 1000 for each in self.finished),
            cpu_share=round(share, 3),
            connections=len(self._sockets),
            accepted_by_second=seconds,
        )

    def _answers(self, status: int) -> Answers:
        found = [each for each in self.finished if each.status == status]
        kinds: dict[str, int] = dict.fromkeys(bodies.KINDS, 0)
        retry_after: dict[int, int] = {}
        for each in found:
            kinds[each.due.request.kind] += 1
            if each.retry_after is not None:
                retry_after[each.retry_after] = retry_after.get(each.retry_after, 0) + 1
        latency = percentiles((each.answered - each.due.at) * 1000 for each in found)
        service = percentiles((each.answered - each.sent) * 1000 for each in found)
        return Answers(status, len(found), kinds, latency, service, dict(sorted(retry_after.items())))


def _read_reply(data: bytes) -> _Reply | None:
    """What an answer says, once it is whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[: end + 2]
    length = CONTENT_LENGTH.search(head)
    if len(data) < end + 4 + (int(length[1]) if length else 0):
        return None
    status = int(head[9:12])
    after = RETRY_AFTER.search(head) if status >= 400 else None
    return _Reply(status, int(after[1]) if after else None, b"\r\nconnection: close\r\n" in head.lower())


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


def main(arguments: Sequence[str]) -> None:
    """Offer what the plan says."""
    plan = msgspec.json.decode(arguments[0], type=Plan)
    with contextlib.suppress(OSError):  # where that is allowed: a generator that waits measures its own waiting
        os.nice(NICE)
    offering = Offering(plan)
    gc.disable()  # the number of requests is limited, and a collection would delay some
    print(msgspec.json.encode(offering.run()).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
