"""What a session adds to the figures: the funnel, and how many there were by channel, device and campaign."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from rushlight.events.context import CHANNELS, DEVICES
from rushlight.projections import keys
from rushlight.projections.points import NO_CAMPAIGN, NO_CODE, UNKNOWN_SOURCE
from rushlight.projections.session import Change, Session

Counts = dict[tuple[str, str], int]
DIRECT, UNKNOWN_DEVICE = "direct", "unknown"


def counts(change: Change, shop: str, sources: Mapping[str, str]) -> Counts:
    """By (document key, path) what a change of sessions changes.

    Args:
        sources: the visitor's campaigns' sources, by the campaign's number as text.
    """
    if len(change.gone) == len(change.come) == 1 and _kind(change.gone[0]) == _kind(change.come[0]):
        return {}
    total: Counts = {}
    for sign, some in ((-1, change.gone), (1, change.come)):
        for session in some:
            for place in _places(session, shop, sources):
                total[place] = total.get(place, 0) + sign
    return {place: count for place, count in total.items() if count}


def _kind(session: Session) -> tuple[int, ...]:
    return (*(session.start, session.campaign, session.channel, session.device, session.step), session.engaged)


def _places(session: Session, shop: str, sources: Mapping[str, str]) -> list[tuple[str, str]]:
    start = datetime.fromtimestamp(session.start // 1000, UTC)
    day, path = keys.day(start), f"q.{keys.quarter_of_day(start)}."
    funnel, kinds = f"{shop}/f/{day}", f"{shop}/s/{day}"
    channel = DIRECT if session.channel == NO_CODE else CHANNELS[session.channel]
    device = UNKNOWN_DEVICE if session.device == NO_CODE else DEVICES[session.device]
    places = [(funnel, f"{path}{reached}") for reached in range(1, session.step + 1)]
    places += [(kinds, f"{path}n"), (kinds, f"{path}c.{channel}"), (kinds, f"{path}d.{device}")]
    if session.engaged:
        places.append((kinds, f"{path}e"))
    if session.campaign != NO_CAMPAIGN:
        source = sources.get(str(session.campaign), UNKNOWN_SOURCE)
        places.append((f"{shop}/u/{day}/{keys.part(source)}", f"{path}n"))
    return places
