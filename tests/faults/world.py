"""A whole installation in pieces: servers, web, order service and workers on data directories of their own, and between
each of them and each server a link that can be cut, slowed and moved.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import aiohttp
import redis

from rushlight.commands.children import make_key
from rushlight.local.instance import Instance
from rushlight.settings import Settings
from tests.conftest import Launched
from tests.faults.network import Network
from tests.faults.shoppers import Doors
from tests.ports import free_ports

SERVERS = ("valkey", "mongod")
PATIENCE_SECONDS = 90.0
POLL_SECONDS = 0.05
CALL_SECONDS = 2.0
ROLES = {"web": "web", "orders": "orders", "workers": "worker"}
PARTS = ("servers", *ROLES)
PATCHES = Path(__file__).with_name("patches")
LINKS = {
    "web-valkey": "valkey",
    "web-mongod": "mongod",
    "orders-valkey": "valkey",
    "orders-mongod": "mongod",
    "workers-valkey": "valkey",
    "workers-mongod": "mongod",
}
"""Links and the server behind each."""


class World:
    """One installation.

    Attributes:
        servers, parts: the parts. network: what lies between.
        settings: with addresses that lead straight to the servers. day: on which it began (UTC).
    """

    def __init__(
        self, base: Path, *, workers: int = 2, lease_ttl_seconds: float = 3.0, wal_bytes: int = 1 << 28
    ) -> None:
        self.base = base
        self._common: dict[str, Any] = {
            "lease_ttl_seconds": lease_ttl_seconds,
            "wal_bytes": wal_bytes,
            "workers": workers,
        }
        self._launched: dict[str, Launched] = {}
        self.servers = self._launch("servers", Settings(data=str(base / "servers"), port=0))
        sockets = {"valkey": _path_of(self.servers.redis_url), "mongod": _path_of(self.servers.mongo_url)}
        self.network = Network({link: sockets[server] for link, server in LINKS.items()})
        self.parts: dict[str, Instance] = {"servers": self.servers}
        # Theirs for life: they come back there after they were killed and stopped.
        self._start({"web": free_ports(2), "orders": free_ports(2), "workers": 0})
        self.day = datetime.now(UTC).date()
        self.settings = Settings(
            data=str(base / "direct"), redis_url=self.servers.redis_url, mongo_url=self.servers.mongo_url
        )
        self.doors = Doors(
            self.parts["web"].urls["board"],
            self.parts["orders"].urls["orders"],
            make_key(self.servers, "public"),
            make_key(self.servers, "secret"),
        )

    def _start(self, ports: dict[str, int], patch: str = "") -> None:
        """Start parts together; in the main thread, since they end with the thread that starts them.

        Args:
            ports: where each of them listens; 0: anywhere.
        """
        with _patched(patch):
            for part, port in ports.items():
                settings = Settings(
                    data=str(self.base / part),
                    port=port,
                    redis_url=f"redis://{self.network.address(f'{part}-valkey')}",
                    mongo_url=f"mongodb://{self.network.address(f'{part}-mongod')}/?directConnection=true",
                    **self._common,
                )
                self._launched[part] = Launched(settings, (ROLES[part],))
        for part in ports:
            self.parts[part] = self._launched[part].ready()

    def replace(self, *parts: str, patch: str = "") -> None:
        """Stop parts in good order and start them again where they were.

        Args:
            patch: a folder of `tests/faults/patches`, which changes their processes before they run.
        """
        for part in parts:
            self._launched[part].process.signal(signal.SIGINT)
        for part in parts:
            self._launched[part].ended()
        self._start({part: self._port(part) for part in parts}, patch)

    def _port(self, part: str) -> int:
        """The setting that brings a part back to the address that it has."""
        urls = self.parts[part].urls
        if "board" in urls:
            return urlsplit(urls["board"]).port or 0
        return (urlsplit(urls["orders"]).port or 1) - 1 if "orders" in urls else 0

    def crash(self) -> None:
        """Everything is gone at once, as when the machine is switched off: supervisors, roles and servers."""
        for part in PARTS:
            self._launched[part].kill()
        for part in PARTS:
            for pid in self.parts[part].children.values():
                wait(partial(_is_gone, pid))

    def revive(self) -> None:
        """Start everything again on the same directories and addresses."""
        ports = {part: self._port(part) for part in ROLES}
        self.servers = self.parts["servers"] = self._launch("servers", self._launched["servers"].settings)
        self._start(ports)

    def _launch(self, part: str, settings: Settings, *roles: str) -> Instance:
        self._launched[part] = Launched(settings, roles)
        return self._launched[part].ready()

    @property
    def children(self) -> dict[str, Instance]:
        """Every child that can be killed, with the part that it belongs to."""
        return {
            **dict.fromkeys(SERVERS, self.servers),
            "web": self.parts["web"],
            "orders": self.parts["orders"],
            **{f"worker-{n + 1}": self.parts["workers"] for n in range(self._common["workers"])},
        }

    def kill(self, child: str) -> None:
        """SIGKILL."""
        self.children[child].kill(child)

    def freeze(self, child: str) -> None:
        """SIGSTOP."""
        self.children[child].freeze(child)

    def thaw(self, child: str) -> None:
        """SIGCONT."""
        self.children[child].thaw(child)

    def pid(self, child: str) -> int:
        """Of the process as it is now."""
        return self.children[child].pid_of(child)

    async def killed(self, child: str) -> None:
        """Kill a child, and wait until it has been started again."""
        before = self.pid(child)
        self.kill(child)
        await until(lambda: self.pid(child) != before)

    async def restarted(self, child: str, between: Callable[[], object] = lambda: None) -> None:
        """Stop a child in good order, do something, and start it again."""
        part = self.children[child]
        await part.stop(child)
        try:
            await asyncio.to_thread(between)
        finally:
            await part.start(child)

    @contextmanager
    def valkey(self) -> Iterator[redis.Redis]:
        """A client straight to Valkey, with a deadline."""
        with redis.Redis.from_url(self.servers.redis_url, socket_timeout=CALL_SECONDS) as client:
            yield client

    def told_by_supervisors(self, part: str) -> str:
        """What a part's supervisor reported."""
        return (self.base / part / "log" / "supervisor.log").read_text(errors="replace")

    def heal(self) -> None:
        """Fine weather, everything awake, nothing held."""
        self.network.heal()
        for child, part in self.children.items():
            part.thaw(child)
            (Path(part.settings.data) / "run" / f"hold-{child}").unlink(missing_ok=True)

    def close(self) -> None:
        """Stop everything."""
        self.heal()
        for part in reversed(self._launched.values()):
            part.end()
        self.network.close()

    async def get(self, http: aiohttp.ClientSession, path: str) -> dict[str, Any] | None:
        """One answer of the query API; None while it gives none."""
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with http.get(f"{self.doors.board}{path}") as response:
                if response.ok:
                    found: dict[str, Any] = await response.json()
                    return found
        return None


