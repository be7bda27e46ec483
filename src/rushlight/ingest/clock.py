"""When something happened, by a sender's clock that may be wrong.

``sentAt`` is by the same clock as the event's own time, so that their difference is right even when neither is. The
result is never part of an id: a resend has another ``sentAt``.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A time beyond these is no time.
FIRST_YEAR, LAST_YEAR = 1990, 9000
# Seconds of the year 5138 and milliseconds of 1973: a smaller number is seconds.
MILLISECONDS_FROM = 100_000_000_000


def moment(value: Any) -> datetime | None:
    """A time as senders write it: ISO 8601, or a number of seconds or milliseconds since 1970; UTC without an offset.

    None for what cannot be read as a time.
    """
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(value.strip())
            return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return EPOCH + timedelta(seconds=value / 1000 if abs(value) >= MILLISECONDS_FROM else value)
    except (ValueError, OverflowError):
        pass
    return None


def corrected(happened: Any, sent: Any, received_at: datetime) -> datetime | None:
    """``received_at - (sent - happened)``, at most ``received_at``; as the sender says where that makes no sense.

    Args:
        happened, sent: by the sender's clock, as `moment` reads them. received_at: by ours.

    Returns:
        None when the sender does not say when it happened, or no time since 1990.
    """
    said, by_sender = moment(happened), moment(sent)
    if said is None:
        return None
    if by_sender is not None:
        with suppress(OverflowError):
            at = received_at - (by_sender - said)
            if at.year >= FIRST_YEAR:
                return min(at, received_at)
    return min(said, received_at) if said.year >= FIRST_YEAR else None
