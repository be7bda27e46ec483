"""In whose books an acknowledgement stands: the commit counts by the same accounts as those who acknowledged."""

from __future__ import annotations

from pymongo.asynchronous.client_session import AsyncClientSession

from rushlight.store.database import Database
from rushlight.store.outbox import ORIGIN as OUTBOX_ORIGIN

ORDERS_ACCOUNT = "orders"
LOG_ORIGIN = "w:"


TERMINAL_COLUMNS = ("stored", "duplicate", "parked", "dropped")


async def counted(database: Database, session: AsyncClientSession | None = None) -> dict[str, dict[str, int]]:
    """The counters of terminal records, by account and column.

    Args:
        session: look at its snapshot instead of the present.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    columns: dict[str, dict[str, int]] = {}
    async for counter in database.ledger.find({}, session=session):
        of_source = columns.setdefault(counter["source"], dict.fromkeys(TERMINAL_COLUMNS, 0))
        for column in TERMINAL_COLUMNS:
            of_source[column] += counter.get(column, 0)
        # What could not even be read is set aside in sight as well.
        of_source["parked"] += counter.get("unreadable", 0)
    return columns


def account_of(origin: str, source: str) -> str | None:
    """The ledger account of an acknowledgement.

    Args:
        origin: ``o:…`` for an order's outbox, ``w:…`` for a write-ahead log.
        source: the event's.

    Returns:
        ``orders`` for every outbox, whatever source its events name; the source for a log's records; None for what
        nobody acknowledged, because it was published without a log: it stands beside the ledger.
    """
    if origin.startswith(OUTBOX_ORIGIN):
        return ORDERS_ACCOUNT
    return source if origin.startswith(LOG_ORIGIN) else None
