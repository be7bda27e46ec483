"""Counts what a process answers, by part and status; parts are a fixed few, so that no client can make series."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from rushlight.metrics import Exposition, Histogram

Message = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]

KNOWN_STATUS = range(100, 600)


class Requests:
    """Counters and latencies of one process."""

    def __init__(self) -> None:
        self._answered: dict[tuple[str, int], int] = {}
        self._seconds: dict[str, Histogram] = {}

    async def serve(self, part: str, app: Asgi, scope: Any, receive: Receive, send: Send) -> None:
        """Let an application answer one HTTP request, and count its answer; one that got none is not counted."""
        begun = perf_counter()

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.count(part, message["status"], perf_counter() - begun)
            await send(message)

        await app(scope, receive, counting)

    def collect(self, exposition: Exposition) -> None:
        """Add what was counted."""
        for (part, status), count in sorted(self._answered.items()):
            exposition.add("rushlight_http_requests_total", count, part=part, status=str(status))
        for part, seconds in sorted(self._seconds.items()):
            exposition.histogram("rushlight_http_request_seconds", seconds, part=part)

    def answers(self, part: str) -> dict[str, int]:
        """How often a part has answered with each status."""
        return {str(status): count for (name, status), count in self._answered.items() if name == part}

    def count(self, part: str, status: int, seconds: float) -> None:
        """Count an answer, and how long it took until it began."""
        key = (part, status if status in KNOWN_STATUS else 0)
        self._answered[key] = self._answered.get(key, 0) + 1
        histogram = self._seconds.get(part)
        if histogram is None:
            histogram = self._seconds[part] = Histogram()
        histogram.observe(seconds)
