"""What the demo makes of a ledger as `GET /api/v1/ledger` gives it."""

from __future__ import annotations

from typing import Any


def settled(ledger: dict[str, Any]) -> int:
    """How many acknowledgements have come to their end."""
    total = ledger["total"]
    return sum(int(total[column]) for column in ("stored", "duplicate", "parked", "dropped"))


def is_at_rest(ledger: dict[str, Any]) -> bool:
    """Whether nothing is pending and every acknowledgement is accounted for."""
    return bool(ledger["balanced"]) and ledger["total"]["acknowledged"] == settled(ledger)


def has_settled(ledger: dict[str, Any], acknowledged: int) -> bool:
    """Whether the books agree and as much has come to its end as was acknowledged at an earlier time.

    While a sale goes on nothing is ever at rest, and books that agree alone say nothing of what is still pending.
    """
    return bool(ledger["balanced"]) and settled(ledger) >= acknowledged
