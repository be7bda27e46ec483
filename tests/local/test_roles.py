"""Roles are started, kept running, held, and stopped in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from rushlight.errors import SetupError
from rushlight.local import Instance, Report, joined, read, running, stopped_by_signals, supervisor
from rushlight.local.records import identity
from rushlight.settings import Settings

PATIENCE_SECONDS = 90.0
ALL_ROLES = ("web", "worker", "orders")


@pytest.fixture(autouse=True)
def _stub_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Path(__file__).with_name("stub_app.py")
    monkeypatch.setattr(supervisor, "ROLE_COMMAND", (sys.executable, str(stub)))


async def until(condition: Callable[[], object]) -> None:
    """Wait for the condition; the test fails when it does not come true."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.02)


async def started(settings: Settings, *names: str) -> None:
    """Wait until these roles hear signals."""
    await until(lambda: all((Path(settings.data) / f"started-{name}").exists() for name in names))


async def answered_by(url: str) -> int:
    """The pid of the process that answers there."""
    with await asyncio.to_thread(urllib.request.urlopen, url, timeout=PATIENCE_SECONDS) as answer:
        return int(answer.read())


def workers(settings: Settings, count: int) -> Settings:
    """The same settings with this many workers."""
    return msgspec.structs.replace(settings, workers=count)


async def test_everything_asked_for_runs(settings: Settings) -> None:
    """Each role runs under its name, web and orders answer on neighbouring ports, and the file says so."""
    async with running(workers(settings, 2), ALL_ROLES) as instance:
        assert sorted(instance.children) == ["orders", "web", "worker-1", "worker-2"]
        assert read(settings.data) == instance
        port = instance.settings.port
        assert instance.urls == {"board": f"http://127.0.0.1:{port}", "orders": f"http://127.0.0.1:{port + 1}"}
        for url, child in (("board", "web"), ("orders", "orders")):
            assert await answered_by(instance.urls[url]) == instance.children[child]
        assert os.getpriority(os.PRIO_PROCESS, instance.children["worker-1"]) > os.getpriority(os.PRIO_PROCESS, 0)
    assert read(settings.data) is None
    assert [identity(pid) for pid in instance.children.values()] == [None] * 4


async def test_stop_order(settings: Settings) -> None:
    """The doors stop before the workers, which settle what came in last."""
    async with running(workers(settings, 2), ALL_ROLES):
        await started(settings, "worker-1", "worker-2")
    stops = (Path(settings.data) / "stops").read_text().split()
    assert (sorted(stops[:2]), sorted(stops[2:])) == (["orders", "web"], ["worker-1", "worker-2"])


async def test_killed_role_runs_again_and_is_reported(settings: Settings) -> None:
    """A role killed with -9 is back under the same name and port, and people and programs are told."""
    heard: list[Report] = []
    async with running(settings, ("web",), sink=heard.append) as instance:
        former = instance.children["web"]
        instance.kill("web")
        await until(lambda: instance.children["web"] != former)
        assert await answered_by(instance.urls["board"]) == instance.children["web"] == instance.pid_of("web")
        stored = read(settings.data)
        assert stored is not None
        assert stored.children == instance.children
    assert [(report.kind, report.pid) for report in heard if report.child == "web"] == [
        ("started", former),
        ("died", former),
        ("started", instance.children["web"]),
        ("restarted", instance.children["web"]),
    ]
    assert "signal SIGKILL" in next(report.text for report in heard if report.kind == "died")


async def test_callers_wait_while_a_role_restarts(settings: Settings) -> None:
    """A request made while the web role is down is answered by the next one instead of being refused."""
    async with running(settings, ("web",)) as instance:
        former = instance.children["web"]
        instance.kill("web")
        await until(lambda: identity(former) is None)
        assert await answered_by(instance.urls["board"]) != former


