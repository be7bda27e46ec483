"""What befalls the whole machine, and what is no fault of the catalogue: switched off, promoted, refused, flooded."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
import redis

from rushlight.local import binaries
from tests.faults.diary import Answered, Diary
from tests.faults.faults import VALKEY_LINKS
from tests.faults.network import Network
from tests.faults.proxy import Weather
from tests.faults.shoppers import _cloud, _event, _headers
from tests.faults.trial import trial
from tests.faults.watcher import Watcher
from tests.faults.world import World, until
from tests.ports import free_ports

BUSY_SECONDS = 1.5
START_SECONDS = 60.0
VIEWERS = 60
ROUNDS = 1
PADDING = "x" * 2000


@contextmanager
def another_valkey(folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """A Valkey on a port of its own whose writes beyond a file limit are refused instead of deadly; address and pid."""
    folder.mkdir()
    port = free_ports()
    command = [str(binaries.valkey_server()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "yes", "--enable-debug-command", "local", *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, restore_signals=False)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"127.0.0.1:{port}", process.pid
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@contextmanager
def moved(world: World, address: str) -> Iterator[redis.Redis]:
    """Everybody uses another Valkey meanwhile."""
    home = world.servers.redis_url.removeprefix("unix://")
    for link in VALKEY_LINKS:
        world.network.move(link, address)
    try:
        with redis.Redis.from_url(f"redis://{address}", socket_timeout=5) as client:
            yield client
    finally:
        for link in VALKEY_LINKS:
            world.network.move(link, home)


async def test_a_replica_is_promoted_that_lacks_the_latest(world: World, diary: Path, tmp_path: Path) -> None:
    """A real replica, cut off from its primary, takes over: the generation key is the same, acknowledged entries are
    missing, and all of them come again from logs and outboxes.
    """
    async with trial(world, diary, seed=101, pause=0.05) as running:
        with another_valkey(tmp_path / "primary") as (primary, _):
            host, _ = primary.split(":")
            with Network({"replication": primary}) as between, another_valkey(tmp_path / "replica") as (replica, _):
                _, link = between.address("replication").split(":")
                with moved(world, primary), redis.Redis.from_url(f"redis://{replica}") as second:
                    second.replicaof(host, link)
                    await asyncio.sleep(BUSY_SECONDS)
                    await until(lambda: second.info("replication")["master_link_status"] == "up")
                    between.turn("replication", Weather(hold=("up", "down")))
                    await asyncio.sleep(BUSY_SECONDS)
                    second.replicaof("NO", "ONE")
                    with redis.Redis.from_url(f"redis://{primary}") as first:
                        assert first.get("{p00}:generation") == second.get("{p00}:generation") is not None
                        assert first.info("replication")["master_replid"] != second.info("replication")["master_replid"]
                    for name in VALKEY_LINKS:
                        world.network.move(name, replica)
                    await running.right()
                    running.shoppers.go_on()
                    await asyncio.sleep(BUSY_SECONDS)
        assert await running.verdict() == []


async def test_a_disk_that_is_slow_and_then_refuses(world: World, diary: Path, tmp_path: Path) -> None:
    """Valkey's fsync hangs, then its disk refuses every byte and it answers MISCONF: orders and events go on."""
    async with trial(world, diary, seed=102, pause=0.05) as running:
        with another_valkey(tmp_path / "slow") as (address, pid), moved(world, address) as client:
            client.execute_command("DEBUG", "AOF-FLUSH-SLEEP", "300000")  # type: ignore[no-untyped-call]
            await asyncio.sleep(BUSY_SECONDS)
            client.execute_command("DEBUG", "AOF-FLUSH-SLEEP", "0")  # type: ignore[no-untyped-call]
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            await until(lambda: _refuses(client))
            await asyncio.sleep(BUSY_SECONDS)
            assert await running.right() >= 0
            running.shoppers.go_on()
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await until(lambda: not _refuses(client))
            await asyncio.sleep(BUSY_SECONDS)
        assert await running.verdict() == []


