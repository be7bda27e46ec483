"""For how long an instance runs: a block, until a signal, or as long as somebody else's does."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from rushlight.errors import SetupError
from rushlight.local.instance import Instance, Locked, is_locked, read
from rushlight.local.layout import Layout
from rushlight.local.reports import Sink, to_stderr
from rushlight.local.supervisor import Supervisor
from rushlight.settings import Settings

JOIN_SECONDS = 60.0
POLL_SECONDS = 0.1


def default_roles(settings: Settings) -> list[str]:
    """The roles of ``rushlight up``."""
    return ["web", "worker", *(["orders"] if settings.orders else [])]


@asynccontextmanager
async def running(
    settings: Settings, roles: Sequence[str] | None = None, *, sink: Sink = to_stderr
) -> AsyncIterator[Instance]:
    """Run an instance on ``settings.data`` for as long as the block runs.

    Call it in the main thread: the children are tied to the thread that starts them.

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
async def joined(
    settings: Settings, roles: Sequence[str] = ("worker",), *, sink: Sink = to_stderr
) -> AsyncIterator[Instance]:
    """Work on the instance that runs on ``settings.data``, or run one with these roles while the block runs.

    Raises:
        SetupError, Unavailable: as ``running``; also when the running instance uses other servers than asked for.
    """
    async with AsyncExitStack() as stack:
        instance = await _already_running(settings)
        if instance is None:
            try:
                instance = await stack.enter_async_context(running(settings, roles, sink=sink))
            except Locked:  # another command was faster
                instance = await _already_running(settings)
                if instance is None:
                    raise
        _require_same_servers(settings, instance)
        yield instance


async def serve(
    settings: Settings,
    roles: Sequence[str] | None = None,
    *,
    sink: Sink = to_stderr,
    ready: Callable[[Instance], None] = lambda _: None,
) -> None:
    """Run an instance until SIGINT, SIGTERM or SIGHUP; a second one kills instead of waiting.

    Args:
        settings, roles, sink: as for ``running``.
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
    if task is None:
        raise RuntimeError("stopped_by_signals must be used inside a task")
    asked = False

    def stop() -> None:
        nonlocal asked
        asked = True
        task.cancel()

    # A program started under nohup has SIGHUP ignored and wants it so.
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not asked:
            raise
    finally:
        for number in heard:
            loop.remove_signal_handler(number)


async def _already_running(settings: Settings) -> Instance | None:
    """The running instance, waited for while it is starting; None when none runs."""
    layout = Layout(settings.path)
    deadline = time.monotonic() + JOIN_SECONDS
    while is_locked(layout):
        if (instance := read(layout.data)) is not None:
            return instance
        if time.monotonic() > deadline:
            raise SetupError(f"the instance on {layout.data} does not become ready: see {layout.log}")
        await asyncio.sleep(POLL_SECONDS)
    return None


def _require_same_servers(settings: Settings, instance: Instance) -> None:
    asked = {"--redis-url": settings.redis_url, "--mongo-url": settings.mongo_url}
    used = {"--redis-url": instance.redis_url, "--mongo-url": instance.mongo_url}
    for option, url in asked.items():
        if url is not None and url != used[option]:
            raise SetupError(
                f"the instance (pid {instance.pid}) on {instance.settings.data} uses another server: leave {option} "
                "out or give another --data"
            )
