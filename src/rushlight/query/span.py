"""A range of time in whole minutes, cut into whole UTC days, quarter-hours and the minutes at its edges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from rushlight.errors import Rejected
from rushlight.query.zones import day_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
MAX_DAYS = 3660
MAX_TEXT_CHARACTERS = 40
MINUTES_A_QUARTER = 15
MINUTES_AN_HOUR = 60
QUARTERS_A_DAY = 96

# In a query string an unescaped "+" means a space: "…T00:00:00+02:00" arrives with one before the offset.
SPACED_OFFSET = re.compile(r" (?=\d\d:?\d\d\Z)")


class Stretch(NamedTuple):
    """Cells ``low <= i < high`` of one document, whose key ends with ``unit`` (a UTC day or hour)."""

    unit: str
    low: int
    high: int


class Span(msgspec.Struct, frozen=True):
    """From ``start`` (inclusive) to ``end`` (exclusive): UTC, whole minutes, not empty."""

    start: datetime
    end: datetime

    @property
    def minutes(self) -> tuple[int, int]:
        """Both ends in minutes since 1970."""
        return minute_of(self.start), minute_of(self.end)

    def quarters(self) -> Iterator[Stretch]:
        """The whole quarter-hours inside, by UTC day."""
        start, end = self.minutes
        quarter, last = -(-start // MINUTES_A_QUARTER), end // MINUTES_A_QUARTER
        while quarter < last:
            day, low = divmod(quarter, QUARTERS_A_DAY)
            high = min(QUARTERS_A_DAY, low + last - quarter)
            yield Stretch(moment_of(day * 24 * MINUTES_AN_HOUR).isoformat()[:10], low, high)
            quarter += high - low

    def edges(self) -> Iterator[Stretch]:
        """The minutes before the first and after the last whole quarter-hour, by UTC hour."""
        start, end = self.minutes
        first = min(end, -(-start // MINUTES_A_QUARTER) * MINUTES_A_QUARTER)
        last = max(first, end // MINUTES_A_QUARTER * MINUTES_A_QUARTER)
        for begin, finish in ((start, first), (last, end)):
            yield from _hours(begin, finish)

    def every_minute(self) -> Iterator[Stretch]:
        """All minutes inside, by UTC hour."""
        yield from _hours(*self.minutes)


def _hours(start: int, end: int) -> Iterator[Stretch]:
    while start < end:
        hour, low = divmod(start, MINUTES_AN_HOUR)
        high = min(MINUTES_AN_HOUR, low + end - start)
        yield Stretch(moment_of(hour * MINUTES_AN_HOUR).isoformat()[:13], low, high)
        start += high - low


def minute_of(moment: datetime) -> int:
    """Whole minutes since 1970."""
    return int(moment.timestamp()) // 60


def moment_of(minute: int) -> datetime:
    """The moment of a minute since 1970, in UTC."""
    return EPOCH + timedelta(minutes=minute)


def parse_moment(text: str, field: str) -> datetime:
    """A moment in UTC.

    Raises:
        Rejected: not ISO 8601 with an offset, not on a whole minute, or out of range; names the field.
    """
    try:
        moment = datetime.fromisoformat(SPACED_OFFSET.sub("+", text[:MAX_TEXT_CHARACTERS]))
    except ValueError as error:
        raise Rejected("must be ISO 8601 with an offset, such as 2026-11-27T00:00:00Z", field=field) from error
    if moment.tzinfo is None:
        raise Rejected("needs an offset, such as Z or +01:00", field=field)
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise Rejected("is out of range", field=field) from error
    if moment.second or moment.microsecond:
        raise Rejected("must be on a whole minute", field=field)
    if not EPOCH <= moment <= LATEST:
        raise Rejected("must be from 1970 to 2199", field=field)
    return moment


def parse_span(
    start: str | None, end: str | None, *, local: ZoneInfo, present: datetime, max_days: int = MAX_DAYS
) -> Span:
    """The range that a query asks for; by default the local day that the present is in.

    Args:
        start, end: the texts of ``from`` and ``to``; without ``to`` it is the end of the day in which ``from``, or
            else the present, is (whichever is later).

    Raises:
        Rejected: naming ``from`` or ``to``.
    """
    today = day_of(present, local)
    begin = today[0] if start is None else parse_moment(start, "from")
    finish = max(today[1], day_of(begin, local)[1]) if end is None else parse_moment(end, "to")
    if finish <= begin:
        raise Rejected("must be later than from" if end is not None else "must be earlier than to", field="to")
    if finish - begin > timedelta(days=max_days):
        raise Rejected(f"must be at most {max_days} days after from", field="to")
    return Span(begin, finish)


def require_quarters(span: Span) -> Span:
    """The span, if both ends stand on quarter-hours.

    Raises:
        Rejected: naming the end that does not.
    """
    for field, edge in (("from", span.start), ("to", span.end)):
        if minute_of(edge) % MINUTES_A_QUARTER:
            raise Rejected("must be on a quarter-hour", field=field)
    return span
