"""Binds the HTTP ports before anything is started, and hands the sockets down to the children.

The supervisor owns the listening sockets, so a busy port is one sentence at the start, port 0 is known to all, and
a role that is started again finds its callers waiting instead of having been refused.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Iterable

from rushlight.errors import SetupError

LISTEN_FD = "RUSHLIGHT_LISTEN_FD"
BACKLOG = 2048
FREE_PORT_TRIES = 50
PORT_OFFSETS = {"web": 0, "ingest": 0, "live": 0, "orders": 1}
URL_NAMES = {"web": "board", "ingest": "ingest", "live": "board", "orders": "orders"}
READY_PATH = "/health/ready"
READY_TIMEOUT_SECONDS = 2.0


def listener(host: str, port: int) -> socket.socket:
    """The socket on which this process serves: inherited from a supervisor, else bound here.

    Raises:
        SetupError: when the port is busy or the address is not loopback.
    """
    return inherited(LISTEN_FD) or _bind(host, port)


def inherited(variable: str) -> socket.socket | None:
    """The socket that a supervisor has handed down under this name; it can be asked for once."""
    descriptor = os.environ.pop(variable, None)
    return socket.socket(fileno=int(descriptor)) if descriptor else None


def bind(host: str, port: int, roles: Iterable[str], *, shared: bool = False) -> dict[str, socket.socket]:
    """One listening socket for each role that serves HTTP; with port 0 any that are free, next to each other.

    Args:
        shared: the port of ``web`` may have more sockets, see `beside`.

    Raises:
        SetupError: when a port is busy or the address is not loopback.
    """
    wanted = {role: PORT_OFFSETS[role] for role in roles if role in PORT_OFFSETS}
    sharing = frozenset({"web"}) if shared else frozenset()
    if port or not wanted:
        return _bind_all(host, port, wanted, sharing)
    for attempt in range(FREE_PORT_TRIES):
        with _bind(host, 0) as probe:
            candidate = probe.getsockname()[1]
        try:
            return _bind_all(host, candidate, wanted, sharing)
        except SetupError:
            if attempt == FREE_PORT_TRIES - 1:
                raise
    raise AssertionError


def beside(listening: socket.socket) -> socket.socket:
    """One more socket at the address of one that may be shared; the system spreads connections between them.

    Raises:
        SetupError: the system has no such sockets.
    """
    address = listening.getsockname()
    another = socket.socket(listening.family, socket.SOCK_STREAM)
    another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        _share(another)
        another.bind(address)
        another.listen(BACKLOG)
    except OSError as error:
        another.close()
        raise SetupError(f"this system shares no port between processes ({error}): leave --ingest out") from error
    return another


def url_of(listening: socket.socket) -> str:
    """The base URL under which a listening socket is reached from this machine."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def answers_ready(listening: socket.socket) -> bool:
    """Whether ``GET /health/ready`` answers 200."""
    address = listening.getsockname()
    try:
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            reader, writer = await (
                asyncio.open_unix_connection(address)
                if listening.family == socket.AF_UNIX
                else asyncio.open_connection(*address[:2])
            )
            try:
                writer.write(f"GET {READY_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split()[1:2] == [b"200"]


def _bind_all(
    host: str, port: int, offsets: dict[str, int], sharing: frozenset[str] = frozenset()
) -> dict[str, socket.socket]:
    bound: dict[str, socket.socket] = {}
    try:
        for role, offset in offsets.items():
            bound[role] = _bind(host, port + offset, shared=role in sharing)
    except SetupError:
        for taken in bound.values():
            taken.close()
        raise
    return bound


def _bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SetupError(f"the host {host!r} is not an address of this machine: give --host 127.0.0.1") from error
    if not ipaddress.ip_address(address[0]).is_loopback:
        raise SetupError(f"{host} is reachable by others and there is no login yet: give --host 127.0.0.1")
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        if shared:  # not before: another program that shares its port would let this one in, and take its callers
            _share(listening)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise SetupError(_unbindable(host, port, error)) from error
    return listening


def _share(listening: socket.socket) -> None:
    option = getattr(socket, "SO_REUSEPORT", None)
    if option is None:
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
    listening.setsockopt(socket.SOL_SOCKET, option, 1)


def _unbindable(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use by another program: stop that program or choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this user has: choose one above 1023 with --port"
    return f"cannot listen on {host} port {port} ({error.strerror}): choose another with --port"
