"""`python -m benchmarks.open_door PORT`: Rushlight's own server before a door that takes everything and keeps nothing.

It shows what HTTP over sockets costs alone, with the same protocol, loop and limits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import uvloop

from rushlight.app import _serve
from rushlight.ingest.admission import Admission
from rushlight.ingest.refusals import complete
from rushlight.ingest.request import Answer, Request
from rushlight.serving.direct import Direct

TAKEN = complete(Answer(200, b'{"success":true}'))


class OpenDoor:
    """Takes everything at once."""

    admission = Admission()

    def early(self, _method: str, _headers: Mapping[str, str], _path: str, /) -> Answer | None:
        """Every body is read."""
        return None

    def take(self, _request: Request, answer: Callable[[Answer], None], /) -> None:
        """Answer at once."""
        answer(TAKEN)


def direct() -> Direct:
    """Every path leads to the open door, and nobody counts."""
    return Direct(OpenDoor(), lambda _path: True, lambda _status, _seconds: None)


class App:
    """An ASGI application of which only the lifespan is used."""

    direct = staticmethod(direct)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Say that it has started, and that it has ended."""
        assert scope["type"] == "lifespan"
        await receive()
        await send({"type": "lifespan.startup.complete"})
        print('{"ready":true}', flush=True)
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


def main(arguments: Sequence[str]) -> None:
    """Serve on the port that is given."""
    uvloop.run(_serve(App(), "127.0.0.1", int(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
