"""Those who watch one shop: a Socket.IO room in each namespace, and those who wait for a snapshot before they enter it.

A frame becomes one packet a namespace, and that same packet goes into the queue of every socket; nobody's socket waits
for another's. A socket whose queue is long does not take its frames, and is given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from engineio import packet as engine

EVENT = "analyticsUpdate"
NAMESPACES = ("/live", "/")
# Some six seconds of frames; what the network holds besides is bounded by its own buffers.
MAX_QUEUED_FRAMES = 64
RESYNC_SECONDS = 0.5


class Viewer(NamedTuple):
    """One connection to one namespace."""

    namespace: str
    sid: str


class Crowd:
    """The viewers of one shop.

    Args:
        server: the Socket.IO server. give_up: called with the engine's id of a socket that takes nothing.
    """

    def __init__(self, server: Any, shop: str, give_up: Callable[[str], None]) -> None:
        self._server = server
        self._room = f"shop:{shop}"
        self._give_up = give_up
        self._waiting: set[Viewer] = set()
        self._welcomed: dict[Viewer, float] = {}

    def __len__(self) -> int:
        return len(self._waiting | self._welcomed.keys())

    def wait(self, viewer: Viewer) -> None:
        """Let a newcomer wait for a snapshot."""
        self._waiting.add(viewer)

    async def wait_again(self, viewer: Viewer) -> None:
        """Let one who missed something wait for another snapshot; in between it gets nothing."""
        if viewer in self._welcomed:
            await self._server.leave_room(viewer.sid, self._room, namespace=viewer.namespace)
            self._waiting.add(viewer)

    def leave(self, viewer: Viewer) -> None:
        """Forget one who is gone; the server itself has taken it out of the room."""
        self._waiting.discard(viewer)
        self._welcomed.pop(viewer, None)

    def broadcast(self, frame: bytes) -> None:
        """Hand a delta to everybody in the rooms."""
        text = frame.decode()
        for namespace in NAMESPACES:
            members = [engine_sid for _, engine_sid in self._server.manager.get_participants(namespace, self._room)]
            if members:
                packet = packet_of(namespace, text)
                for engine_sid in members:
                    self._put(engine_sid, packet)

    async def welcome(self, snapshot: Callable[[], bytes]) -> None:
        """Hand a snapshot to those who wait, and let them enter: the next delta is theirs too."""
        ready = [viewer for viewer in self._waiting if self._is_ready(viewer)]
        if not ready:
            return
        text = snapshot().decode()
        packets = {namespace: packet_of(namespace, text) for namespace in NAMESPACES}
        for viewer in ready:
            self._waiting.discard(viewer)
            self._welcomed[viewer] = time.monotonic()
            engine_sid = self._server.manager.eio_sid_from_sid(viewer.sid, viewer.namespace)
            self._put(engine_sid, packets[viewer.namespace])
            await self._server.enter_room(viewer.sid, self._room, namespace=viewer.namespace)

    def _is_ready(self, viewer: Viewer) -> bool:
        """Whether the handshake is over, and the last snapshot not a moment ago."""
        if not self._server.manager.is_connected(viewer.sid, viewer.namespace):
            return False
        return time.monotonic() - self._welcomed.get(viewer, -RESYNC_SECONDS) >= RESYNC_SECONDS

    def _put(self, engine_sid: str, packet: Any) -> None:
        socket = self._server.eio.sockets.get(engine_sid)
        if socket is None or socket.closed or socket.closing:
            return
        if socket.queue.qsize() >= MAX_QUEUED_FRAMES:
            self._give_up(engine_sid)
        else:
            socket.queue.put_nowait(packet)


def packet_of(namespace: str, frame: str) -> Any:
    """The frame as an event packet of Socket.IO (protocol 5), encoded when the first socket takes it."""
    address = "" if namespace == "/" else f"{namespace},"
    return engine.Packet(engine.MESSAGE, data=f'2{address}["{EVENT}",{frame}]')
