"""Brings an instance up, servers first, and takes it down in an order in which nothing is lost.

At the stop the doors finish their requests, while workers still settle what came in last; then the workers drain, then
the servers close their files. Each group has a budget and is killed after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from rushlight.errors import SetupError
from rushlight.local import check, ports, servers
from rushlight.local.children import Children, Program
from rushlight.local.doors import Doors
from rushlight.local.instance import Instance, take_lock
from rushlight.local.layout import Layout, unusable
from rushlight.local.process import Child
from rushlight.local.records import end_survivors, write_atomically
from rushlight.local.reports import Sink
from rushlight.settings import ENV_WHOLE, Settings

ROLE_COMMAND = (sys.executable, "-P", "-m", "rushlight.app")
WORKER_NICE = 10  # on a shared machine the checkout comes first
POLL_SECONDS = 0.02
PING_SECONDS = 1.0
SERVER_START_SECONDS = 150.0
ROLE_START_SECONDS = 90.0
WORKER_STOP_SECONDS = 8.0
# Requests on their way 3 s, what pends in the log 2 s, the log's last word 2 s.
ROLE_STOP_SECONDS = 8.0
SERVER_STOP_SECONDS = 15.0
CHILD_NAME = "RUSHLIGHT_CHILD"


class Supervisor:
    """One instance from its lock to its last child; ``rushlight.local.running`` is the door to it.

    Args:
        settings: servers are embedded where their URL is None.
        roles: ``web`` (with as many ingest processes beside it as the settings say), ``worker`` (as many as they say),
            ``orders``.
        sink: hears what happens to the children.
    """

    def __init__(self, settings: Settings, roles: Iterable[str], sink: Sink) -> None:
        self._asked = settings
        self._roles = list(roles)
        self._layout = Layout(settings.path)
        self._children = Children(self._layout, sink, self._publish)
        self._doors: Doors | None = None
        self._lock: int | None = None
        self._instance: Instance | None = None

    async def start(self) -> Instance:
        """Bring everything up and publish ``instance.json``; after a failure call ``stop``.

        Raises:
            SetupError, Unavailable: one sentence that says what to do.
        """
        self._claim()
        self._doors = Doors(self._asked, self._layout, self._roles)
        await self._start_servers()
        self._instance = self._describe(self._doors)
        await self._start_roles(self._instance.settings, self._doors)
        self._publish()
        self._children.keep_logs_capped()
        return self._instance

    async def stop(self) -> None:
        """Stop everything in order, each group within its budget, and let go of the directory."""
        if self._lock is None:
            return
        self._layout.instance.unlink(missing_ok=True)
        await self._children.release()
        if self._doors is not None:
            self._doors.close()
            await self._children.stop(self._doors.sockets.__contains__, ROLE_STOP_SECONDS)
        await self._children.stop(lambda name: name not in {servers.VALKEY, servers.MONGOD}, WORKER_STOP_SECONDS)
        await self._children.stop(lambda _: True, SERVER_STOP_SECONDS)
        self._layout.drop_sockets()
        self._layout.children.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None

    def kill_all(self) -> None:
        """End every child at once, for one who asks twice to stop."""
        self._children.kill_all()

    def _claim(self) -> None:
        self._layout.prepare()
        try:
            self._lock = take_lock(self._layout)
            self._layout.forget_run()
        except OSError as error:
            raise SetupError(unusable(self._layout.data, error)) from error
        self._end_survivors()

    def _end_survivors(self) -> None:
        try:
            for name in end_survivors(self._layout.children):
                text = f"{name} was left over from a run that did not end well and has been ended"
                self._children.report(name, "survivor", text)
        except TimeoutError as error:
            raise SetupError(
                f"a process left over from an earlier run on {self._layout.data} does not end: restart the machine"
            ) from error

    async def _start_servers(self) -> None:
        programs = []
        if self._asked.redis_url is None:
            programs.append(Program(servers.VALKEY, servers.valkey_command(self._asked, self._layout)))
        if self._asked.mongo_url is None:
            self._layout.require_room()
            programs.append(Program(servers.MONGOD, servers.mongod_command(self._asked, self._layout)))
        for program in programs:
            self._children.spawn(program)
        checking = self._children.spawn(self._checker())
        try:
            async with asyncio.timeout(SERVER_START_SECONDS):
                if self._asked.redis_url is None:
                    await self._valkey_answers(programs[0])
                await self._check_passes(checking, [program.name for program in programs])
        except TimeoutError as error:
            raise SetupError(
                f"the servers did not become ready within {SERVER_START_SECONDS:g} s: see {self._layout.log}"
            ) from error
        self._children.keep(programs)

    async def _valkey_answers(self, program: Program) -> None:
        while not await _pongs(servers.valkey_socket(self._layout)):
            child = self._children[program.name]
            if child.code is not None:
                if not self._children.repair(child):
                    raise self._children.failure(child)
                self._children.spawn(program)
            await asyncio.sleep(POLL_SECONDS)

    async def _check_passes(self, checking: Child, embedded: list[str]) -> None:
        while checking.code is None:
            self._children.require_alive(embedded)
            await asyncio.sleep(POLL_SECONDS)
        last_line = checking.last_words().strip().rpartition("\n")[2]
        try:
            answer = msgspec.json.decode(last_line, type=dict[str, str])
        except msgspec.MsgspecError as error:
            raise self._children.failure(checking) from error
        self._children.forget(checking.name)
        if "error" in answer:
            raise SetupError(answer["error"])

    def _checker(self) -> Program:
        environment = {ENV_WHOLE: self._asked.to_json()}
        if self._asked.mongo_url is None:
            environment[check.EMBEDDED_MONGOD] = str(servers.mongod_socket(self._layout))
        return Program("check", [sys.executable, "-P", "-m", "rushlight.local.check"], environment)

    def _describe(self, doors: Doors) -> Instance:
        asked = self._asked
        settings = msgspec.structs.replace(
            asked,
            data=str(self._layout.data),
            port=doors.ports["web"].getsockname()[1] if "web" in doors.ports else asked.port,
            redis_url=asked.redis_url or servers.valkey_url(self._layout),
            mongo_url=asked.mongo_url or servers.mongod_url(self._layout),
        )
        return Instance(
            pid=os.getpid(),
            urls={ports.URL_NAMES[role]: ports.url_of(listening) for role, listening in doors.ports.items()},
            redis_url=settings.redis_url or "",
            mongo_url=settings.mongo_url or "",
            database=settings.database,
            children={},
            settings=settings,
        )

    async def _start_roles(self, settings: Settings, doors: Doors) -> None:
        names = [*_names(self._roles, settings.workers), *doors.ingest]
        programs = [_program(settings, name, doors) for name in names]
        for program in programs:
            self._children.spawn(program)
        try:
            async with asyncio.timeout(ROLE_START_SECONDS):
                for listening in doors.asked():
                    while not await ports.answers_ready(listening):
                        self._children.require_alive()
                        await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise SetupError(
                f"{' and '.join(doors.sockets)} did not answer within {ROLE_START_SECONDS:g} s: see {self._layout.log}"
            ) from error
        self._children.require_alive()
        self._children.keep(programs)

    def _publish(self) -> None:
        if self._instance is None:
            return
        self._instance.children = self._children.pids()
        with contextlib.suppress(OSError):  # a full disk: readers keep the older pids
            write_atomically(self._layout.instance, msgspec.json.encode(self._instance))


def _program(settings: Settings, name: str, doors: Doors) -> Program:
    role = name.partition("-")[0]
    inherited, keep = doors.inheritance(name)
    return Program(
        name,
        [*ROLE_COMMAND, role],
        {ENV_WHOLE: settings.to_json(), CHILD_NAME: name, **inherited},
        nice=WORKER_NICE if role == "worker" else 0,
        keep=keep,
    )


def _names(roles: Iterable[str], workers: int) -> list[str]:
    names: list[str] = []
    for role in roles:
        names += [f"worker-{n}" for n in range(1, workers + 1)] if role == "worker" else [role]
    return names


async def _pongs(address: Path) -> bool:
    try:
        async with asyncio.timeout(PING_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(address))
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
