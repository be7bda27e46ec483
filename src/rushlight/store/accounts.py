"""In whose books an acknowledgement stands: the commit counts by the same accounts as those who acknowledged."""

from __future__ import annotations

from rushlight.store.outbox import ORIGIN as OUTBOX_ORIGIN

ORDERS_ACCOUNT = "orders"
LOG_ORIGIN = "w:"


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
