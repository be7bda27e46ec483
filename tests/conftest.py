"""Real servers for every test: a Valkey and a MongoDB for the session; tests that break servers get their own."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pymongo
import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from rushlight.engine import partition
from rushlight.local.instance import Instance, read
from rushlight.local.process import Child, spawn
from rushlight.local.records import identity
from rushlight.settings import ENV_WHOLE, Settings

# The machine decides how long an example takes; what takes too long is told by the test's own timeout. In CI the same
# examples are tried each time: what is found anew is found by whoever runs the tests at home.
hypothesis_settings.register_profile(
    "tests",
    deadline=None,
    max_examples=60,
    print_blob=True,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis_settings.load_profile("tests")

# The files that take longest begin first, so that the last ones to end are short; the oracle's before those that fill
# the installation that it shares with them.
FIRST = (
    "tests/test_readme.py",
    "tests/faults/test_oracle.py",
    "tests/faults/test_faults.py",
    "tests/faults/test_state_machine.py",
    "tests/demo/test_demo.py",
    "tests/faults/test_machine.py",
    "tests/ingest/history/test_importing.py",
    "tests/local/test_survival.py",
    "tests/faults/test_failpoints_worker.py",
    "tests/faults/test_seeded_bugs.py",
    "tests/faults/test_bugs.py",
    "tests/faults/test_soak.py",
)
ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 110.0
STOP_SECONDS = 100.0
POLL_SECONDS = 0.02


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; otherwise everything as it was collected."""
    places = {str(ROOT / name): place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(str(item.path), len(FIRST)))


class Launched:
    """A supervisor in a process of its own, with whatever roles were asked for; dies with the test run."""

    def __init__(self, settings: Settings, roles: tuple[str, ...]) -> None:
        self.settings = settings
        self.log = Path(settings.data).parent / f"supervisor-{uuid.uuid4().hex[:6]}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.process: Child = spawn(
            "supervisor",
            [sys.executable, "-m", "rushlight.local", *roles],
            log=self.log,
            environment={ENV_WHOLE: settings.to_json()},
        )

    def ready(self) -> Instance:
        """Wait until everything answers; fail with the supervisor's own words when it ends instead."""
        deadline = time.monotonic() + START_SECONDS
        while (instance := read(self.settings.data)) is None or instance.pid != self.process.pid:
            if self.process.code is not None or time.monotonic() > deadline:
                pytest.fail(f"the supervisor did not come up: {self.process.last_words()}")
            time.sleep(POLL_SECONDS)
        return instance

    def ended(self) -> int:
        """Wait for the end and return the exit code."""
        deadline = time.monotonic() + STOP_SECONDS
        while (code := self.process.code) is None:
            if time.monotonic() > deadline:
                self.process.kill()
                pytest.fail(f"the supervisor did not end: {self.process.last_words()}")
            time.sleep(POLL_SECONDS)
        return code

    def stop(self) -> int:
        """Ask it to stop, as Ctrl-C does, and return the exit code."""
        self.process.signal(signal.SIGINT)
        return self.ended()

    def kill(self) -> None:
        """End the supervisor alone with SIGKILL."""
        self.process.kill()

    def end(self) -> None:
        """Be done with it and with all that it started: on Linux at once, as nobody cares any more how it ends."""
        if self.process.code is not None:
            return
        if sys.platform != "linux":
            self.stop()
            return
        instance = read(self.settings.data)
        children = list(instance.children.values()) if instance is not None else []
        self.kill()
        deadline = time.monotonic() + STOP_SECONDS
        while any(identity(pid) is not None for pid in children) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


Launch = Callable[..., Launched]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One Valkey and one MongoDB replica set for the whole run (``redis_url``, ``mongo_url``)."""
    data = tmp_path_factory.mktemp("servers") / "data"
    launched = Launched(Settings(data=str(data), port=0), ())
    try:
        yield launched.ready()
    finally:
        launched.end()
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def _mongo(servers: Instance) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](servers.mongo_url) as client:
        yield client


@pytest.fixture(scope="session")
def _valkey(servers: Instance) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(servers.redis_url) as client:
        yield client


@pytest.fixture
def _plain(servers: Instance, _valkey: redis.Redis, tmp_path: Path) -> Settings:
    """Settings on the session's servers with an empty Valkey and any free port."""
    _valkey.flushall()
    return Settings(
        data=str(tmp_path / "data"), port=0, redis_url=servers.redis_url, mongo_url=servers.mongo_url, database="test"
    )


