"""What a scenario needs to know of the system it measures, whichever that is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Side(Protocol):
    """A running system with an order service."""

    name: str

    @property
    def orders_url(self) -> str:
        """Where `POST /orders` is served."""

    @property
    def live_url(self) -> str:
        """Where Socket.IO clients receive `analyticsUpdate`."""

    def backlog(self) -> int:
        """How many events analytics has still to take in."""

    def behind(self) -> float | None:
        """How many seconds the figures are behind the clock; None where the system does not say."""

    def cpu(self) -> float:
        """CPU seconds that all its processes, servers included, have used so far."""

    def without_redis(self) -> AbstractContextManager[None]:
        """Hold its Redis still (SIGSTOP) inside the context."""

    def check(self) -> dict[str, object]:
        """Whether every order reached analytics once; `agrees` says so."""