def _refuses(client: redis.Redis) -> bool:
    try:
        client.set("probe", "1")
    except redis.ResponseError as error:
        return "MISCONF" in str(error)
    except redis.RedisError:
        pass
    return False


@pytest.mark.timeout(240)
async def test_switched_off(world: World, diary: Path) -> None:
    """Supervisors, roles and servers are all gone at one moment; on the same disk all is right again."""
    async with trial(world, diary, seed=103, pause=0.05) as running:
        for _ in range(ROUNDS):
            await asyncio.sleep(BUSY_SECONDS)
            world.crash()
            world.revive()
            await running.right()
            running.shoppers.go_on()
        assert await running.verdict() == []


async def test_our_clocks_step_back(world: World, diary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks of web, orders and workers run ahead and step back in mid-sale: nothing is ordered by them."""
    ahead = min(3600.0, _until_midnight() / 2)
    file = tmp_path / "clock"
    file.write_text(f"{ahead}")
    monkeypatch.setenv("TEST_CLOCK_FILE", str(file))
    async with trial(world, diary, seed=104, pause=0.05) as running:
        world.replace("web", "orders", "workers", patch="clock")
        await asyncio.sleep(BUSY_SECONDS)
        file.write_text("0")
        await asyncio.sleep(BUSY_SECONDS)
        assert await running.verdict() == []
    world.replace("web", "orders", "workers")


def _until_midnight() -> float:
    now = datetime.now(UTC)
    return 86400.0 - (now.hour * 3600 + now.minute * 60 + now.second)


async def test_everybody_comes_back_at_once(world: World, diary: Path) -> None:
    """Sixty boards lose their server at one moment: each gets a snapshot again and shows what the oracle says."""
    async with trial(world, diary, seed=105, pause=0.05) as running:
        viewers = [Watcher(world.doors.board) for _ in range(VIEWERS)]
        try:
            await until(lambda: all(viewer.frames for viewer in viewers))
            before = [viewer.snapshots for viewer in viewers]
            await world.killed("web")
            await until(lambda: all(new.snapshots > old for new, old in zip(viewers, before, strict=True)))
            assert await running.verdict() == []
            await until(lambda: all(viewer.currencies == running.watcher.currencies for viewer in viewers))
            assert [line for viewer in viewers for line in viewer.wrong] == []
        finally:
            await asyncio.gather(*(viewer.close() for viewer in viewers))


async def test_flooded(world: World, diary: Path) -> None:
    """With no worker and more events than the log may hold, views are refused with a time to come again; what was taken
    before and money after are kept, nothing grows beyond its bound, and it is over when workers run.
    """
    key, taken, refused = _headers(world.doors.public), 0, 0
    async with trial(world, diary, seed=106, pause=0.2) as running:
        book: Diary = running.shoppers._diary
        for worker in ("worker-1", "worker-2"):
            world.freeze(worker)
        async with aiohttp.ClientSession() as http:
            for number in range(100):
                noted = [_event("web", "public", "/flood", f"{number} {n}", f"f-{n}", "page_view") for n in range(200)]
                await book.note(*noted)
                data = [
                    _cloud("/flood", f"{number} {n}", "page_view", {"visitorId": f"f-{n}", "title": PADDING[:500]})
                    for n in range(200)
                ]
                async with http.post(f"{world.doors.board}/events", json=data, headers=key) as response:
                    if response.status == 202:
                        taken += 1
                        await book.note(*(Answered(key=sent.key, outcome="accepted") for sent in noted))
                    else:
                        assert response.status == 503
                        assert int(response.headers["retry-after"]) >= 1
                        await book.note(*(Answered(key=sent.key, outcome="refused") for sent in noted))
                        refused += 1
                if refused > 3:
                    break
        assert (taken > 5, refused > 3) == (True, True)
        for worker in ("worker-1", "worker-2"):
            world.thaw(worker)
        assert await running.verdict() == []
        assert running.audit.most["log"] > 1 << 20
