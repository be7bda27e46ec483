"""Takes single entries out of the streams: those that were committed and should not wait there to be trimmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rushlight.bus.link import Link
from rushlight.bus.stream import entry_before, stream_key
from rushlight.errors import Unavailable

PAGE_ENTRIES = 500
CALL_TIMEOUT_SECONDS = 5.0


async def scrub(url: str, positions: Mapping[int, str], is_meant: Callable[[bytes], bool]) -> tuple[int, int]:
    """Delete what is meant and was committed.

    Args:
        positions: the last entry that was committed, by partition. is_meant: decides by an entry's bytes.

    Returns:
        How many entries were deleted, and how many are meant and stand there uncommitted.

    Raises:
        Unavailable: Redis does not answer.
    """
    link = Link(url)
    deleted = waiting = 0
    try:
        for partition, committed in positions.items():
            key, start = stream_key(partition), "-"
            while True:
                command = ("XRANGE", key, start, "+", "COUNT", PAGE_ENTRIES)
                (rows,) = await link.call(command, timeout_seconds=CALL_TIMEOUT_SECONDS)
                if isinstance(rows, Exception):
                    raise Unavailable(f"Redis refuses to read {key}: {rows}")
                meant = [entry.decode() for entry, fields in rows if fields and is_meant(bytes(fields[1]))]
                gone = [entry for entry in meant if not entry_before(committed, entry)]
                waiting += len(meant) - len(gone)
                if gone:
                    (count,) = await link.call(("XDEL", key, *gone), timeout_seconds=CALL_TIMEOUT_SECONDS)
                    deleted += count if isinstance(count, int) else 0
                if len(rows) < PAGE_ENTRIES:
                    break
                start = f"({rows[-1][0].decode()}"
    finally:
        await link.close()
    return deleted, waiting


async def forget(url: str) -> None:
    """Have Redis write its append-only file anew, if it keeps one, so that what was deleted does not stay in it.

    Raises:
        Unavailable: Redis does not answer.
    """
    link = Link(url)
    try:
        (said,) = await link.call(("INFO", "persistence"), timeout_seconds=CALL_TIMEOUT_SECONDS)
        if isinstance(said, bytes) and b"aof_enabled:1" in said:
            await link.call(("BGREWRITEAOF",), timeout_seconds=CALL_TIMEOUT_SECONDS)
    finally:
        await link.close()
