"""What a scenario needs to know of the system it measures, whichever that is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol


class Backlog(NamedTuple):
    """What analytics has not taken in yet.

    Attributes:
        events: acknowledged and not yet in the figures.
        seconds: how far the figures are behind the clock, where the system says so.
    """

    events: int
    seconds: float | None


class Side(Protocol):
    """A running system with an order service."""

    name: str

    @property
    def orders_url(self) -> str:
        """Where `POST /orders` is served."""

    @property
    def live_url(self) -> str:
        """Where Socket.IO clients receive `analyticsUpdate`."""

    def backlog(self) -> Backlog:
        """What analytics has still to do."""

    def cpu(self) -> float:
        """CPU seconds that all its processes, servers included, have used so far."""

    def without_redis(self) -> AbstractContextManager[None]:
        """Hold its Redis still (SIGSTOP) inside the context."""

    def check(self) -> dict[str, object]:
        """Whether every order reached analytics once; `agrees` says so."""
