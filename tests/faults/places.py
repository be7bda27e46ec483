"""Which process meets which failpoint, and how it is armed there; every failpoint belongs to exactly one of them."""

from __future__ import annotations

from rushlight.failpoints import FAILPOINTS

INGEST = tuple(name for name in FAILPOINTS if name.startswith("log."))
ADOPTER = tuple(name for name in FAILPOINTS if name.startswith("adopt."))
ORDERS = tuple(name for name in FAILPOINTS if name.startswith("order."))
# What needs somebody to ask for it dies where that is tested.
ELSEWHERE = {
    "parking.read": "tests/engine/test_parking.py",
    "commit.parking": "tests/engine/test_parking.py",
    "erase.marked": "tests/commands/test_erase.py",
    "erase.journal": "tests/commands/test_erase.py",
    "erase.subjects": "tests/commands/test_erase.py",
    "replay.read": "tests/engine/test_rebuild_processes.py",
    "replay.committed": "tests/engine/test_rebuild_processes.py",
    "replay.deleted": "tests/engine/test_rebuild_processes.py",
    "replay.deleting": "tests/engine/test_rebuild_processes.py",
}
WORKER = tuple(name for name in FAILPOINTS if name not in {*INGEST, *ADOPTER, *ORDERS, *ELSEWHERE})

# These come again and again: there the process dies in the midst of work, not at its first step.
OFTEN = ("batch.", "commit.", "order.", "log.unwritten", "log.synced", "log.sen", "log.ans")


def deadly(name: str) -> str:
    """The rule by which a process dies there."""
    return f"{name}=die@3" if name.startswith(OFTEN) else f"{name}=die"


def groups(names: tuple[str, ...], size: int) -> list[tuple[str, ...]]:
    """Those that are met in one go, by as many processes."""
    return [names[start : start + size] for start in range(0, len(names), size)]
