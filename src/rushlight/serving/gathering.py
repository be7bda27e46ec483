"""An HTTP answer leaves in one write: the server sends head and body apart, and each would be a system call of its own
here, a packet between, and a wake-up of the client there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


class Gathering(asyncio.Transport):
    """The part of a transport that uvicorn uses, writing once a tick."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._gathered: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write with whatever else is written in this tick."""
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(bytes(data))

    def write_whole(self, data: bytes) -> None:
        """Write a whole answer, behind what was written before."""
        if self._gathered:
            self._gathered.append(data)
        else:
            self._transport.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """The same for several pieces."""
        for data in list_of_data:
            self.write(data)

    def plain(self) -> asyncio.Transport:
        """The transport beneath, everything written so far sent."""
        self._flush()
        return self._transport

    def write_eof(self) -> None:
        """Write what is gathered, and say that no more comes."""
        self._flush()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Write what is gathered, and close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it closes."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Take nothing more from the client."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take from it again."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the transport beneath."""
        return self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """As the transport beneath."""
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """As the transport beneath."""
        return self._transport.get_protocol()

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered and not self._transport.is_closing():
            self._transport.write(b"".join(gathered))
