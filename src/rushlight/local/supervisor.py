"""Starts an instance, keeps every child of it running, and stops them in an order in which nothing is lost.

Servers first, then roles; a child that dies is reported and started again with growing pauses; at the stop the
workers drain, then the web roles finish their requests, then the servers close their files.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from rushlight.errors import SetupError
from rushlight.local import causes, check, ports, reports, servers
from rushlight.local.instance import Instance, read, take_lock
from rushlight.local.layout import Layout
from rushlight.local.process import Child, cap_log, end_survivors, spawn, write_atomically, write_records
from rushlight.local.reports import Kind, Report, Sink, to_stderr
from rushlight.settings import ENV_WHOLE, Settings

SERVERS = (servers.VALKEY, servers.MONGOD)
WORKER_NICE = 5  # on a shared machine the checkout comes first
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_SECONDS = 30.0  # after this long the pauses start small again
POLL_SECONDS = 0.02
HOLD_POLL_SECONDS = 0.1
SERVER_START_SECONDS = 150.0
ROLE_START_SECONDS = 60.0
LOG_CHECK_SECONDS = 30.0
WORKER_STOP_SECONDS = 8.0
ROLE_STOP_SECONDS = 5.0
SERVER_STOP_SECONDS = 15.0
CHILD_NAME = "RUSHLIGHT_CHILD"
JOIN_SECONDS = 60.0


@dataclass(frozen=True)
class Program:
    """What is started under a name, and how."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    nice: int = 0
    keep: tuple[int, ...] = ()


def default_roles(settings: Settings) -> list[str]:
    """The roles of ``rushlight up``."""
    return ["web", "worker", *(["orders"] if settings.orders else [])]


