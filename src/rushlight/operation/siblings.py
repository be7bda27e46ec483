"""How the processes are that take events in on this one's port: each tells on a socket of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rushlight.health import Health

ASK_SECONDS = 1.0
MAX_BYTES = 64 << 10
NO_ANSWER = Health(status="", reason="does not answer; its callers wait until it runs again")
REQUEST = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Siblings:
    """Asks for the health of each.

    Args:
        sockets: where they answer, by their names.
    """

    def __init__(self, sockets: Sequence[Path]) -> None:
        self._sockets = sockets

    async def refusing(self) -> str | None:
        """Why one of them takes not even money; None when all do, or are away and keep their callers waiting."""
        return await self._first("unready")

    async def unwell(self) -> str | None:
        """Why one of them is away or degraded."""
        return await self._first("", "degraded")

    async def _first(self, *states: str) -> str | None:
        answers = await asyncio.gather(*(_ask(path) for path in self._sockets))
        told = [
            f"{path.stem}: {one.reason}"
            for path, one in zip(self._sockets, answers, strict=True)
            if one.status in states
        ]
        return "; ".join(told) or None


async def _ask(path: Path) -> Health:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(REQUEST)
                answer = await reader.read(MAX_BYTES)
                while more := await reader.read(MAX_BYTES):
                    answer += more
            finally:
                writer.close()
        return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2], type=Health)
    except (OSError, TimeoutError, msgspec.MsgspecError):
        return NO_ANSWER
