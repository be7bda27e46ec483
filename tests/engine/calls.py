"""A reaction that notes each call in a file, for processes that are killed, and what is wrong with such notes.

``CALLS_FILE`` is where calls are noted; ``CALLS_SECONDS`` how long a call takes; ``CALLS_BUG`` seeds a bug.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rushlight import Envelope, OrderCancelled, OrderCreated, OrderPaid, OrderRefunded, OrderShipped, subscribe
from rushlight.engine.tracking import Track
from rushlight.events.event import Event

ORDER_EVENTS = (OrderCreated, OrderPaid, OrderShipped, OrderRefunded, OrderCancelled)
NAME = "noted"


class Call(NamedTuple):
    """One line of the notes."""

    what: str
    pid: int
    event_id: str
    aggregate: str
    version: int


def note(file: Path | str, what: str, event: Envelope) -> None:
    """Append a line in one write, so that what is noted survives the process."""
    line = f"{what} {os.getpid()} {event.id} {event.aggregate_id} {event.version}\n"
    with Path(file).open("ab", buffering=0) as notes:
        notes.write(line.encode())


def read(file: Path) -> list[Call]:
    """All that was noted."""
    lines = file.read_text().splitlines() if file.exists() else []
    fields = [line.split() for line in lines]
    return [Call(what, int(pid), event, aggregate, int(version)) for what, pid, event, aggregate, version in fields]


def audit(calls: Iterable[Call], expected: Iterable[Envelope]) -> list[str]:
    """What is wrong with the calls: lost, unknown, before an earlier one of its aggregate, two of one at once."""
    wanted = {event.id: event for event in expected}
    versions: dict[str, list[int]] = defaultdict(list)
    for event in wanted.values():
        versions[event.aggregate_id].append(event.version or 0)
    done: dict[str, set[int]] = defaultdict(set)
    running: dict[tuple[str, int], str] = {}
    wrong: list[str] = []
    for call in calls:
        where = (call.aggregate, call.pid)
        if call.event_id not in wanted:
            wrong.append(f"unknown: {call.event_id}")
        if call.what == "begin":
            if where in running:
                wrong.append(f"at once: {call.aggregate} {call.version}")
            earlier = {version for version in versions[call.aggregate] if version < call.version}
            if missing := earlier - done[call.aggregate]:
                wrong.append(f"order: {call.aggregate} {call.version} before {sorted(missing)}")
            running[where] = call.event_id
        else:
            running.pop(where, None)
            if call.what == "end":
                done[call.aggregate].add(call.version)
    lost = [e for e in wanted.values() if e.version not in done[e.aggregate_id]]
    return wrong + [f"lost: {event.name} of {event.aggregate_id}" for event in lost]


if "CALLS_FILE" in os.environ:
    _FILE = os.environ["CALLS_FILE"]
    _SECONDS = float(os.environ.get("CALLS_SECONDS", "0"))

    @subscribe(*ORDER_EVENTS, name=NAME, start="first")
    async def noted(event: Event, envelope: Envelope) -> None:
        """Note the beginning and the end of the call, also when it is cancelled because its lease is lost."""
        what = "failed"
        note(_FILE, "begin", envelope)
        try:
            await asyncio.sleep(_SECONDS)
            what = "end"
        finally:
            note(_FILE, what, envelope)


def position_before_handler(track: type[Track]) -> None:
    """The bug: what was read counts as done before it is handled."""

    def begin(self: Track, seq: int) -> None:
        """Forget that it is open."""

    track.begin = begin  # type: ignore[method-assign]


if os.environ.get("CALLS_BUG") == "position before handler":
    position_before_handler(Track)
