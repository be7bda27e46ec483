"""What can happen to Redis while orders are placed; each fault is a block, and Redis is well again when it ends."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import redis

from benchmarks.ours import Rushlight
from benchmarks.processes import BenchmarkError
from rushlight.local import instance

HEAL_SECONDS = 30.0
FLUSH_EVERY_SECONDS = 0.05
KILL_EVERY_SECONDS = 0.5
STALL_SECONDS = 0.1
BREATH_SECONDS = 0.02
CALL_SECONDS = 2.0


@contextlib.contextmanager
def stopped(ours: Rushlight) -> Iterator[None]:
    """It neither answers nor dies (SIGSTOP)."""
    with ours.without_redis():
        yield


@contextlib.contextmanager
def killed(ours: Rushlight) -> Iterator[None]:
    """Killed with -9 again and again, as often as the supervisor starts it."""
    with _again(lambda: _child(ours).kill("valkey"), KILL_EVERY_SECONDS):
        yield
    _await_well(ours)


@contextlib.contextmanager
def flushed(ours: Rushlight) -> Iterator[None]:
    """FLUSHALL twenty times a second."""
    with _client(ours) as client, _again(client.flushall, FLUSH_EVERY_SECONDS):
        yield


@contextlib.contextmanager
def slow(ours: Rushlight) -> Iterator[None]:
    """Stalls: a tenth of a second without an answer, a fiftieth with, by turns."""

    def stall() -> None:
        _child(ours).freeze("valkey")
        time.sleep(STALL_SECONDS)
        _child(ours).thaw("valkey")

    try:
        with _again(stall, BREATH_SECONDS):
            yield
    finally:
        _child(ours).thaw("valkey")


@contextlib.contextmanager
def full(ours: Rushlight) -> Iterator[None]:
    """Its memory is full: it answers, and refuses every XADD."""
    with _client(ours) as client:
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", "1")
        try:
            yield
        finally:
            client.config_set("maxmemory", before)


FAULTS: dict[str, Callable[[Rushlight], contextlib.AbstractContextManager[None]]] = {
    "stopped": stopped,
    "killed": killed,
    "flushed": flushed,
    "slow": slow,
    "full": full,
}


def _child(ours: Rushlight) -> instance.Instance:
    running = instance.read(ours.data)
    if running is None:
        raise BenchmarkError(f"{ours.name} does not run")
    return running


def _client(ours: Rushlight) -> redis.Redis:
    return redis.Redis.from_url(_child(ours).redis_url, socket_timeout=CALL_SECONDS)


@contextlib.contextmanager
def _again(do: Callable[[], object], every_seconds: float) -> Iterator[None]:
    """Do it again and again in a thread."""
    end = threading.Event()

    def loop() -> None:
        while not end.wait(every_seconds):
            with contextlib.suppress(redis.RedisError):
                do()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _await_well(ours: Rushlight) -> None:
    deadline = time.monotonic() + HEAL_SECONDS
    while True:
        with contextlib.suppress(redis.RedisError), _client(ours) as client:
            client.ping()
            return
        if time.monotonic() > deadline:
            raise BenchmarkError("Redis did not come back")
        time.sleep(BREATH_SECONDS)
