"""What a scenario needs to know of the system it measures, whichever that is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, Protocol

import msgspec

Part = Literal["analytics", "orders"]


class Books(msgspec.Struct, frozen=True, rename="camel"):
    """Orders by what became of them.

    Attributes:
        saved: in the order service's own collection. unrecorded: of those, without an event in the event store.
        twice: with more than one. counted: orders according to the figures.
    """

    saved: int
    unrecorded: int
    twice: int
    counted: int

    def since(self, before: Books) -> Books:
        """What came to it since an earlier look."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(before), strict=True)
        return Books(*(now - then for now, then in pairs))


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

    def kill(self, part: Part, down_seconds: float) -> None:
        """End a part with SIGKILL; it runs again after so long, or as soon as its supervisor starts it."""

    def books(self) -> Books:
        """What became of the orders."""

    def check(self) -> dict[str, object]:
        """Whether every order reached analytics once; `agrees` says so."""
