"""One call of a reaction's function, within its deadline, and what becomes of a call that fails."""

from __future__ import annotations

import asyncio
import random

from rushlight.engine.subscription import Subscription
from rushlight.errors import Rejected, Retryable
from rushlight.events.envelope import Envelope
from rushlight.events.event import Event
from rushlight.events.upcasting import upcast
from rushlight.logs import redacted

LONGEST_PAUSE_SECONDS = 300.0


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
    deadline = asyncio.timeout(subscription.deadline_seconds)
    try:
        async with deadline:
            await subscription.handler(*((typed, event) if subscription.wants_envelope else (typed,)))
    except Rejected as error:
        raise CallFailed(_words(error), final=True) from error
    except Retryable as error:
        raise CallFailed(_words(error), after_seconds=error.retry_after_seconds) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise CallFailed("it cancelled itself") from error
    except (Exception, SystemExit) as error:  # a function that wants to end the process has only failed
        if deadline.expired():
            raise CallFailed(f"took longer than {subscription.deadline_seconds:g} s") from error
        raise CallFailed(_words(error)) from error


def pause_of(subscription: Subscription, attempts: int) -> float:
    """Seconds before an event is tried again that has failed so many times; random, so that not all come at once."""
    doubled = subscription.backoff_seconds * 2.0 ** min(attempts - 1, 30)
    return min(LONGEST_PAUSE_SECONDS, doubled) * random.uniform(0.5, 1.0)


def _words(error: BaseException) -> str:
    # Kept in MongoDB and shown: what a mail server or a client library says may hold addresses and passwords.
    return redacted(f"{type(error).__name__}: {error}")