class Supervisor:
    """One instance from its lock to its last child; ``running`` is the door to it."""

    def __init__(self, settings: Settings, roles: Iterable[str], sink: Sink) -> None:
        self._layout = Layout(settings.path)
        self._asked = settings
        self._roles = list(roles)
        self._sink = sink
        self._children: dict[str, Child] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._sockets: dict[str, ports.socket.socket] = {}
        self._lock: int | None = None
        self.instance: Instance

    async def start(self) -> Instance:
        """Bring everything up and publish ``instance.json``.

        Raises:
            SetupError, Unavailable: one sentence that says what to do; everything is stopped again by ``stop``.
        """
        self._layout.prepare()
        self._lock = take_lock(self._layout)
        self._layout.instance.unlink(missing_ok=True)
        self._end_survivors()
        self._sockets = ports.bind(self._asked.host, self._asked.port, self._roles)
        settings = self._effective_settings()
        await self._start_servers(settings)
        self.instance = Instance(
            pid=os.getpid(),
            urls={ports.URL_NAMES[role]: ports.url_of(bound) for role, bound in self._sockets.items()},
            redis_url=settings.redis_url or "",
            mongo_url=settings.mongo_url or "",
            orders_mongo_url=settings.orders_mongo_url,
            database=settings.database,
            children={},
            settings=settings,
        )
        await self._start_roles(settings)
        self._publish()
        self._keepers.append(asyncio.create_task(self._cap_logs()))
        return self.instance

    async def stop(self) -> None:
        """Stop everything in order, each group within its budget, and let go of the directory."""
        self._layout.instance.unlink(missing_ok=True)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for bound in self._sockets.values():
            bound.close()
        workers = [name for name in self._children if name.startswith("worker")]
        others = [name for name in self._children if name not in {*workers, *SERVERS}]
        await self._stop_group(workers, WORKER_STOP_SECONDS)
        await self._stop_group(others, ROLE_STOP_SECONDS)
        await self._stop_group([name for name in SERVERS if name in self._children], SERVER_STOP_SECONDS)
        if self._lock is not None:
            self._layout.children.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def kill_all(self) -> None:
        """End every child at once, for the one who presses Ctrl-C twice."""
        for child in self._children.values():
            child.kill()

    def _effective_settings(self) -> Settings:
        asked, layout = self._asked, self._layout
        port = self._sockets["web"].getsockname()[1] if "web" in self._sockets else asked.port
        return msgspec.structs.replace(
            asked,
            data=str(layout.data),
            port=port,
            redis_url=asked.redis_url or servers.valkey_url(layout),
            mongo_url=asked.mongo_url or servers.mongod_url(layout),
        )

    def _end_survivors(self) -> None:
        try:
            for name in end_survivors(self._layout.children):
                self._report(name, "survivor", f"{name} was left over from a start that did not end well and is ended")
        except TimeoutError as error:
            raise SetupError(
                f"a process left over from an earlier start on {self._layout.data} does not end: restart the machine"
            ) from error

    # Servers

    async def _start_servers(self, settings: Settings) -> None:
        programs = []
        if self._asked.redis_url is None:
            programs.append(Program(servers.VALKEY, servers.valkey_command(settings, self._layout)))
        if self._asked.mongo_url is None:
            self._layout.require_room()
            programs.append(Program(servers.MONGOD, servers.mongod_command(settings, self._layout)))
        for program in programs:
            self._spawn(program)
        embedded = {program.name for program in programs}
        checking = self._spawn(_checker(self._asked, self._layout, embedded))
        async with asyncio.timeout(SERVER_START_SECONDS):
            if servers.VALKEY in embedded:
                await self._valkey_answers(programs[0])
            await self._check_passes(checking, embedded)
        self._keepers += [asyncio.create_task(self._keep(program)) for program in programs]

    async def _valkey_answers(self, program: Program) -> None:
        while not await _pongs(servers.valkey_socket(self._layout)):
            child = self._children[servers.VALKEY]
            if child.code is not None:
                if not self._repair(child):
                    raise self._failure(child)
                self._spawn(program)
            await asyncio.sleep(POLL_SECONDS)

    async def _check_passes(self, checking: Child, embedded: set[str]) -> None:
        waiting = asyncio.create_task(checking.wait())
        while not waiting.done():
            for name in embedded:
                if self._children[name].code is not None:
                    waiting.cancel()
                    raise self._failure(self._children[name])
            await asyncio.wait([waiting], timeout=POLL_SECONDS)
        del self._children[checking.name]
        words = checking.last_words()
        try:
            answer = msgspec.json.decode(words.strip().rpartition("\n")[2], type=dict[str, str])
        except msgspec.MsgspecError as error:
            raise self._failure(checking) from error
        if "error" in answer:
            raise SetupError(answer["error"])

    def _repair(self, child: Child) -> bool:
        done = servers.set_broken_aof_aside(self._layout, child.last_words()) if child.name == servers.VALKEY else None
        if done:
            self._report(child.name, "repaired", f"{child.name}: {done}", child)
        return done is not None

    # Roles

    async def _start_roles(self, settings: Settings) -> None:
        programs = [self._program(settings, name) for name in _names(self._roles, settings.workers)]
        for program in programs:
            self._spawn(program)
        async with asyncio.timeout(ROLE_START_SECONDS):
            for role, bound in self._sockets.items():
                await self._role_answers(self._children[role], bound)
        for child in self._children.values():
            if child.code is not None:
                raise self._failure(child)
        self._keepers += [asyncio.create_task(self._keep(program)) for program in programs]

    async def _role_answers(self, child: Child, bound: ports.socket.socket) -> None:
        while not await ports.answers_ready(bound):
            for other in self._children.values():
                if other.code is not None:
                    raise self._failure(other)
            if child.code is not None:
                raise self._failure(child)
            await asyncio.sleep(POLL_SECONDS)

    def _program(self, settings: Settings, name: str) -> Program:
        role = name.partition("-")[0]
        bound = self._sockets.get(role)
        environment = {ENV_WHOLE: settings.to_json(), CHILD_NAME: name}
        if bound:
            environment[ports.LISTEN_FD] = str(bound.fileno())
        return Program(
            name,
            [sys.executable, "-P", "-m", "rushlight.app", role],
            environment,
            nice=WORKER_NICE if role == "worker" else 0,
            keep=(bound.fileno(),) if bound else (),
        )

    # Children

    def _spawn(self, program: Program) -> Child:
        try:
            child = spawn(
                program.name,
                program.command,
                log=self._layout.log_of(program.name),
                environment=program.environment,
                nice=program.nice,
                keep=program.keep,
            )
        except OSError as error:
            raise SetupError(f"{program.name} cannot be started ({error})") from error
        self._children[program.name] = child
        write_records(self._layout.children, {name: known.record for name, known in self._children.items()})
        self._report(program.name, "started", f"{program.name} started", child)
        return child

    async def _keep(self, program: Program) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            child = self._children[program.name]
            code = await child.wait()
            if await self._held(program.name):
                pause = 0.0
            else:
                if time.monotonic() - child.started > HEALTHY_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                self._repair(child)
                why = causes.sentence(program.name, code, child.last_words(), self._layout)
                self._report(program.name, "died", f"{why}; it is started again in {pause:g} s", child)
            await asyncio.sleep(pause)
            await self._respawn(program)
            pause = min(max(2 * pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)

    async def _respawn(self, program: Program) -> None:
        while True:
            try:
                child = self._spawn(program)
            except (SetupError, OSError) as error:  # a full disk, no more processes: that may pass
                self._report(program.name, "failed", str(error))
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)
            else:
                self._report(program.name, "restarted", f"{program.name} runs again", child)
                self._publish()
                return

    async def _held(self, name: str) -> bool:
        held = False
        while self._layout.hold(name).exists():
            held = True
            await asyncio.sleep(HOLD_POLL_SECONDS)
        return held

    def _publish(self) -> None:
        self.instance.children = {name: child.pid for name, child in self._children.items()}
        with contextlib.suppress(OSError):
            write_atomically(self._layout.instance, msgspec.json.encode(self.instance))

    async def _stop_group(self, names: list[str], budget_seconds: float) -> None:
        group = [self._children[name] for name in names]
        for child in group:
            child.terminate()
        if not group:
            return
        _, late = await asyncio.wait([asyncio.create_task(child.wait()) for child in group], timeout=budget_seconds)
        for child in group:
            if child.code is None:
                text = f"{child.name} did not stop within {budget_seconds:g} s and is killed"
                self._report(child.name, "killed", text, child)
                child.kill()
        if late:
            await asyncio.wait(late)

    async def _cap_logs(self) -> None:
        while True:
            for log in self._layout.log.glob("*.log"):
                cap_log(log)
            await asyncio.sleep(LOG_CHECK_SECONDS)

    def _failure(self, child: Child) -> SetupError:
        sentence = causes.sentence(child.name, child.code or 0, child.last_words(), self._layout)
        self._report(child.name, "failed", sentence, child)
        return SetupError(sentence)

    def _report(self, name: str, kind: Kind, text: str, child: Child | None = None) -> None:
        pid, code = (child.pid, child.code) if child else (None, None)
        report = Report(at=reports.now(), child=name, kind=kind, text=text, pid=pid, code=code)
        reports.append_to(self._layout.log_of("supervisor"), report)
        if kind != "failed":  # raised to the caller, who says it
            self._sink(report)


