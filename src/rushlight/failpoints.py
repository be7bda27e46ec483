"""Named places where a test can make this process die, fail or pause; where none is armed a place costs one look.

They lie at every step between a promise and its record. A process with one armed refuses to start unless it is told
that it is being tested (settings ``failpoints`` and ``testing``).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rushlight.errors import SetupError
from rushlight.settings import Settings

EXIT_CODE = 137  # what a shell says of a process that was killed with SIGKILL
RULE = re.compile(r"(?P<name>[a-z.]+)=(?P<what>die|raise|pause:(?P<seconds>\d+(\.\d+)?))(@(?P<hit>[1-9]\d*))?\Z")

# What is true at each place when it is reached.
FAILPOINTS: dict[str, str] = {
    "batch.read": "a page has come from the stream",
    "batch.sorted": "it is known what is new, repeated and poison; nothing is written",
    "batch.folded": "the figures are computed; nothing is written",
    "batch.committed": "a batch stands in the record, and its owner does not know it yet",
    "batch.remembered": "the owner knows that its batch was committed; nothing is cleared",
    "batch.noted": "what the batch settled waits to be cleared; nobody was told of the change",
    "batch.told": "the change was broadcast",
    "clear.before": "settled entries are about to leave their outboxes",
    "clear.after": "settled entries have left their outboxes",
    "commit.begun": "a transaction is open, and nothing is written in it",
    "commit.position": "in the transaction: the position has moved",
    "commit.journal": "in the transaction: the events are in the journal",
    "commit.projections": "in the transaction: the figures are written",
    "commit.people": "in the transaction: what names people is written",
    "commit.parking": "in the transaction: what was parked is retried or dropped; the counters do not know it",
    "commit.outcomes": "in the transaction: the other terminal records are written",
    "commit.ledger": "in the transaction: everything is written, and commitTransaction comes next",
    "erase.marked": "an erasure is known to every commit, and nothing is erased yet",
    "erase.journal": "some events of a person are cut loose, and others are not yet",
    "erase.subjects": "traits and parked parts are gone, and the links by which the rest is found are there",
    "gap.read": "versions were missing, and the outbox has been asked for them",
    "generation.lost": "the stream turns out to be another one than the position's",
    "generation.begun": "the position stands at the start of the new stream",
    "lease.taken": "a lease is taken, and its former owner's session may be open",
    "lease.ready": "a lease is taken, and the position's epoch is still the former owner's",
    "lease.claimed": "the position's epoch is the new owner's, which has not begun",
    "lease.beaten": "the leases were prolonged",
    "lease.drained": "an owner has stopped, and its lease is still its own",
    "lease.released": "a lease was given back",
    "parking.read": "a request about parked events and the events are read; nothing is decided",
    "replay.read": "a generation that is behind is about to fold some of the journal",
    "replay.committed": "it has moved on in the record, and its owner does not know it yet",
    "replay.deleted": "some documents of a retired generation are gone, and the rest is still there",
    "replay.deleting": "none of its documents are left, and the position still has a place for it",
    "sweep.read": "leftovers were read from the outbox",
    "trim.before": "the stream is about to be trimmed below the position",
    "trim.after": "the stream was trimmed",
    "log.opened": "a write-ahead log is registered, and nothing was acknowledged through it",
    "log.unwritten": "a group of records is about to be written",
    "log.synced": "the group is on disk, and nobody knows it yet",
    "log.sending": "records are on disk, and about to be appended to the streams",
    "log.sent": "records stand in the streams, and nobody noted where",
    "log.answering": "callers are about to be answered",
    "log.rolled": "a new segment's header is on disk, and its first records are not",
    "log.dropping": "a segment in which everything is settled is about to be removed",
    "log.dropped": "a settled segment was removed",
    "log.compacted": "a log at rest has begun its next segment, and the settled ones are still there",
    "log.publishing": "a log's figures are about to be published",
    "log.published": "a log's figures were published",
    "adopt.locked": "a log that was left behind is locked, and not read yet",
    "adopt.read": "it has been read, and is not registered as this process's",
    "adopt.registered": "it is registered as this process's, and nothing was sent",
    "order.received": "orders are about to be inserted",
    "order.stored": "orders are stored with their outboxes, and nobody was answered",
    "order.offered": "an order's events were offered to the stream, and its caller was not answered",
    "order.changing": "an order is about to change",
    "order.changed": "an order has changed, with its event in the outbox, and nobody was answered",
}


class Injected(OSError):
    """The failure that an armed failpoint raises: a fault of the machine, as far as the code can tell."""


Action = Callable[[], None]
_armed: dict[str, Action] = {}


def at(name: str) -> None:
    """Pass a place; one of `FAILPOINTS`."""
    if _armed:
        action = _armed.get(name)
        if action is not None:
            action()


def arm(settings: Settings) -> None:
    """Arm what the setting ``failpoints`` names, in a process that is being tested.

    The setting is a list, separated by blanks, of ``NAME=die``, ``NAME=raise`` or ``NAME=pause:SECONDS``; with ``@N``
    behind it only the N-th time.

    Raises:
        SetupError: this is no test, or a rule cannot be understood.
    """
    if not settings.failpoints:
        return
    if not settings.testing:
        raise SetupError("the setting failpoints makes processes die; it is only for tests: remove it")
    for rule in settings.failpoints.split():
        found = RULE.match(rule)
        if found is None or found["name"] not in FAILPOINTS:
            raise SetupError(f"setting failpoints: {rule!r} is not NAME=die|raise|pause:SECONDS[@N] of a known place")
        _armed[found["name"]] = _action(found["name"], found["what"], int(found["hit"] or 0))


@contextmanager
def armed(name: str, action: Action) -> Iterator[None]:
    """Within the block the place does what it is told, in this process.

    Args:
        action: called each time; what it raises comes out of the place.
    """
    if name not in FAILPOINTS:
        raise KeyError(name)
    _armed[name] = action
    try:
        yield
    finally:
        _armed.pop(name, None)


def _action(name: str, what: str, hit: int) -> Action:
    passed = 0

    def act() -> None:
        nonlocal passed
        passed += 1
        if hit and passed != hit:
            return
        os.write(2, f"failpoint {name}: {what}\n".encode())
        if what == "die":
            os._exit(EXIT_CODE)
        if what == "raise":
            raise Injected(f"failpoint {name}")
        time.sleep(float(what.partition(":")[2]))

    return act
