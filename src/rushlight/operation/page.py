"""``GET /metrics``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rushlight.metrics import CONTENT_TYPE, Exposition
from rushlight.operation import process


class Shared(Protocol):
    """Figures that are read elsewhere."""

    async def text(self) -> str:
        """Their exposition."""
        ...


class MetricsApp:
    """Answers with this process's figures, and those that it shares with others.

    Args:
        role: of this process. collect: adds what only this process knows. shared: figures of the whole instance.
    """

    def __init__(self, role: str, collect: Callable[[Exposition], None], shared: Shared | None = None) -> None:
        self._role = role
        self._collect = collect
        self._shared = shared

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """One request."""
        if scope["method"] not in {"GET", "HEAD"}:
            await _answer(send, 405, b"only GET is allowed here\n", [(b"allow", b"GET, HEAD")])
            return
        body = await self.body()
        await _answer(send, 200, body, [], head=scope["method"] == "HEAD")

    async def body(self) -> bytes:
        """The exposition."""
        exposition = Exposition()
        process.collect(exposition, self._role)
        self._collect(exposition)
        shared = await self._shared.text() if self._shared is not None else ""
        return (exposition.text() + shared).encode()


async def _answer(
    send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]], *, head: bool = False
) -> None:
    length = (b"content-length", b"%d" % len(body))
    start = [(b"content-type", CONTENT_TYPE), (b"cache-control", b"no-store"), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": b"" if head else body})
