"""One call of a reaction's function, within its deadline, and what becomes of a call that fails."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial

from rushlight.engine.subscription import Subscription
from rushlight.errors import Rejected, Retryable
from rushlight.events.envelope import Envelope
from rushlight.events.event import Event
from rushlight.events.upcasting import upcast
from rushlight.logs import redacted

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 300.0
# A call that is cancelled has so long to close what it has open.
GRACE_SECONDS = 2.0
_abandoned: set[asyncio.Task[BaseException | None]] = set()


class CallFailed(Exception):
    """A call failed. ``final``: trying again would not help. ``after_seconds``: the least pause before it does."""

    def __init__(self, reason: str, *, final: bool = False, after_seconds: float = 0.0) -> None:
        # MongoDB keeps it, which takes no half of a character (as in a file's name that is no UTF-8).
        super().__init__(reason.encode("utf-8", "replace").decode())
        self.final = final
        self.after_seconds = after_seconds


async def call(subscription: Subscription, event: Envelope) -> None:
    """Call the function of a subscription once.

    Raises:
        CallFailed: it failed, or cannot be called with this event.
    """
    try:
        event = upcast(event)
        typed: Event = subscription.classes[event.name].open(event)
    except Rejected as error:
        raise CallFailed(f"cannot be read as {event.name}: {error}", final=True) from error
    arguments = (typed, event) if subscription.wants_envelope else (typed,)
    failure, late = await _ended(subscription, event, partial(subscription.handler, *arguments))
    if failure is None:
        return
    if isinstance(failure, Rejected):
        raise CallFailed(_words(failure), final=True) from failure
    if isinstance(failure, Retryable):
        raise CallFailed(_words(failure), after_seconds=failure.retry_after_seconds) from failure
    if late:
        raise CallFailed(f"took longer than {subscription.deadline_seconds:g} s") from failure
    if isinstance(failure, asyncio.CancelledError):
        raise CallFailed("it cancelled itself") from failure
    raise CallFailed(_words(failure)) from failure


async def _ended(
    subscription: Subscription, event: Envelope, function: Callable[[], Awaitable[None]]
) -> tuple[BaseException | None, bool]:
    """Wait for a call; when it takes too long, or we are cancelled, it is cancelled, and for a moment waited for.

    Returns:
        How it failed, None when it did not; and whether it took too long.

    Raises:
        CallFailed: it goes on although it was cancelled, and nobody waits for it any more.
    """
    call = asyncio.create_task(_outcome(function), name=f"call of {subscription.name}")
    try:
        await asyncio.wait({call}, timeout=subscription.deadline_seconds)
    finally:
        late = not call.done()
        if late:
            call.cancel()
            await asyncio.wait({call}, timeout=GRACE_SECONDS)
            if not call.done():
                _abandon(subscription, event, call)
    if not call.done():
        raise CallFailed(
            f"took longer than {subscription.deadline_seconds:g} s and goes on although it was cancelled", final=True
        )
    return call.result(), late


async def _outcome(function: Callable[[], Awaitable[None]]) -> BaseException | None:
    try:
        await function()
    except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001 - one that ends the process as well
        return error
    return None


def _abandon(subscription: Subscription, event: Envelope, call: asyncio.Task[BaseException | None]) -> None:
    # Else the loop alone would know it, and only weakly.
    _abandoned.add(call)
    call.add_done_callback(_abandoned.discard)
    log.error(
        "reaction %s goes on with %s %s although it was cancelled: it is left to itself",
        subscription.name, event.name, event.id,
    )  # fmt: skip


def pause_of(subscription: Subscription, attempts: int) -> float:
    """Seconds before an event is tried again that has failed so many times; random, so that not all come at once."""
    doubled = subscription.backoff_seconds * 2.0 ** min(attempts - 1, 30)
    return min(LONGEST_PAUSE_SECONDS, doubled) * random.uniform(0.5, 1.0)


def _words(error: BaseException) -> str:
    # Kept in MongoDB and shown: what a mail server or a client library says may hold addresses and passwords.
    return redacted(f"{type(error).__name__}: {error}")
