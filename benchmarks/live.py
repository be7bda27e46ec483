"""From sending an order to the frame that shows it, in real Socket.IO clients, at a steady pace of orders."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import msgspec

from benchmarks import listeners, nestjs, node, report
from benchmarks.listeners import Listener
from benchmarks.nestjs import Nest
from benchmarks.order import Watch, settle
from benchmarks.ours import Rushlight
from benchmarks.processes import BenchmarkError
from benchmarks.servers import Servers
from benchmarks.sides import Side

WARM_UP_SECONDS = 3
LAST_FRAME_SECONDS = 3.0
CREATED = 201


class Posted(NamedTuple):
    """One order: its id, and when it was sent and answered (monotonic nanoseconds)."""

    order_id: str
    sent: int
    answered: int


class Seen(msgspec.Struct, frozen=True, rename="camel"):
    """One client's view of one run; latencies in milliseconds.

    Attributes:
        counted: from sending the n-th order to the first frame whose number of orders includes it; empty where frames
            carry no such number.
        listed: from sending an order to the first frame that lists it by its id.
        after_answer: from an order's 201 to that frame (negative when the frame was first).
    """

    system: str
    client: str
    round: int
    orders: int
    frames: int
    counted: list[float]
    listed: list[float]
    after_answer: list[float]

    @property
    def shown(self) -> list[float]:
        """Until a frame's figures include the order; where a frame is one order's, until that frame."""
        return self.counted or self.listed


async def post(url: str, prefix: str, per_second: int, seconds: int) -> list[Posted]:
    """Send orders on schedule, whether or not earlier ones have been answered.

    Raises:
        BenchmarkError: when an order is refused.
    """
    posted: list[Posted] = []

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        order_id = f"{prefix}-{number}"
        sent = time.monotonic_ns()
        async with session.post(f"{url}/orders", json=_order(order_id, number)) as answer:
            await answer.read()
            if answer.status != CREATED:
                raise BenchmarkError(f"order {order_id} was answered with {answer.status}: {await answer.text()}")
        posted.append(Posted(order_id, sent, time.monotonic_ns()))

    started = time.monotonic()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for number in range(per_second * seconds):
            await asyncio.sleep(started + number / per_second - time.monotonic())
            group.create_task(one(session, number))
    return sorted(posted, key=lambda each: each.sent)


def _order(order_id: str, number: int) -> dict[str, object]:
    product = number % 500
    line = {"productId": f"p{product}", "name": f"Product number {product}", "quantity": 1, "unitPrice": "9.99"}
    return {"orderId": order_id, "customerId": f"c{number % 2000}", "currency": "USD", "lines": [line]}


def watch(side: Side, namespace: str, logs: Path, number: int, per_second: int, seconds: int) -> list[Seen]:
    """One run: both clients connect, orders flow, and each order is looked up in the frames of each client."""
    clients: list[Listener] = []
    logs.mkdir(parents=True, exist_ok=True)
    try:
        for kind in listeners.KINDS:
            client = Listener(kind, side.live_url, namespace, logs / f"{side.name}-{number}-{kind}.log")
            clients.append(client)
        prefix = f"{side.name}-{number}"
        asyncio.run(post(side.orders_url, f"{prefix}-warm", per_second, WARM_UP_SECONDS))
        settle(side, Watch(side))
        time.sleep(LAST_FRAME_SECONDS)
        base = [_count(client) for client in clients]
        posted = asyncio.run(post(side.orders_url, prefix, per_second, seconds))
        settle(side, Watch(side))
        time.sleep(LAST_FRAME_SECONDS)
    finally:
        for client in clients:
            client.stop()
    return [_seen(side.name, client, number, posted, start) for client, start in zip(clients, base, strict=True)]


def _count(client: Listener) -> int | None:
    counts = [frame.count for frame in client.frames() if frame.count is not None]
    return counts[-1] if counts else None


def _seen(system: str, client: Listener, number: int, posted: Sequence[Posted], base: int | None) -> Seen:
    frames = client.frames()
    first = listeners.shown_by_id(frames)
    listed = [(each, first[each.order_id]) for each in posted if each.order_id in first]
    counted = [] if base is None else listeners.shown_by_count(frames, base, len(posted))
    return Seen(
        system=system,
        client=client.kind,
        round=number,
        orders=len(posted),
        frames=sum(frame.at >= posted[0].sent for frame in frames),
        counted=[(at - each.sent) / 1e6 for each, at in zip(posted, counted, strict=False) if at is not None],
        listed=[(at - each.sent) / 1e6 for each, at in listed],
        after_answer=[(at - each.answered) / 1e6 for each, at in listed],
    )


@contextlib.contextmanager
def systems(data: Path) -> Iterator[list[tuple[Side, str]]]:
    """Rushlight and the event-driven peer, with the namespace of their dashboards."""
    nestjs.build()
    node.install(listeners.FOLDER)
    with contextlib.ExitStack() as stack:
        ours = Rushlight(data / "live")
        stack.callback(ours.stop)
        ours.start()
        servers = Servers.start(data / "live-peers")
        stack.callback(servers.stop)
        peer = Nest("events", servers, data / "live-peers")
        stack.callback(peer.stop)
        peer.start()
        yield [(ours, "/live"), (peer, "/")]


def run(data: Path, rounds: int, per_second: int, seconds: int) -> Path:
    """Measure each system in turn, round after round, and write the result."""
    seen: list[Seen] = []
    with systems(data) as sides:
        for number in range(1, rounds + 1):
            for side, namespace in sides:
                seen += watch(side, namespace, data / "listeners", number, per_second, seconds)
                for each in seen[-len(listeners.KINDS) :]:
                    print(f"round {number}:", *_row(each.system, each.client, [each], seconds), sep="  ", flush=True)
        names = [side.name for side, _ in sides]
    head = ["system", "client", "p50 ms", "p99 ms", "max ms", "shown", "listed by id: p50", "p99", "listed"]
    head += ["after the 201: p50", "p99", "frames/s"]
    rows = [
        _row(name, kind, [each for each in seen if (each.system, each.client) == (name, kind)], seconds)
        for name in names
        for kind in listeners.KINDS
    ]
    title = f"Order → analyticsUpdate in real clients, at {per_second} orders/s for {seconds} s"
    return report.write("live", title, [report.table(head, rows), EXPLANATION], seen, {"peer": nestjs.describe()})


EXPLANATION = (
    "From sending `POST /orders` to the first frame whose figures include the order (its number of orders for "
    "Rushlight, the order's own frame for the peer). *Listed by id*: to the first frame that names the order; a frame "
    "of Rushlight names the latest twelve, so in a burst some are counted and never named."
)


def _row(system: str, client: str, seen: Sequence[Seen], seconds: int) -> list[str]:
    shown, listed, after = (
        [value for each in seen for value in getattr(each, name)] for name in ("shown", "listed", "after_answer")
    )
    orders = sum(each.orders for each in seen)
    return [
        system,
        client,
        *(report.number(report.percentile(shown, share), 1) for share in (0.5, 0.99, 1)),
        f"{100 * len(shown) / orders:.1f} %",
        *(report.number(report.percentile(listed, share), 1) for share in (0.5, 0.99)),
        f"{100 * len(listed) / orders:.1f} %",
        *(report.number(report.percentile(after, share), 1) for share in (0.5, 0.99)),
        report.number(sum(each.frames for each in seen) / len(seen) / seconds, 1),
    ]
