"""`python -m benchmarks.steps PLAN`: what each step from the bytes of a request to its answer costs Rushlight.

The steps are the product's own functions, run one after another over the same requests in one process: each over a
whole portion of them before the next begins, so that reading the clock costs nothing. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import uvicorn
import uvloop
from uvicorn.server import ServerState

from benchmarks import bodies, open_door
from rushlight.events.envelope import Envelope, encode, now
from rushlight.events.ids import event_id, partition_of
from rushlight.ingest.context.circumstances import Circumstances
from rushlight.ingest.credentials import key_in
from rushlight.ingest.http import DIALECTS
from rushlight.ingest.keys import Key, Keyring
from rushlight.ingest.log.priority import priority_of
from rushlight.ingest.log.segment import Entry, Records
from rushlight.ingest.log.sender import Sender
from rushlight.ingest.log.wal import WriteAheadLog
from rushlight.ingest.refusals import complete
from rushlight.ingest.reports import seal_all
from rushlight.ingest.request import Decoded, Rejection, Report, Request, Typed
from rushlight.local.instance import Instance
from rushlight.serving.connection import connections
from rushlight.store.database import Database

T = TypeVar("T")

PORTIONS = 5
TOGETHER = 64
LOG_BYTES = 1 << 30
GC_THRESHOLDS = (20_000, 20, 20)
STEPS = {
    "http": "HTTP: read and parse a request, write an answer (no sockets)",
    "key": "key",
    "decode": "JSON decoded, read as the dialect's",
    "seal": "checks, catalogue event, context, ids",
    "ids": "of which ids and partition (BLAKE2b)",
    "encode": "encoded for the log",
    "log": "log: appended, on disk",
    "stream": "stream: appended, answered by Valkey",
    "answer": "answer",
}
PARTS_OF_ANOTHER = frozenset({"ids"})


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """What is timed.

    Attributes:
        instance: ``instance.json`` of the running instance whose MongoDB knows the key. redis_url: of another Valkey,
            whose streams nobody reads. size: events in a request. together: requests that are on their way at once.
    """

    instance: str
    redis_url: str
    write_key: str
    format: bodies.Format
    size: int
    events: int = 100_000
    together: int = TOGETHER


class Step(msgspec.Struct, frozen=True, rename="camel"):
    """CPU microseconds per event, all threads: the median of the portions, and each of them.

    Attributes:
        wait_ms: what a request waits in it, from the first of those that are together to the last: median.
    """

    name: str
    cpu_us: float
    portions: list[float]
    wait_ms: float | None = None


class _Context(NamedTuple):
    plan: Plan
    keyring: Keyring
    key: Key
    log: WriteAheadLog
    sender: Sender


class _Clock:
    """CPU seconds by step and portion, and the waits of steps that wait."""

    def __init__(self) -> None:
        self.cpu: dict[str, list[float]] = {name: [] for name in STEPS}
        self.waits: dict[str, list[float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        began = time.process_time()
        yield
        self.cpu[name].append(time.process_time() - began)

    def waited(self, name: str, seconds: float) -> None:
        """Note one wait."""
        self.waits.setdefault(name, []).append(seconds)


async def measure(plan: Plan) -> list[Step]:
    """Every step, over all portions."""
    instance = msgspec.json.decode(Path(plan.instance).read_bytes(), type=Instance)
    database = await Database.connect(instance.settings, role="web")
    directory = Path(tempfile.mkdtemp(prefix="steps-", dir=Path(plan.instance).parent))
    log = WriteAheadLog.create(directory, "benchmark", cap_bytes=LOG_BYTES)
    sender = Sender(plan.redis_url)
    try:
        keyring = Keyring(database)
        key = await keyring.verify(plan.write_key)
        assert key is not None
        context = _Context(plan, keyring, key, log, sender)
        clock = _Clock()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        per_portion = max(plan.together, plan.events // PORTIONS // plan.size)
        for portion in range(PORTIONS + 1):
            told = clock if portion else _Clock()  # the first warms everything up
            await _portion(context, told, portion * per_portion * plan.size, per_portion)
    finally:
        await sender.close()
        await log.close()
        await database.close()
        shutil.rmtree(directory)
    return [_step(name, clock, per_portion * plan.size) for name in STEPS if clock.cpu[name]]


class _Wire(asyncio.Transport):
    """A connection without a socket: what is written is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.answers += bytes(data).startswith(b"HTTP/1.1 ")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        pass


async def _nowhere(_scope: Any, _receive: Any, _send: Any) -> None:
    """No request goes the long way."""


