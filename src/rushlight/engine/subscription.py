"""``@subscribe``: declares a reaction, which is code with side effects that runs after the journal has an event."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from rushlight.errors import SetupError
from rushlight.events.event import Event

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")

Handler = Callable[..., Awaitable[None]]
H = TypeVar("H", bound=Handler)


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A reaction as it was declared.

    Attributes:
        name: under which its positions are kept, for good.
        events: the classes of the events that it hears.
        handler: the function. wants_envelope: whether it takes the envelope beside the event.
        start: where it begins when its name is new: after what the journal has "now", or at the "first" event.
        attempts: calls of one event before its aggregate is parked.
        backoff_seconds: pause after the first failure; doubled after each further one, with jitter.
        deadline_seconds: how long one call may take.
        concurrency: aggregates of one partition that are handled at the same time.
    """

    declared: ClassVar[dict[str, Subscription]] = {}

    name: str
    events: tuple[type[Event], ...]
    handler: Handler
    wants_envelope: bool
    start: Literal["now", "first"]
    attempts: int
    backoff_seconds: float
    deadline_seconds: float
    concurrency: int

    @property
    def classes(self) -> dict[str, type[Event]]:
        """The events' classes by the events' names."""
        return {cls.event_name: cls for cls in self.events}


def subscribe(
    *events: type[Event],
    name: str,
    start: Literal["now", "first"] = "now",
    attempts: int = 10,
    backoff_seconds: float = 1.0,
    deadline_seconds: float = 30.0,
    concurrency: int = 8,
) -> Callable[[H], H]:
    """Declare an async function as a durable reaction to events; the function itself stays as it is.

    It is called with the typed event and, if it has a second parameter, with the `Envelope`: at least once for each
    event, in the order of the journal within an aggregate, with ``envelope.id`` as the key by which a repetition is
    known. What it raises is tried again after growing pauses, then its aggregate is parked, and others go on.
    `Rejected` parks at once; a `Retryable` says how long to wait at least.

    Args:
        events: classes of the events to hear.
        name: lower-case letters, digits, ``-`` and ``_``; its position is kept under this name.
        start: where a new name begins: after what the journal holds "now", or at the "first" event.
        attempts: calls of one event before its aggregate is parked.
        backoff_seconds: pause after the first failure; it doubles up to five minutes, with jitter.
        deadline_seconds: a call that takes longer is cancelled and counts as failed.
        concurrency: at most so many aggregates of one partition are handled at the same time.

    Raises:
        SetupError: the declaration makes no sense, or another function has this name.
    """
    given: tuple[object, ...] = events
    if not given or not all(isinstance(cls, type) and issubclass(cls, Event) for cls in given):
        raise SetupError(f"subscription {name!r}: subscribe takes event classes and a name")
    if any(not hasattr(cls, "event_name") for cls in events):
        raise SetupError(f"subscription {name!r}: an event class has no name=…")
    if not NAME.match(name):
        raise SetupError(f"subscription {name!r}: its name must be lower-case letters, digits, - and _, at most 63")
    if start not in ("now", "first"):
        raise SetupError(f"subscription {name!r}: start is 'now' or 'first', not {start!r}")
    if attempts < 1 or concurrency < 1 or backoff_seconds < 0 or deadline_seconds <= 0:
        raise SetupError(f"subscription {name!r}: attempts, concurrency and times must be positive")

    def declare(handler: H) -> H:
        _register(
            Subscription(
                name=name,
                events=events,
                handler=handler,
                wants_envelope=_wants_envelope(name, handler),
                start=start,
                attempts=attempts,
                backoff_seconds=backoff_seconds,
                deadline_seconds=deadline_seconds,
                concurrency=concurrency,
            )
        )
        return handler

    return declare


def subscriptions() -> list[Subscription]:
    """What was declared in this process, by name."""
    return [Subscription.declared[name] for name in sorted(Subscription.declared)]


def _register(subscription: Subscription) -> None:
    other = Subscription.declared.get(subscription.name)
    if other is not None and _place(other.handler) != _place(subscription.handler):
        raise SetupError(
            f"subscription {subscription.name!r} is declared twice: by {'.'.join(_place(other.handler))} and by "
            f"{'.'.join(_place(subscription.handler))}"
        )
    Subscription.declared[subscription.name] = subscription


def _place(handler: Any) -> tuple[str, str]:
    return handler.__module__, handler.__qualname__


def _wants_envelope(name: str, handler: Handler) -> bool:
    if not inspect.iscoroutinefunction(handler):
        raise SetupError(f"subscription {name!r}: its function must be async")
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(handler).parameters.values()
    taken = [p for p in parameters if p.kind in positional]
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not taken or len(needed) > 2 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        raise SetupError(f"subscription {name!r}: its function takes the event and, if it wants it, the envelope")
    return len(taken) > 1
