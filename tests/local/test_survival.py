"""Whatever is killed, nothing stays behind and the next start on the same directory goes on with the same data."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pymongo
import pytest
import redis

from rushlight.local import Instance, read
from rushlight.local.layout import SOCKET_PATH_BYTES
from rushlight.local.process import OPEN_FILES, spawn
from rushlight.local.records import Record, identity, write_records
from rushlight.settings import Settings
from tests.conftest import Launch, Launched

PATIENCE_SECONDS = 90.0


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """Settings for embedded servers of this test's own."""
    return Settings(data=str(tmp_path / "data"), port=0)


def until(condition: Callable[[], object]) -> None:
    """Wait for the condition; the test fails when it does not come true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes_of(data: str) -> list[str]:
    """The command lines of all processes that work on a data directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (process / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if data in command or f'"data":"{data}"' in environment:
            found.append(command)
    return found


def note(instance: Instance, name: str) -> None:
    """Leave a mark in both servers, in MongoDB as durably as Rushlight writes."""
    with pymongo.MongoClient[dict[str, Any]](instance.mongo_url) as client:
        durable = pymongo.WriteConcern("majority", j=True)
        client["test"].get_collection("marks", write_concern=durable).insert_one({"_id": name})
    with redis.Redis.from_url(instance.redis_url) as valkey:
        valkey.xadd("marks", {"name": name})


def marks(instance: Instance) -> list[str]:
    """The marks that MongoDB has."""
    with pymongo.MongoClient[dict[str, Any]](instance.mongo_url) as client:
        return [found["_id"] for found in client["test"].marks.find().sort("_id")]


def marks_in_valkey(instance: Instance) -> int:
    """How many marks Valkey has."""
    with redis.Redis.from_url(instance.redis_url) as valkey:
        return int(valkey.xlen("marks"))


def test_second_start_resumes(own: Settings, launch: Launch) -> None:
    """After a stop in good order both servers come back with everything, and nothing runs in between."""
    launched = launch(own)
    note(launched.ready(), "first")
    assert launched.stop() == 0
    until(lambda: not processes_of(own.data))
    again = launch(own).ready()
    assert (marks(again), marks_in_valkey(again)) == (["first"], 1)


def kill_alone(launched: Launched) -> None:
    """SIGKILL to the supervisor."""
    launched.kill()


def kill_group(launched: Launched) -> None:
    """SIGKILL to the supervisor's process group."""
    os.killpg(launched.process.pid, signal.SIGKILL)
    launched.ended()


@pytest.mark.parametrize("kill", [kill_alone, kill_group])
def test_killed_supervisor_leaves_no_orphan(own: Settings, launch: Launch, kill: Callable[[Launched], None]) -> None:
    """The supervisor is killed twice, alone or with its group: no process is left and MongoDB has every mark."""
    for name in ("a", "b"):
        launched = launch(own)
        note(launched.ready(), name)
        kill(launched)
        until(lambda: not processes_of(own.data))
        assert read(own.data) is None
    assert marks(launch(own).ready()) == ["a", "b"]


def test_killed_while_starting(own: Settings, launch: Launch) -> None:
    """A supervisor killed before its servers are ready leaves nothing that disturbs the next one."""
    launched = launch(own)
    until(
        lambda: (
            "mongod" in (Path(own.data) / "run/children.json").read_text()
            if Path(own.data, "run/children.json").exists()
            else False
        )
    )
    launched.kill()
    until(lambda: not processes_of(own.data))
    note(launch(own).ready(), "after")


def test_stopped_while_starting(own: Settings, launch: Launch) -> None:
    """Ctrl-C before everything is ready stops what has been started."""
    launched = launch(own)
    until((Path(own.data) / "run" / "mongodb-27017.sock").exists)
    assert launched.stop() == 0
    until(lambda: not processes_of(own.data))


@pytest.mark.parametrize("server", ["valkey", "mongod"])
def test_killed_server_runs_again(fresh_servers: Instance, server: str) -> None:
    """A server killed with -9 is started again at the same address, with what it had, and that is reported."""
    note(fresh_servers, "before")
    fresh_servers.kill(server)
    until(lambda: fresh_servers.pid_of(server) != fresh_servers.children[server])
    with redis.Redis.from_url(fresh_servers.redis_url) as valkey:
        until(lambda: _answers(valkey))
    assert marks(fresh_servers) == ["before"]
    log = Path(fresh_servers.settings.data) / "log" / "supervisor.log"
    until(lambda: f"{server} runs again" in log.read_text())
    kinds = [msgspec.json.decode(line)["kind"] for line in log.read_bytes().splitlines() if server.encode() in line]
    assert kinds == ["started", "died", "started", "restarted"]


def _answers(valkey: redis.Redis) -> bool:
    try:
        return bool(valkey.ping())
    except redis.RedisError:
        return False


def test_frozen_servers_do_not_hold_up_the_stop(own: Settings, launch: Launch) -> None:
    """Servers that hang in SIGSTOP are stopped in good order all the same."""
    launched = launch(own)
    instance = launched.ready()
    for server in ("valkey", "mongod"):
        instance.freeze(server)
    assert launched.stop() == 0
    until(lambda: not processes_of(own.data))


def test_survivor_is_ended_at_the_next_start(own: Settings, launch: Launch, tmp_path: Path) -> None:
    """Where the kernel did not end a child, the next start does; a stranger with a recorded pid is left alone."""
    run = Path(own.data) / "run"
    run.mkdir(parents=True)
    survivor, stranger = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
    try:
        found = identity(survivor.pid)
        assert found is not None
        write_records(
            run / "children.json",
            {"valkey": Record(survivor.pid, found), "mongod": Record(stranger.pid, "another boot/1")},
        )
        launched = launch(own)
        launched.ready()
        assert (survivor.wait(PATIENCE_SECONDS), stranger.poll()) == (-signal.SIGKILL, None)
        assert "valkey was left over from a run that did not end well" in launched.process.last_words()
    finally:
        for process in (survivor, stranger):
            process.kill()
            process.wait()


def test_stale_files_are_not_believed(own: Settings, launch: Launch) -> None:
    """Files that a killed instance left neither pass for a running one nor disturb the next."""
    launched = launch(own)
    before = launched.ready()
    (Path(own.data) / "run" / "hold-valkey").touch()
    launched.kill()
    until(lambda: not processes_of(own.data))
    assert (Path(own.data) / "instance.json").exists()
    assert read(own.data) is None
    after = launch(own).ready()
    assert after.pid != before.pid
    after.kill("valkey")
    until(lambda: after.pid_of("valkey") != after.children["valkey"])


def test_damaged_append_only_file_is_set_aside(own: Settings, launch: Launch) -> None:
    """Valkey is only transport: when its file is damaged it starts empty and says so, and MongoDB is untouched."""
    launched = launch(own)
    note(launched.ready(), "kept")
    launched.stop()
    (incremental,) = (Path(own.data) / "valkey" / "appendonlydir").glob("*.incr.aof")
    incremental.write_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$notanumber\r\n" * 3)
    again = launch(own)
    instance = again.ready()
    assert (marks(instance), marks_in_valkey(instance)) == (["kept"], 0)
    assert "its append-only file is damaged and was set aside as " in again.process.last_words()


def test_moved_directory_resumes(own: Settings, launch: Launch, tmp_path: Path) -> None:
    """A data directory may be moved between two starts."""
    launched = launch(own)
    note(launched.ready(), "before")
    launched.stop()
    moved = tmp_path / "moved"
    shutil.move(own.data, moved)
    assert marks(launch(msgspec.structs.replace(own, data=str(moved))).ready()) == ["before"]


def test_path_with_strange_characters(launch: Launch, tmp_path: Path) -> None:
    """A data directory may have any name."""
    instance = launch(Settings(data=str(tmp_path / "Läden & 100% #1?" / "data"), port=0)).ready()
    note(instance, "here")
    assert (marks(instance), marks_in_valkey(instance)) == (["here"], 1)


def test_long_path_gets_short_sockets(launch: Launch, tmp_path: Path) -> None:
    """Where a socket's path would be too long, sockets lie in a private directory, the same at each start."""
    deep = Settings(data=str(tmp_path / ("long" * 25) / "data"), port=0)
    launched = launch(deep)
    instance = launched.ready()
    note(instance, "before")
    address = Path(instance.redis_url.removeprefix("unix://"))
    assert len(os.fsencode(address)) <= SOCKET_PATH_BYTES
    assert address.parent.stat().st_mode & 0o777 == 0o700
    launched.stop()
    assert not address.parent.exists()
    again = launch(deep).ready()
    assert (again.redis_url, marks(again)) == (instance.redis_url, ["before"])


def test_children_may_open_many_files(tmp_path: Path) -> None:
    """A low limit of open files is raised as far as the system allows: every viewer of the board needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    log = tmp_path / "log"
    child = spawn("limit", ["sh", "-c", "ulimit -n"], log=log)
    until(lambda: child.code == 0)
    assert int(log.read_text()) >= min(hard, OPEN_FILES)


def test_children_are_tied_before_they_run(tmp_path: Path) -> None:
    """A child whose parent dies at once dies too, whatever it runs."""
    script = (
        "import os, pathlib, signal, sys; from rushlight.local.process import spawn; "
        "child = spawn('sleep', ['sleep', '600'], log=pathlib.Path(sys.argv[1])); "
        "print(child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "log")], capture_output=True, check=False)
    until(lambda: identity(int(ended.stdout)) is None)


def test_killed_instance_with_all_roles_leaves_no_orphan(own: Settings, launch: Launch) -> None:
    """Also the real roles go with a supervisor that is killed, a frozen one among them, and the next start serves."""
    settings = msgspec.structs.replace(own, workers=2)
    launched = launch(settings, "web", "worker", "orders")
    launched.ready().freeze("worker-2")
    kill_group(launched)
    until(lambda: not processes_of(own.data))
    again = launch(settings, "web", "worker", "orders").ready()
    assert sorted(again.children) == ["mongod", "orders", "valkey", "web", "worker-1", "worker-2"]
