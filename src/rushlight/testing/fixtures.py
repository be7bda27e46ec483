"""Real servers for pytest: ``pytest_plugins = ["rushlight.testing.fixtures"]`` in your top ``conftest.py``.

``rushlight_servers`` runs an embedded Valkey and MongoDB once for the whole session. ``rushlight_settings`` are
settings on them with a database of the test's own. ``rushlight_up`` starts roles on such settings, with your modules.
"""

from __future__ import annotations

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

from rushlight.errors import SetupError
from rushlight.local import Instance, read
from rushlight.local.process import Child, spawn
from rushlight.settings import ENV_WHOLE, Settings

START_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05

Up = Callable[..., Instance]


@pytest.fixture(scope="session")
def rushlight_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An embedded Valkey and MongoDB for the whole session (``redis_url``, ``mongo_url``)."""
    data = tmp_path_factory.mktemp("rushlight") / "servers"
    with _Launched(Settings(data=str(data), port=0), ()) as launched:
        yield launched.ready()


@pytest.fixture
def rushlight_settings(rushlight_servers: Instance, tmp_path: Path) -> Iterator[Settings]:
    """Settings on the session's servers: a database of this test's own, an empty Valkey, any free port."""
    with redis.Redis.from_url(rushlight_servers.redis_url) as client:
        client.flushall()
    settings = Settings(
        data=str(tmp_path / "rushlight-data"),
        port=0,
        redis_url=rushlight_servers.redis_url,
        mongo_url=rushlight_servers.mongo_url,
        database=f"test_{uuid.uuid4().hex[:12]}",
    )
    yield settings
    with pymongo.MongoClient[dict[str, Any]](settings.mongo_url) as mongo:
        mongo.drop_database(settings.database)


@pytest.fixture
def rushlight_up(rushlight_settings: Settings) -> Iterator[Up]:
    """Start an instance for this test: ``rushlight_up("web", "worker", modules=("shop.mail",))``.

    The arguments are roles (``web`` and ``worker`` unless said) and settings by name. ``redis_url=None,
    mongo_url=None`` gives the test servers of its own, to be broken by `rushlight.testing.Faults`.
    """
    started: list[_Launched] = []

    def up(*roles: str, **changes: Any) -> Instance:
        settings = msgspec.structs.replace(rushlight_settings, **changes)
        started.append(_Launched(settings, roles or ("web", "worker")))
        return started[-1].ready()

    try:
        yield up
    finally:
        for launched in started:
            launched.stop()


class _Launched:
    """A supervisor in a process of its own; it dies with the test run, whatever happens to that."""

    def __init__(self, settings: Settings, roles: tuple[str, ...]) -> None:
        self._data = settings.path
        log = self._data.parent / f"{self._data.name}-supervisor.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._process: Child = spawn(
            "supervisor",
            [sys.executable, "-P", "-m", "rushlight.local", *roles],
            log=log,
            environment={ENV_WHOLE: settings.to_json()},
        )

    def __enter__(self) -> _Launched:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ready(self) -> Instance:
        """Wait until everything answers.

        Raises:
            SetupError: it does not, with the supervisor's own words.
        """
        deadline = time.monotonic() + START_SECONDS
        while (instance := read(self._data)) is None or instance.pid != self._process.pid:
            if self._process.code is not None or time.monotonic() > deadline:
                raise SetupError(f"Rushlight did not start: {self._process.last_words()}")
            time.sleep(POLL_SECONDS)
        return instance

    def stop(self) -> None:
        """Stop it in good order; kill it when that takes too long."""
        self._process.signal(signal.SIGINT)
        self._process.signal(signal.SIGCONT)
        deadline = time.monotonic() + STOP_SECONDS
        while self._process.code is None:
            if time.monotonic() > deadline:
                self._process.kill()
            time.sleep(POLL_SECONDS)