async def test_stopped_child_stays_stopped_until_started(settings: Settings) -> None:
    """A held worker is not restarted; `start` brings it back."""
    async with running(settings, ("worker",)) as instance:
        former = instance.pid_of("worker-1")
        await instance.stop("worker-1")
        assert identity(former) is None
        await asyncio.sleep(0.5)
        assert instance.pid_of("worker-1") == former
        await instance.start("worker-1")
        assert instance.pid_of("worker-1") != former


async def test_frozen_child_thaws_and_stops(settings: Settings) -> None:
    """A frozen child neither dies nor is replaced, goes on when thawed, and a stop reaches it even frozen."""
    async with running(settings, ("web",)) as instance:
        instance.freeze("web")
        with socket.create_connection(("127.0.0.1", instance.settings.port)) as link:
            link.settimeout(0.5)
            link.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(TimeoutError):
                link.recv(1)
        instance.thaw("web")
        assert await answered_by(instance.urls["board"]) == instance.children["web"]
        instance.freeze("web")
    assert (Path(settings.data) / "stops").read_text() == "web\n"


async def test_stubborn_child_is_killed_after_its_budget(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that ignores SIGTERM costs its budget and no more, and is reported."""
    monkeypatch.setenv("BEHAVIOUR", "stubborn")
    monkeypatch.setattr(supervisor, "WORKER_STOP_SECONDS", 0.5)
    heard: list[Report] = []
    async with running(settings, ("worker",), sink=heard.append) as instance:
        await started(settings, "worker-1")
    assert heard[-1].text == "worker-1 did not stop within 0.5 s and is killed"
    assert identity(instance.children["worker-1"]) is None


async def test_second_signal_kills_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks twice to stop does not wait for stubborn children."""
    monkeypatch.setenv("BEHAVIOUR", "stubborn")
    instance: Instance | None = None
    with stopped_by_signals():
        async with running(settings, ("worker",)) as instance:
            await started(settings, "worker-1")
            loop = asyncio.get_running_loop()
            loop.call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
            loop.call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)
            await asyncio.sleep(PATIENCE_SECONDS)
    assert instance is not None
    assert identity(instance.children["worker-1"]) is None
    assert read(settings.data) is None


async def test_role_that_ends_at_start_is_the_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that cannot start makes the start fail with its own last words, and nothing stays behind."""
    monkeypatch.setenv("BEHAVIOUR", "crash")
    with pytest.raises(
        SetupError, match=r"web ended with exit code 1, saying 'the moon is in the wrong place' \(log: "
    ):
        async with running(settings, ("web",)):
            pass
    assert read(settings.data) is None


async def test_role_that_never_answers_is_the_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web role that does not become ready makes the start fail within its budget."""
    monkeypatch.setenv("BEHAVIOUR", "deaf")
    monkeypatch.setattr(supervisor, "ROLE_START_SECONDS", 1.0)
    with pytest.raises(SetupError, match="web did not answer within 1 s: see "):
        async with running(settings, ("web",)):
            pass


async def test_commands_join_the_running_instance(settings: Settings) -> None:
    """A command uses what runs on its directory, and runs its own only when nothing does."""
    async with running(settings, ("web",)) as instance:
        async with joined(settings) as found:
            assert found == instance
        assert read(settings.data) == instance
    async with joined(settings) as own:
        assert (sorted(own.children), own.pid) == (["worker-1"], os.getpid())


async def test_commands_started_together_share_one_instance(settings: Settings) -> None:
    """Of two commands that start at the same moment one runs the instance and the other works on it."""
    both = asyncio.Barrier(2)

    async def command() -> Instance:
        async with joined(settings) as instance, asyncio.timeout(PATIENCE_SECONDS), both:
            return instance

    first, second = await asyncio.gather(command(), command())
    assert first == second


async def test_joining_with_other_servers_is_refused(settings: Settings) -> None:
    """A command that names another server than the running instance uses is told so."""
    other = msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1")
    async with running(settings, ()):
        with pytest.raises(SetupError, match="uses another server: leave --redis-url out or give another --data"):
            async with joined(other):
                pass
