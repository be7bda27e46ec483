"""Where days and hours begin in a shop's time zone; instants are UTC, and cuts are local."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from rushlight.errors import Rejected

MAX_NAME_CHARACTERS = 64
ONE_HOUR = timedelta(hours=1)


@lru_cache(maxsize=64)
def zone(name: str, field: str = "timeZone") -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        Rejected: there is none of that name.
    """
    try:
        if len(name) > MAX_NAME_CHARACTERS or not name.isascii():
            raise ValueError(name)
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Rejected(f"{name[:MAX_NAME_CHARACTERS]!r} is no IANA time zone", field=field, code="time_zone") from error


def midnight(day: date, local: ZoneInfo) -> datetime:
    """The first instant of a local day, in UTC; where clocks skip midnight it is the instant at which they do."""
    return datetime(day.year, day.month, day.day, tzinfo=local).astimezone(UTC)


def day_of(moment: datetime, local: ZoneInfo) -> tuple[datetime, datetime]:
    """First instant of the local day of a moment, and of the next, in UTC."""
    day = moment.astimezone(local).date()
    return midnight(day, local), midnight(day + timedelta(days=1), local)


def local_day(moment: datetime, local: ZoneInfo) -> datetime:
    """When the local day of a moment began, with the local offset."""
    return midnight(moment.astimezone(local).date(), local).astimezone(local)


def local_hour(moment: datetime, local: ZoneInfo) -> datetime:
    """When the local hour of a moment began, with the local offset.

    An hour begins on the full hour and wherever the clocks are changed, so the hour that is lived twice in autumn is
    two hours.
    """
    here = moment.astimezone(local)
    full = here.replace(minute=0, second=0, microsecond=0, fold=here.fold)
    begun = full.astimezone(UTC)
    if full.utcoffset() == here.utcoffset() and moment - begun < ONE_HOUR and begun.astimezone(local) == full:
        return full
    return _change_before(moment, local).astimezone(local)


def _change_before(moment: datetime, local: ZoneInfo) -> datetime:
    """The change of offset that happened within the hour before a moment, found by bisection to the minute."""
    late = int(moment.timestamp()) // 60
    early = late - 60
    offset = moment.astimezone(local).utcoffset()
    while late - early > 1:
        middle = (early + late) // 2
        at = datetime.fromtimestamp(middle * 60, UTC).astimezone(local)
        early, late = (early, middle) if at.utcoffset() == offset else (middle, late)
    return datetime.fromtimestamp(late * 60, UTC)
