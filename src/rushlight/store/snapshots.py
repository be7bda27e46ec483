"""When a snapshot cannot be read any more, or not yet, a later one can."""

from __future__ import annotations

from pymongo.errors import OperationFailure, PyMongoError

# The history was given up, or a collection or an index was made after the snapshot.
SNAPSHOT_TOO_OLD, SNAPSHOT_UNAVAILABLE = 239, 246
RETRY_SECONDS = 0.05


def is_snapshot_gone(error: PyMongoError) -> bool:
    """Whether the same reads would succeed on a newer snapshot."""
    return isinstance(error, OperationFailure) and error.code in (SNAPSHOT_TOO_OLD, SNAPSHOT_UNAVAILABLE)
