"""Names of projection documents: ``generation/partition/shop/key``; a prefix is a range of the ``_id`` index."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

from rushlight.events.envelope import EPOCH

QUARTER_MINUTES = 15
QUARTER_MS = QUARTER_MINUTES * 60_000


def part(text: str) -> str:
    """An id as one part of a key: ``/`` and the escape itself are escaped."""
    return text.replace("%", "%25").replace("/", "%2F") if "/" in text or "%" in text else text


def document_id(generation: int, partition: int, key: str) -> str:
    """``_id`` of a document whose key begins with its shop."""
    return f"{generation}/{partition:02d}/{key}"


def prefix_range(prefix: str) -> dict[str, str]:
    """Condition on ``_id`` for all documents under a prefix that ends with ``/``."""
    return {"$gte": prefix, "$lt": f"{prefix[:-1]}0"}  # "0" follows "/" in every encoding


def hour(moment: datetime) -> str:
    """UTC hour: ``2026-11-24T06``."""
    return moment.isoformat()[:13]


def day(moment: datetime) -> str:
    """UTC day: ``2026-11-24``."""
    return moment.isoformat()[:10]


def minute_of_hour(moment: datetime) -> str:
    """``00`` to ``59``."""
    return f"{moment.minute:02d}"


def quarter_of_day(moment: datetime) -> str:
    """``00`` to ``95``: the quarter-hour of the UTC day."""
    return f"{moment.hour * 4 + moment.minute // QUARTER_MINUTES:02d}"


@lru_cache(1024)
def day_and_quarter(quarter: int) -> tuple[str, str]:
    """`day` and `quarter_of_day` of a quarter-hour, by its number since 1970."""
    moment = EPOCH + timedelta(milliseconds=quarter * QUARTER_MS)
    return day(moment), quarter_of_day(moment)
