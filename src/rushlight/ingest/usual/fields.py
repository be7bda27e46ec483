"""Fields of usual messages: who, when, and texts; what is otherwise makes a message unusual."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from rushlight.ingest.clock import FIRST_YEAR, LAST_YEAR
from rushlight.ingest.names import MAX_ID_CHARACTERS, MAX_LINK_CHARACTERS, MAX_TEXT_CHARACTERS
from rushlight.ingest.usual.shapes import Message

UNSAID = (None, "")


class Unusual(Exception):
    """The message has to be read in full."""


class Came(NamedTuple):
    """How a message came.

    Attributes:
        received_at: by our clock. context: of its batch. sent_at: of its batch.
    """

    received_at: datetime
    context: bytes = b""
    sent_at: Any = None


def who(message: Message) -> tuple[str, str | None]:
    """Visitor and customer.

    Raises:
        Unusual: as everything here.
    """
    user, anonymous = message.user_id, message.anonymous_id
    customer = identifier(user) if user is not None and user != "" else None
    if anonymous is not None and anonymous != "":
        return identifier(anonymous), customer
    if customer is None:
        raise Unusual
    return customer, customer


def identifier(value: Any) -> str:
    """An id that is one."""
    if value.__class__ is str and 0 < len(value) <= MAX_ID_CHARACTERS and value.isprintable():
        return value
    raise Unusual


def short_id(value: str | None) -> str | None:
    """An id; None for what is none."""
    return value if value and len(value) <= MAX_ID_CHARACTERS else None


def text_of(value: Any) -> str | None:
    """A text; None for nothing and for an empty one."""
    if value is None or value == "":
        return None
    if value.__class__ is str and len(value) <= MAX_TEXT_CHARACTERS:
        return value
    raise Unusual


def link_of(value: str | None) -> str | None:
    """An address; None for nothing and for an empty one."""
    if value and len(value) > MAX_LINK_CHARACTERS:
        raise Unusual
    return value or None


def happened(message: Message, came: Came) -> datetime | None:
    """As `rushlight.ingest.clock.corrected` of the usual: times in UTC that make sense."""
    said = message.timestamp if message.original_timestamp in UNSAID else message.original_timestamp
    if said in UNSAID:
        return None
    sent = message.sent_at or came.sent_at
    try:
        at = _utc(said)
        if sent not in UNSAID:
            at = came.received_at - (_utc(sent) - at)
    except (OverflowError, ValueError, TypeError):
        raise Unusual from None
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise Unusual
    return min(at, came.received_at)


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not UTC or moment.year < FIRST_YEAR:
        raise Unusual
    return moment
