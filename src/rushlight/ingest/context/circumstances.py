"""What the journal keeps of an event's circumstances."""

from __future__ import annotations

from typing import Any

import msgspec

from rushlight.events.context import Context
from rushlight.ingest.keys import Key
from rushlight.ingest.request import Report, Request


class Circumstances:
    """Those that all events of one request share."""

    def __init__(self, request: Request, dialect: str, key: Key) -> None:
        self._request = request
        self._dialect = dialect
        self._key = key

    def context(self, report: Report) -> dict[str, Any]:
        """Plain JSON values of one event's `Context`."""
        given = report.given
        context = Context(dialect=self._dialect, key=self._key.prefix, library=given.library, original=given.original)
        plain: dict[str, Any] = msgspec.to_builtins(context)
        return plain
