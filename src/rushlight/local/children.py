"""Keeps every child running: one that dies is reported and started again with growing pauses, unless it is held."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rushlight.errors import SetupError
from rushlight.local import causes, reports, servers
from rushlight.local.layout import Layout
from rushlight.local.process import Child, cap_log, spawn
from rushlight.local.records import write_records
from rushlight.local.reports import Kind, Report, Sink

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_SECONDS = 30.0  # after this long the pauses start small again
HOLD_POLL_SECONDS = 0.1
LOG_CHECK_SECONDS = 30.0


@dataclass(frozen=True)
class Program:
    """What is started under a name, and how."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    nice: int = 0
    keep: tuple[int, ...] = ()


class Children:
    """The children of one supervisor by name.

    Args:
        changed: called whenever a child has been started again.
    """

    def __init__(self, layout: Layout, sink: Sink, changed: Callable[[], None]) -> None:
        self._layout = layout
        self._sink = sink
        self._changed = changed
        self._running: dict[str, Child] = {}
        self._keepers: list[asyncio.Task[None]] = []

    def __getitem__(self, name: str) -> Child:
        return self._running[name]

    def pids(self) -> dict[str, int]:
        """The pid of each child."""
        return {name: child.pid for name, child in self._running.items()}

    def spawn(self, program: Program) -> Child:
        """Start a program and record it.

        Raises:
            SetupError: when it cannot be started.
        """
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
            raise SetupError(f"{program.name} cannot be started: {error}") from error
        self._running[program.name] = child
        self._record()
        self.report(program.name, "started", f"{program.name} started", child)
        return child

    def forget(self, name: str) -> None:
        """A child that was meant to end has ended."""
        del self._running[name]
        self._record()

    def keep(self, programs: Iterable[Program]) -> None:
        """From now on, start these again whenever they die."""
        self._keepers += [asyncio.create_task(self._keep(program)) for program in programs]

    def keep_logs_capped(self) -> None:
        """From now on, keep all logs below their cap."""
        self._keepers.append(asyncio.create_task(self._cap_logs()))

    async def release(self) -> None:
        """Start nothing again any more."""
        keepers, self._keepers = self._keepers, []
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    async def stop(self, chosen: Callable[[str], bool], budget_seconds: float) -> None:
        """Ask the chosen ones to stop; kill those that take longer than the budget."""
        group = [child for name, child in self._running.items() if chosen(name)]
        if not group:
            return
        for child in group:
            child.terminate()
        ends = [asyncio.create_task(child.wait()) for child in group]
        await asyncio.wait(ends, timeout=budget_seconds)
        for child in group:
            if child.code is None:
                text = f"{child.name} did not stop within {budget_seconds:g} s and is killed"
                self.report(child.name, "killed", text, child)
                child.kill()
        await asyncio.wait(ends)
        for child in group:
            del self._running[child.name]

    def kill_all(self) -> None:
        """End every child at once."""
        for child in self._running.values():
            child.kill()

    def require_alive(self, names: Iterable[str] | None = None) -> None:
        """Fail when one of these (by default any) has ended.

        Raises:
            SetupError: why it ended and what to do.
        """
        for name in list(self._running) if names is None else names:
            child = self._running[name]
            if child.code is not None:
                raise self.failure(child)

    def failure(self, child: Child) -> SetupError:
        """The error that says why a child ended and what to do."""
        sentence = causes.sentence(child.name, child.code or 0, child.last_words(), self._layout)
        self.report(child.name, "failed", sentence, child)
        return SetupError(sentence)

    def repair(self, child: Child) -> bool:
        """Set aside what keeps a child from starting, where that loses nothing that was acknowledged."""
        if child.name != servers.VALKEY:
            return False
        done = servers.set_broken_aof_aside(self._layout, child.last_words())
        if done:
            self.report(child.name, "repaired", f"{child.name}: {done}", child)
        return done is not None

    def report(self, name: str, kind: Kind, text: str, child: Child | None = None) -> None:
        """Tell people and the supervisor's log what happened."""
        pid, code = (child.pid, child.code) if child else (None, None)
        report = Report(at=reports.now(), child=name, kind=kind, text=text, pid=pid, code=code)
        reports.append_to(self._layout.log_of("supervisor"), report)
        if kind != "failed":  # the raised error says it
            self._sink(report)

    def _record(self) -> None:
        # A full disk must not keep a child from running: the kernel's tie holds without the record.
        with contextlib.suppress(OSError):
            write_records(self._layout.children, {name: child.record for name, child in self._running.items()})

    async def _keep(self, program: Program) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            child = self._running[program.name]
            code = await child.wait()
            if time.monotonic() - child.started > HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            if not await self._held(program.name):
                self.repair(child)
                why = causes.sentence(program.name, code, child.last_words(), self._layout)
                self.report(program.name, "died", f"{why}; it is started again in {pause:g} s", child)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            await self._respawn(program)

    async def _respawn(self, program: Program) -> None:
        while True:
            try:
                child = self.spawn(program)
            except SetupError as error:  # a full disk, no more processes: that may pass
                self.report(program.name, "died", f"{error}; tried again in {LONGEST_PAUSE_SECONDS:g} s")
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)
            else:
                self.report(program.name, "restarted", f"{program.name} runs again", child)
                self._changed()
                return

    async def _held(self, name: str) -> bool:
        held = False
        while self._layout.hold(name).exists():
            held = True
            await asyncio.sleep(HOLD_POLL_SECONDS)
        return held

    async def _cap_logs(self) -> None:
        while True:
            for log in self._layout.log.glob("*.log"):
                cap_log(log)
            await asyncio.sleep(LOG_CHECK_SECONDS)
