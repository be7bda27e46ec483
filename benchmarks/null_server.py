"""`python -m benchmarks.null_server PORT`: answers every POST at once and does nothing, to see what the load can do.

Whatever is measured at a system under test beyond this server's figures would be the generator's own limit.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import cast

import httptools
import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n" + b'{"success":true}'


class Answering(asyncio.Protocol):
    """One connection: a fixed answer to each complete request."""

    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer a request whose body has been read."""
        self._transport.write(ANSWER)


async def serve(port: int) -> None:
    """Serve on loopback until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    print('{"ready":true}', flush=True)
    async with server:
        await server.serve_forever()


def main(arguments: Sequence[str]) -> None:
    """Serve on the port that is given."""
    uvloop.run(serve(int(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
