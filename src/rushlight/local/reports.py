"""What the supervisor has to say: a line for people on standard error, and one JSON object per line in a log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["survivor", "started", "died", "restarted", "repaired", "killed", "failed"]


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened to one child.

    Attributes:
        child: its name.
        kind: survivor (of a former start, ended now), started, died, restarted, repaired (its data), killed
            (it did not stop in time), failed (to start).
        text: one sentence for people.
        pid, code: the process and its exit code, as far as known.
    """

    at: datetime
    child: str
    kind: Kind
    text: str
    pid: int | None = None
    code: int | None = None


Sink = Callable[[Report], None]


def to_stderr(report: Report) -> None:
    """The default sink: what went wrong and what was done about it; a plain start is no news."""
    if report.kind != "started":
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stderr.write(f"rushlight: {report.text}\n")
            sys.stderr.flush()


def append_to(log: Path, report: Report) -> None:
    """Add the report to a log of one JSON object per line; a full disk does not stop the supervisor."""
    with contextlib.suppress(OSError), log.open("ab") as file:
        file.write(msgspec.json.encode(report) + b"\n")


def now() -> datetime:
    """The time of a report."""
    return datetime.now(UTC)
