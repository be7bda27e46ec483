"""Ports for servers whose port has to be known before they run, or has to be theirs again after a restart."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

LOWEST = 10240
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
USUAL = 32768


def free_ports(count: int = 1) -> int:
    """The first of some neighbouring ports that are free, and stay so unless somebody asks for them by number.

    The system gives ports of its own range to any connection that is opened meanwhile; these lie below it.
    """
    top = int(RANGE.read_text().split()[0]) if RANGE.exists() else USUAL
    chance = random.SystemRandom()
    while True:
        first = chance.randrange(LOWEST, top - count) if top - count > LOWEST else chance.randrange(LOWEST, 1 << 15)
        try:
            with ExitStack() as stack:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue
        return first