@pytest.fixture
def settings(_plain: Settings, _mongo: pymongo.MongoClient[dict[str, Any]]) -> Iterator[Settings]:
    """Settings on the session's servers with a database of this test's own, an empty Valkey and any free port."""
    database = f"test_{uuid.uuid4().hex[:12]}"
    yield msgspec.structs.replace(_plain, database=database)
    _end_transactions(_mongo)
    _mongo.drop_database(database)


@pytest.fixture
def kept_settings(_plain: Settings, _mongo: pymongo.MongoClient[dict[str, Any]]) -> Settings:
    """The same on one database for all tests, emptied before each: half a second less than a new one.

    For tests that leave nobody behind who still writes.
    """
    _end_transactions(_mongo)
    database = _mongo["test_kept"]
    for name in database.list_collection_names():
        database[name].delete_many({})
    return msgspec.structs.replace(_plain, database=database.name)


def elsewhere(settings: Settings, **changes: Any) -> Settings:
    """The same with servers that nobody empties between tests: on a database of its own."""
    return msgspec.structs.replace(settings, database=f"test_{uuid.uuid4().hex[:12]}", **changes)


def _end_transactions(mongo: pymongo.MongoClient[dict[str, Any]]) -> None:
    """End those that somebody who was killed has left open: they hold up others until the server ends them."""
    mongo.admin.command("killAllSessions", [])


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in this process look after idle streams and outboxes several times a second, not every few seconds."""
    monkeypatch.setattr(partition, "IDLE_BLOCK_SECONDS", 0.5)
    monkeypatch.setattr(partition, "BUSY_SWEEP_SECONDS", 0.25)


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start supervisors in processes of their own: ``launch(settings, "web", "worker").ready()``."""
    started: list[Launched] = []

    def start(settings: Settings, *roles: str) -> Launched:
        started.append(Launched(settings, roles))
        return started[-1]

    yield start
    for launched in reversed(started):  # whoever was started on the servers of another ends before them
        launched.end()
        for stored in ("mongo", "valkey"):  # logs stay for whoever looks into a failure
            shutil.rmtree(launched.settings.path / stored, ignore_errors=True)


@pytest.fixture
def fresh_servers(launch: Launch, tmp_path: Path) -> Instance:
    """Servers that nobody used before and nobody will use again; ``fresh_servers.settings`` are settings on them."""
    return launch(Settings(data=str(tmp_path / "fresh"), port=0, database="test")).ready()


@pytest.fixture(scope="session")
def _own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    launched = Launched(Settings(data=str(tmp_path_factory.mktemp("own") / "own"), port=0), ())
    yield launched.ready()
    launched.end()


@pytest.fixture
def own_servers(_own_servers: Instance) -> Iterator[Instance]:
    """Servers that only this test uses at the time, to be killed and frozen, and ``own_servers.settings`` on them.

    They come with an empty Valkey and a database of this test's own.
    """
    database = f"test_{uuid.uuid4().hex[:12]}"
    chosen = msgspec.structs.replace(_own_servers.settings, database=database)
    with (
        redis.Redis.from_url(_own_servers.redis_url) as valkey,
        pymongo.MongoClient[dict[str, Any]](_own_servers.mongo_url) as mongo,
    ):
        valkey.flushall()
        try:
            yield msgspec.structs.replace(_own_servers, settings=chosen, database=database)
        finally:
            for child in ("valkey", "mongod"):
                _own_servers.thaw(child)
        _await_answers(valkey)
        _end_transactions(mongo)
        mongo.drop_database(database)


def _await_answers(valkey: redis.Redis) -> None:
    """Wait until Valkey answers again, in case that somebody killed it."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            valkey.ping()
        except redis.RedisError:
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
        else:
            return


@pytest.fixture(scope="session")
def _own_valkey(servers: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    data = tmp_path_factory.mktemp("valkey") / "own"
    launched = Launched(Settings(data=str(data), port=0, mongo_url=servers.mongo_url), ())
    yield launched.ready()
    launched.end()


@pytest.fixture
def own_valkey(_own_valkey: Instance) -> Iterator[Instance]:
    """A supervised Valkey, empty, that nobody else uses at the time."""
    with redis.Redis.from_url(_own_valkey.redis_url) as client:
        client.flushall()
    yield _own_valkey
    _own_valkey.thaw("valkey")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("RUSHLIGHT_"):
            monkeypatch.delenv(name)
