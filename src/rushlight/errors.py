"""One error tree, split by what the caller can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from random import randint
from typing import Any


class RushlightError(Exception):
    """Root of every error that Rushlight raises on purpose."""


def in_short(error: Exception) -> str:
    """What a database's client says went wrong, without what it adds about its options, its topology and its reply."""
    details = getattr(error, "details", None)
    said = _errmsg(details) if isinstance(details, Mapping) else ""
    return said or str(error).partition(" (configured timeouts")[0].partition(", Timeout:")[0]


def _errmsg(details: Mapping[str, Any]) -> str:
    """The server's own sentence; of a bulk the first of its writes that failed."""
    for row in (*details.get("writeErrors", ()), *details.get("writeConcernErrors", ()), details):
        if isinstance(row, Mapping) and row.get("errmsg"):
            return str(row["errmsg"])
    return ""


class Rejected(RushlightError):
    """The sender's fault: the input is wrong and sending it again will not help.

    Args:
        reason: what is wrong and what would be right.
        field: the path of the offending field (``lines[2].quantity``), empty when the whole input is meant.
        code: a stable machine-readable word, by which the ledger counts rejections.
    """

    def __init__(self, reason: str, *, field: str = "", code: str = "invalid") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field
        self.code = code


class Conflict(RushlightError):
    """The request is well-formed but the thing it acts on is in another state (HTTP 409 or 422)."""

    def __init__(self, reason: str, *, code: str = "conflict") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Retryable(RushlightError):
    """Something passing went wrong; the same call may succeed later."""

    def __init__(self, reason: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds

    def spread_seconds(self) -> int:
        """When to tell one caller to come again: those who are refused together should not come back together."""
        least = max(1, ceil(self.retry_after_seconds))
        return randint(least, 2 * least)


class Unavailable(Retryable):
    """A server that is needed cannot be reached, or room has run out; nothing was accepted."""


class Fenced(RushlightError):
    """Another owner holds a newer lease; whatever was in flight must be forgotten, not retried."""


class SetupError(RushlightError):
    """The machine or the configuration does not allow a start; the message says what to do."""
