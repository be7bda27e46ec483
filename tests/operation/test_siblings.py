"""What a process says of others on its port, by what each of them tells."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from pathlib import Path

from rushlight.operation.siblings import Siblings
from rushlight.operation.status import answering


async def test_what_each_tells(tmp_path: Path) -> None:
    """Who takes no money makes the port unready; who does not answer is somebody to look at."""
    said: dict[str, str | None] = {"ingest-1": None, "ingest-2": None}
    paths = [tmp_path / f"{name}.sock" for name in said]
    siblings = Siblings(paths)
    assert await siblings.refusing() is None
    assert "ingest-1: does not answer" in str(await siblings.unwell())
    async with AsyncExitStack() as stack:
        for path in paths:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(str(path))
            listening.listen()

            async def full(name: str = path.stem) -> str | None:
                return said[name]

            await stack.enter_async_context(answering(listening, {"ingest": full}, {}))
        assert (await siblings.refusing(), await siblings.unwell()) == (None, None)
        said["ingest-2"] = "the write-ahead log is full"
        assert await siblings.refusing() == "ingest-2: ingest: the write-ahead log is full"
        assert await siblings.unwell() is None
