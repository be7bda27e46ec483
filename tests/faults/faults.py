"""Everything that can be done to a world and undone again: each fault is a block, healed when the block ends."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pymongo
import redis
from pymongo.errors import PyMongoError

from rushlight.bus.stream import stream_key
from tests.faults.proxy import Direction, Weather
from tests.faults.world import World, until

PARTITIONS = 8
HEAL_SECONDS = 60.0
FUTURE_MS = 3_600_000
FLAPS = 8
FLAP_SECONDS = 0.2
STALL_SECONDS = 0.5
LEASE_MARGIN_SECONDS = 2.0
FULL_BYTES = 1

Block = AbstractAsyncContextManager[None]


class Fault(NamedTuple):
    """One kind of fault.

    Attributes:
        hits: what it works on, so that two at once do not undo each other.
        longest: seconds that it may last; None: as long as one likes.
        redis: whether all that it disturbs is Redis, so that orders must not feel it.
    """

    name: str
    block: Callable[[World, random.Random], Block]
    hits: frozenset[str]
    longest: float | None = None
    redis: bool = False


FAULTS: dict[str, Fault] = {}


def _fault(
    name: str, *hits: str, longest: float | None = None, redis: bool = False
) -> Callable[[Callable[[World, random.Random], AsyncIterator[None]]], Callable[[World, random.Random], Block]]:
    def register(
        made: Callable[[World, random.Random], AsyncIterator[None]],
    ) -> Callable[[World, random.Random], Block]:
        block = asynccontextmanager(made)
        FAULTS[name] = Fault(name, block, frozenset(hits), longest, redis)
        return block

    return register


def _freezing(name: str, child: str, **facts: bool) -> None:
    @_fault(name, child, longest=6.0, **facts)
    async def frozen(world: World, dice: random.Random) -> AsyncIterator[None]:
        world.freeze(child)
        try:
            yield
        finally:
            world.thaw(child)


def _killing(name: str, *children: str, **facts: bool) -> None:
    @_fault(name, *children, longest=1.0, **facts)
    async def killed(world: World, dice: random.Random) -> AsyncIterator[None]:
        child = dice.choice(children)
        await world.killed(child)
        yield


_freezing("Valkey frozen", "valkey", redis=True)
_freezing("MongoDB frozen", "mongod")
_freezing("web frozen", "web")
_freezing("order service frozen", "orders")
_killing("Valkey killed", "valkey", redis=True)
_killing("MongoDB killed", "mongod")
_killing("web killed", "web")
_killing("order service killed", "orders")
_killing("worker killed", "worker-1", "worker-2")


@_fault("worker frozen past its lease", "worker-1", "worker-2")
async def _zombie(world: World, dice: random.Random) -> AsyncIterator[None]:
    child = f"worker-{dice.randrange(2) + 1}"
    world.freeze(child)
    try:
        await asyncio.sleep(world.parts["workers"].settings.lease_ttl_seconds + LEASE_MARGIN_SECONDS)
        yield
    finally:
        world.thaw(child)


@_fault("worker starved of processor time", "worker-1", "worker-2", longest=1.0)
async def _starved(world: World, dice: random.Random) -> AsyncIterator[None]:
    child = f"worker-{dice.randrange(2) + 1}"
    try:
        for _ in range(FLAPS):
            world.freeze(child)
            await asyncio.sleep(FLAP_SECONDS)
            world.thaw(child)
            await asyncio.sleep(FLAP_SECONDS / 4)
        yield
    finally:
        world.thaw(child)


@_fault("worker frozen in mid-commit past its lease", "worker-1", "worker-2", "workers-mongod")
async def _stuck_commit(world: World, dice: random.Random) -> AsyncIterator[None]:
    """The commit is on its way to MongoDB when everything stands still; it arrives after another has taken over."""
    world.network.turn("workers-mongod", Weather(mark="commitTransaction", at_mark="hold", marks=1))
    try:
        with contextlib.suppress(TimeoutError):
            await until(lambda: world.network.look("workers-mongod").marked, 5.0)
        for child in ("worker-1", "worker-2"):
            world.freeze(child)
        await asyncio.sleep(world.parts["workers"].settings.lease_ttl_seconds + STALL_SECONDS)
        world.thaw(f"worker-{dice.randrange(2) + 1}")
        await asyncio.sleep(LEASE_MARGIN_SECONDS)
        yield
    finally:
        world.network.turn("workers-mongod")
        for child in ("worker-1", "worker-2"):
            world.thaw(child)


@_fault("worker stopped and started", "worker-1", "worker-2", longest=1.0)
async def _worker_stopped(world: World, dice: random.Random) -> AsyncIterator[None]:
    await world.restarted(f"worker-{dice.randrange(2) + 1}")
    yield


@_fault("web and order service stopped and started", "web", "orders", longest=1.0)
async def _doors_stopped(world: World, dice: random.Random) -> AsyncIterator[None]:
    await asyncio.gather(world.restarted("web"), world.restarted("orders"))
    yield


@_fault("everything killed at once", "valkey", "mongod", "web", "orders", "worker-1", "worker-2", longest=1.0)
async def _all_killed(world: World, dice: random.Random) -> AsyncIterator[None]:
    before = {child: world.pid(child) for child in world.children}
    for child in world.children:
        world.kill(child)
    await until(lambda: all(world.pid(child) != pid for child, pid in before.items()))
    yield


@_fault("Valkey wiped (FLUSHALL)", "valkey", longest=3.0, redis=True)
async def _wiped(world: World, dice: random.Random) -> AsyncIterator[None]:
    wiping = asyncio.create_task(_wipe(world))
    try:
        yield
    finally:
        wiping.cancel()
        await asyncio.gather(wiping, return_exceptions=True)


async def _wipe(world: World) -> None:
    while True:
        with contextlib.suppress(redis.RedisError), world.valkey() as client:
            await asyncio.to_thread(client.flushall)
        await asyncio.sleep(STALL_SECONDS)


@_fault("Valkey full (maxmemory)", "valkey", redis=True)
async def _full(world: World, dice: random.Random) -> AsyncIterator[None]:
    before = await _configured(world, "maxmemory", "1")
    try:
        yield
    finally:
        await _configured(world, "maxmemory", before)


async def _configured(world: World, name: str, value: str) -> str:
    """Set a parameter, however long Valkey does not answer; the value before."""
    deadline = time.monotonic() + HEAL_SECONDS
    while True:
        try:
            with world.valkey() as client:
                before = str(client.config_get(name)[name])
                client.config_set(name, value)
                return before
        except redis.RedisError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(STALL_SECONDS)


@_fault("Valkey's clock steps back an hour", "valkey", longest=1.0, redis=True)
async def _clock(world: World, dice: random.Random) -> AsyncIterator[None]:
    """Its streams have seen a time that its clock will only reach in an hour: what a step back leaves behind."""
    with contextlib.suppress(redis.RedisError), world.valkey() as client:
        now, _ = client.time()
        for partition in range(PARTITIONS):
            with contextlib.suppress(redis.ResponseError):
                client.execute_command(  # type: ignore[no-untyped-call]
                    "XSETID", stream_key(partition), f"{now * 1000 + FUTURE_MS}-0"
                )
    yield


def _files(world: World) -> Path:
    return world.base / "servers" / "valkey" / "appendonlydir"


def _incremental(world: World) -> Path:
    return max(_files(world).glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)


@_fault("Valkey's file loses its end (power cut)", "valkey", longest=1.0, redis=True)
async def _cut(world: World, dice: random.Random) -> AsyncIterator[None]:
    def cut() -> None:
        path = _incremental(world)
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(max(0, size - dice.randrange(1, max(2, size // 2))))

    await world.restarted("valkey", cut)
    yield


@_fault("Valkey's file is damaged in the middle", "valkey", longest=1.0, redis=True)
async def _damaged(world: World, dice: random.Random) -> AsyncIterator[None]:
    def damage() -> None:
        path = _incremental(world)
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(size // 2)
            file.write(b"\0garbage\r\n*3\r\n$x" * 500)

    await world.restarted("valkey", damage)
    yield


@_fault("Valkey put back to an older state", "valkey", longest=1.0, redis=True)
async def _older(world: World, dice: random.Random) -> AsyncIterator[None]:
    """As a replica that lacked the latest entries: the same generation key, another server, what came later is gone."""
    copy = world.base / "older"
    await world.restarted("valkey", lambda: shutil.copytree(_files(world), copy, dirs_exist_ok=False))
    await asyncio.sleep(STALL_SECONDS * 2)

    def put_back() -> None:
        shutil.rmtree(_files(world))
        copy.rename(_files(world))

    await world.restarted("valkey", put_back)
    yield


@_fault("MongoDB steps down", "mongod", longest=3.0)
async def _stepped_down(world: World, dice: random.Random) -> AsyncIterator[None]:
    def step_down() -> None:
        with (
            contextlib.suppress(PyMongoError),
            pymongo.MongoClient[dict[str, Any]](world.servers.mongo_url, timeoutMS=2000) as client,
        ):
            client.admin.command({"replSetStepDown": 2, "force": True})

    await asyncio.to_thread(step_down)
    yield


def _filling(name: str, child: str, **facts: bool) -> None:
    """No file of this process may grow: its disk is full. A server that dies of it is started again with more room."""

    @_fault(name, child, longest=4.0, **facts)
    async def full(world: World, dice: random.Random) -> AsyncIterator[None]:
        pid = world.pid(child)
        before = _limited(pid, (FULL_BYTES, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            _limited(pid, before)


def _limited(pid: int, limits: tuple[int, int]) -> tuple[int, int]:
    with contextlib.suppress(ProcessLookupError):
        return resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    return limits


_filling("Valkey's disk full", "valkey", redis=True)
_filling("MongoDB's disk full", "mongod")
_filling("the write-ahead log's disk full", "web")


def _weather(name: str, weathers: Callable[[random.Random], Weather], *links: str, **facts: bool) -> None:
    @_fault(name, *links, **facts)
    async def bad(world: World, dice: random.Random) -> AsyncIterator[None]:
        weather = weathers(dice)
        for link in links:
            world.network.turn(link, weather)
        try:
            yield
        finally:
            for link in links:
                world.network.turn(link)


def _way(dice: random.Random) -> Weather:
    way: Direction = dice.choice(("up", "down"))
    return Weather(hold=(way,))


VALKEY_LINKS = ("web-valkey", "orders-valkey", "workers-valkey")
_BOTH = Weather(hold=("up", "down"))
_weather("web cut off from Valkey", lambda _: _BOTH, "web-valkey", redis=True)
_weather("workers cut off from Valkey", lambda _: _BOTH, "workers-valkey", redis=True)
_weather("order service cut off from Valkey", lambda _: _BOTH, "orders-valkey", redis=True)
_weather("Valkey heard in one direction only", _way, *VALKEY_LINKS, redis=True)
_weather("Valkey slow (100 ms)", lambda _: Weather(delay=0.1), *VALKEY_LINKS, redis=True)
_weather("Valkey by the byte", lambda dice: Weather(slice=dice.randrange(1, 9)), *VALKEY_LINKS, redis=True)
_weather("Valkey at 20 kB/s", lambda _: Weather(rate=20_000), *VALKEY_LINKS, redis=True)
_weather("Valkey refuses connections", lambda _: Weather(refuse=True), *VALKEY_LINKS, redis=True)
_weather("workers cut off from MongoDB", lambda _: _BOTH, "workers-mongod")
_weather("workers hear or reach MongoDB only", _way, "workers-mongod")
_weather("web cut off from MongoDB", lambda _: _BOTH, "web-mongod")
_weather("MongoDB slow for workers (50 ms)", lambda _: Weather(delay=0.05), "workers-mongod")
_weather("order service cut off from MongoDB", lambda _: _BOTH, "orders-mongod")


@_fault(
    "connections reset again and again",
    *(f"{part}-{server}" for part in ("web", "workers") for server in ("valkey", "mongod")),
)
async def _resets(world: World, dice: random.Random) -> AsyncIterator[None]:
    async def cut() -> None:
        while True:
            await asyncio.sleep(dice.uniform(0.05, 0.4))
            world.network.reset(dice.choice(world.network.names))

    cutting = asyncio.create_task(cut())
    try:
        yield
    finally:
        cutting.cancel()
        await asyncio.gather(cutting, return_exceptions=True)


@_fault("replies to commits lost", "workers-mongod")
async def _replies_lost(world: World, dice: random.Random) -> AsyncIterator[None]:
    world.network.turn(
        "workers-mongod", Weather(mark="commitTransaction", at_mark=dice.choice(("before", "after")), marks=6)
    )
    try:
        yield
    finally:
        world.network.turn("workers-mongod")


@_fault("replies to orders lost", "orders-mongod")
async def _order_replies_lost(world: World, dice: random.Random) -> AsyncIterator[None]:
    world.network.turn("orders-mongod", Weather(mark="insert", at_mark=dice.choice(("before", "after")), marks=3))
    try:
        yield
    finally:
        world.network.turn("orders-mongod")


def pairs(dice: random.Random) -> Iterator[tuple[Fault, ...]]:
    """For ever: one fault, or two that do not touch the same thing; every kind comes before one comes again."""
    names = sorted(FAULTS)
    while True:
        dice.shuffle(names)
        for name in list(names):
            first = FAULTS[name]
            others = [fault for fault in FAULTS.values() if not fault.hits & first.hits]
            yield (first, dice.choice(sorted(others))) if others and dice.random() < 0.5 else (first,)