def span() -> str:
    """Query string of a range that holds whatever happens in a test."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return urlencode({"from": (today - timedelta(days=7)).isoformat(), "to": (today + timedelta(days=2)).isoformat()})


async def until(condition: Callable[[], object], patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition of this machine.

    Raises:
        TimeoutError: it does not come true.
    """
    async with asyncio.timeout(patience_seconds):
        while not condition():  # noqa: ASYNC110 - it comes true in other processes
            await asyncio.sleep(POLL_SECONDS)


def rss_bytes(pid: int) -> int:
    """Memory of a process; 0 when it is gone."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


@contextmanager
def _patched(patch: str) -> Iterator[None]:
    """Processes that are started inside import a ``sitecustomize`` of ours first."""
    if not patch:
        yield
        return
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PATCHES / patch), before]))
    try:
        yield
    finally:
        if before:
            os.environ["PYTHONPATH"] = before
        else:
            del os.environ["PYTHONPATH"]


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait(condition: Callable[[], object], patience_seconds: float = PATIENCE_SECONDS) -> None:
    """The same without a loop."""
    deadline = time.monotonic() + patience_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(POLL_SECONDS)


def _path_of(url: str) -> str:
    """The socket in a URL of ours."""
    return unquote(url.removeprefix("unix://").removeprefix("mongodb://").partition("/?")[0])