async def _time_http(clock: _Clock, plan: Plan, requests: Sequence[Request]) -> None:
    """Each request's bytes go through the server's protocol, as many at once as would be on their way."""
    make = connections(open_door.direct)
    config = uvicorn.Config(_nowhere, lifespan="off", log_config=None, access_log=False, server_header=False)
    config.load()
    wires = [_Wire() for _ in range(plan.together)]
    protocols = [make(config=config, server_state=ServerState(), app_state={}) for _ in wires]
    for protocol, wire in zip(protocols, wires, strict=True):
        protocol.connection_made(wire)
    sent = [bodies.head(plan.format, plan.write_key, plan.size, each.body) + each.body for each in requests]
    with clock.step("http"):
        expected = 0
        for group in _groups(sent, plan.together):
            expected += len(group)
            for protocol, data in zip(protocols, group, strict=False):
                protocol.data_received(data)
            while sum([wire.answers for wire in wires]) < expected:  # noqa: ASYNC110 - turns of the loop are the work
                await asyncio.sleep(0)
    for protocol in protocols:
        protocol.connection_lost(None)


async def _portion(context: _Context, clock: _Clock, begin: int, count: int) -> None:
    """All steps over so many requests, whose ids begin at ``begin``."""
    requests = _requests(context.plan, begin, count)
    dialect = DIALECTS[requests[0].path]
    await _time_http(clock, context.plan, requests)
    await context.keyring.verify(context.plan.write_key)  # as fresh as under load
    with clock.step("key"):
        for request in requests:
            context.keyring.known(key_in(request.headers) or dialect.key_in(request))
    with clock.step("decode"):
        items = [[*dialect.decode(request)] for request in requests]
    with clock.step("seal"):
        decoded = [
            seal_all(each, context.key, request.received_at, Circumstances(request, dialect.name, context.key))
            for request, each in zip(requests, items, strict=True)
        ]
    assert sum(each.accepted for each in decoded) == count * context.plan.size
    _time_ids(context, clock, [item for each in items for item in each if not isinstance(item, Rejection)], decoded)
    with clock.step("encode"):
        entries = [[_entry(context, envelope) for envelope in each.envelopes] for each in decoded]
    with clock.step("log"):
        for group in _groups(entries, context.plan.together):
            began = time.perf_counter()
            await asyncio.gather(*[context.log.put(Records.of(each), 0).future for each in group])
            clock.waited("log", time.perf_counter() - began)
    with clock.step("stream"):
        for sent in _groups(entries, context.plan.together):
            began = time.perf_counter()
            records = Records.of([entry for each in sent for entry in each])
            answer = await context.sender.append(range(len(records.data)), records.partitions, records.data)
            clock.waited("stream", time.perf_counter() - began)
            assert answer.error is None
    with clock.step("answer"):
        for request, each in zip(requests, decoded, strict=True):
            complete(dialect.answer(request, each))


def _requests(plan: Plan, begin: int, count: int) -> list[Request]:
    """As the server hands them over."""
    events = bodies.bodies(plan.format, plan.write_key, seed=1, count=count * plan.size, begin=begin)
    texts = [bodies.joined(plan.format, some) for some in _groups(events, plan.size)]
    doors = [bodies.door(plan.format, plan.write_key, plan.size, text) for text in texts]
    return [
        Request(path=path, headers=headers, body=text, received_at=now())
        for (path, headers), text in zip(doors, texts, strict=True)
    ]


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _time_ids(context: _Context, clock: _Clock, reports: Sequence[Report | Typed], decoded: Sequence[Decoded]) -> None:
    partitions = 8
    envelopes = [envelope for each in decoded for envelope in each.envelopes]
    with clock.step("ids"):
        for report, envelope in zip(reports, envelopes, strict=True):
            event_id(context.key.shop, "public", report.sender, report.message_id)
            partition_of(envelope.shop, envelope.aggregate_id, partitions)


def _entry(context: _Context, envelope: Envelope) -> Entry:
    partition = partition_of(envelope.shop, envelope.aggregate_id, 8)
    source = context.log.sources.number(envelope.source)
    return Entry(encode(envelope), bytes.fromhex(envelope.id), partition, source, priority_of(envelope.name))


def _step(name: str, clock: _Clock, events: int) -> Step:
    portions = [round(seconds / events * 1e6, 3) for seconds in clock.cpu[name]]
    waits = clock.waits.get(name)
    return Step(name, statistics.median(portions), portions, statistics.median(waits) * 1000 if waits else None)


def main(arguments: Sequence[str]) -> None:
    """Time what the plan says."""
    plan = msgspec.json.decode(arguments[0], type=Plan)
    print(msgspec.json.encode(uvloop.run(measure(plan))).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
