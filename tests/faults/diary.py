"""What was sent and what was answered, on disk before anybody acts on it, where the system under test has no hand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["create", "pay", "refund", "cancel", "event"]
Outcome = Literal["accepted", "refused", "unknown"]


class Sent(msgspec.Struct, tag="sent", kw_only=True, omit_defaults=True, frozen=True):
    """A request before it is sent for the first time; repeats of it are the same request.

    Attributes:
        key: tells requests apart (an idempotency key, or a message's source and id).
        source: under which the journal has it: ``orders``, ``web``, ``api``.
        aggregate: the order, or the visitor.
        name: the event's name in the journal. event_id: its id there, where the sender can know it.
        currency, gross, discounts, tax, shipping, units: of an order; minor units. Of a refund: ``gross`` is the goods'
            part. visitor: makes an order's second event.
    """

    key: str
    kind: Kind
    source: str
    aggregate: str
    name: str
    event_id: str = ""
    currency: str = ""
    gross: int = 0
    discounts: int = 0
    tax: int = 0
    shipping: int = 0
    units: int = 0
    visitor: str = ""


class Answered(msgspec.Struct, tag="answered", kw_only=True, frozen=True):
    """What became of a request: a 2xx, a refusal that says that nothing was done, or nobody knows."""

    key: str
    outcome: Outcome


Entry = Sent | Answered


class Diary:
    """Appends entries; each call returns when they are on disk. Calls at the same time share one fsync."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def note(self, *entries: Entry) -> None:
        """Write entries down."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries), written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await written

    async def close(self) -> None:
        """Wait for the last entries."""
        if self._writing is not None:
            await self._writing
        os.close(self._file)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await asyncio.to_thread(self._sync, b"".join(data for data, _ in batch))
            for _, written in batch:
                if not written.done():
                    written.set_result(None)
        self._writing = None

    def _sync(self, data: bytes) -> None:
        os.write(self._file, data)
        os.fdatasync(self._file)


def entries(path: Path, start: int = 0) -> Iterator[Entry]:
    """What a diary holds from this byte on."""
    decoder = msgspec.json.Decoder(Entry)
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            yield decoder.decode(line)
