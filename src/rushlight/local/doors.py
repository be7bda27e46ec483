"""The sockets through which one supervisor's children are reached: it holds them, and they outlive every child.

With ``ingest_processes`` the board's port has as many more sockets, one for each child ``ingest-N``, between which the
system spreads connections. Such a child inherits besides: the sending end of a channel to ``web``, for connections that
are not its own to serve; a file that all of them share, by which limits are kept together; and a socket under DATA/run
that answers ``/health/*`` for it alone, as the port is answered by any of them.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from rushlight.errors import SetupError
from rushlight.local import ports
from rushlight.local.layout import Layout, unusable
from rushlight.settings import Settings

HANDOVER_FD = "RUSHLIGHT_HANDOVER_FD"
HEALTH_FD = "RUSHLIGHT_HEALTH_FD"
SHARED_FD = "RUSHLIGHT_SHARED_FD"
HEALTH_SOCKETS = "RUSHLIGHT_HEALTH_SOCKETS"
# As far as the system allows: what waits while the one that adopts is started again.
CHANNEL_BYTES = 1 << 20
BACKLOG = 64
INGEST = "ingest-"


class Doors:
    """Opened when it is made; ``close`` it.

    Args:
        roles: those that serve HTTP get a port each.

    Attributes:
        sockets: what callers connect to, by the name of the child that serves it.

    Raises:
        SetupError: a port is busy, the address is not loopback, or the system lacks what is needed.
    """

    def __init__(self, settings: Settings, layout: Layout, roles: Iterable[str]) -> None:
        roles = list(roles)
        count = settings.ingest_processes if "web" in roles else 0
        self.sockets = ports.bind(settings.host, settings.port, roles, shared=count > 0)
        self.ports = dict(self.sockets)
        self.ingest = [f"{INGEST}{number}" for number in range(1, count + 1)]
        self._layout = layout
        self._health: dict[str, socket.socket] = {}
        self._channel: tuple[socket.socket, socket.socket] | None = None
        self._shared: BinaryIO | None = None
        try:
            if self.ingest:
                self._open()
        except BaseException:
            self.close()
            raise

    def inheritance(self, name: str) -> tuple[dict[str, str], tuple[int, ...]]:
        """What a child finds in its environment, and the descriptors that it keeps open for that."""
        given: dict[str, socket.socket | BinaryIO] = {}
        found: dict[str, str] = {}
        if name in self.sockets:
            given[ports.LISTEN_FD] = self.sockets[name]
        if self._shared is not None and self._channel is not None and name in {"web", *self.ingest}:
            given[SHARED_FD] = self._shared
            given[HANDOVER_FD] = self._channel[name == "web"]
            if name == "web":
                found[HEALTH_SOCKETS] = str(self._layout.sockets)
            else:
                given[HEALTH_FD] = self._health[name]
        descriptors = {variable: file.fileno() for variable, file in given.items()}
        return found | {key: str(value) for key, value in descriptors.items()}, tuple(descriptors.values())

    def asked(self) -> Iterable[socket.socket]:
        """The sockets on which ``/health/ready`` tells whether a child is ready, for each that serves HTTP."""
        return [*self.ports.values(), *self._health.values()]

    def close(self) -> None:
        """Close everything; what still waits there is lost."""
        for held in (*self.sockets.values(), *self._health.values(), *(self._channel or ())):
            held.close()
        if self._shared is not None:
            self._shared.close()
        for name in self._health:
            self._layout.health_socket(name).unlink(missing_ok=True)

    def _open(self) -> None:
        for name in self.ingest:
            self.sockets[name] = ports.beside(self.ports["web"])
        try:
            self._channel = _channel()
            self._shared = _nameless_file(self._layout)
            for name in self.ingest:
                self._health[name] = self._listen(name)
        except OSError as error:
            raise SetupError(unusable(self._layout.run, error)) from error

    def _listen(self, name: str) -> socket.socket:
        path = self._layout.health_socket(name)
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(path))
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        return listening


def _nameless_file(layout: Layout) -> BinaryIO:
    if sys.platform == "linux":  # in memory: no disk is written for it
        return os.fdopen(os.memfd_create("rushlight", os.MFD_CLOEXEC), "w+b")
    return tempfile.TemporaryFile(dir=layout.run)


def inherited_file() -> int | None:
    """The descriptor of the file that a supervisor's doors share; None without one."""
    descriptor = os.environ.pop(SHARED_FD, None)
    return int(descriptor) if descriptor else None


def health_sockets(settings: Settings) -> tuple[Path, ...]:
    """Where the processes that share this one's port tell how they are; none without a supervisor's doors."""
    directory = os.environ.pop(HEALTH_SOCKETS, None)
    numbers = range(1, settings.ingest_processes + 1) if directory else ()
    return tuple(Path(directory or "") / f"{INGEST}{number}.sock" for number in numbers)


def _channel() -> tuple[socket.socket, socket.socket]:
    """Two ends, to send and to receive, that any number of processes may send through."""
    # Where there is no other kind, the system bounds the number of messages rather than their size.
    kind = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
    sending, receiving = socket.socketpair(socket.AF_UNIX, kind)
    for end in (sending, receiving):
        end.setblocking(False)
    sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BYTES)
    return sending, receiving
