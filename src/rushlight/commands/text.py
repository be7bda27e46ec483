"""How commands print what strangers wrote, and moments, and who asks for something."""

from __future__ import annotations

import getpass
import socket
from datetime import UTC, datetime

SHOWN_CHARACTERS = 200


def plain(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Text that strangers wrote, without what a terminal would obey."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return f"{shown}…" if len(text) > limit else shown


def when(moment: datetime) -> str:
    """A moment in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def somebody() -> str:
    """Who runs this command, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