@asynccontextmanager
async def running(
    settings: Settings, roles: Sequence[str] | None = None, *, sink: Sink = to_stderr
) -> AsyncIterator[Instance]:
    """Run an instance on ``settings.data`` for as long as the block runs.

    Args:
        settings: embedded servers are started for URLs that are None.
        roles: ``web``, ``worker`` (as many as the settings say), ``orders``; none starts only the servers; by default
            the roles of ``rushlight up``.
        sink: hears what happens to the children.

    Raises:
        SetupError, Unavailable: when it cannot start; the message says what to do.
    """
    supervisor = Supervisor(settings, default_roles(settings) if roles is None else roles, sink)
    try:
        yield await supervisor.start()
    finally:
        stopping = asyncio.create_task(supervisor.stop())
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            supervisor.kill_all()
            await stopping
            raise


@asynccontextmanager
async def joined(settings: Settings, roles: Sequence[str] = ("worker",), *, sink: Sink = to_stderr) -> AsyncIterator[Instance]:
    """Work on the instance that runs on ``settings.data``, or run one with these roles for as long as the block runs."""
    instance = await _await_ready(settings)
    if instance is not None:
        yield instance
        return
    async with running(settings, roles, sink=sink) as started:
        yield started


async def serve(
    settings: Settings,
    roles: Sequence[str] | None = None,
    *,
    sink: Sink = to_stderr,
    ready: Callable[[Instance], None] = lambda _: None,
) -> None:
    """Run an instance until SIGINT, SIGTERM or SIGHUP; a second one kills instead of waiting.

    Args:
        ready: called once everything answers.

    Raises:
        SetupError, Unavailable: when it cannot start; the message says what to do.
    """
    with stopped_by_signals():
        async with running(settings, roles, sink=sink) as instance:
            ready(instance)
            await asyncio.Event().wait()


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside, a signal to stop cancels the current task; the block then ends quietly."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - an async function always runs in one
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    asked = False

    def stop() -> None:
        nonlocal asked
        asked = True
        task.cancel()

    for number in wanted:
        loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not asked:
            raise
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


async def _await_ready(settings: Settings) -> Instance | None:
    """The running instance, also when it is only just starting; None when none is."""
    from rushlight.local.instance import is_locked

    deadline = time.monotonic() + JOIN_SECONDS
    layout = Layout(settings.path)
    while is_locked(layout):
        if (instance := read(settings.path)) is not None:
            return instance
        if time.monotonic() > deadline:
            raise SetupError(f"the instance on {layout.data} does not become ready: see {layout.log}")
        await asyncio.sleep(HOLD_POLL_SECONDS)
    return None


def _names(roles: Iterable[str], workers: int) -> list[str]:
    names: list[str] = []
    for role in roles:
        names += [f"worker-{n}" for n in range(1, workers + 1)] if role == "worker" else [role]
    return names


def _checker(settings: Settings, layout: Layout, embedded: set[str]) -> Program:
    environment = {ENV_WHOLE: msgspec.structs.replace(settings, data=str(layout.data)).to_json()}
    if servers.MONGOD in embedded:
        environment[check.EMBEDDED_MONGOD] = "1"
    return Program("check", [sys.executable, "-P", "-m", "rushlight.local.check"], environment)


async def _pongs(address: Path) -> bool:
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_unix_connection(str(address))
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
