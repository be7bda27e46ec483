"""What a session adds to the figures: the funnel, and how many there were by channel, device and campaign."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from rushlight.events.context import CHANNELS, DEVICES
from rushlight.projections import keys
from rushlight.projections.points import NO_CAMPAIGN, NO_CODE, UNKNOWN_SOURCE
from rushlight.projections.session import Change, Session

Counts = dict[str, dict[str, int]]
DIRECT, UNKNOWN_DEVICE = "direct", "unknown"


def counts(change: Change, shop: str, sources: Mapping[str, str]) -> Counts:
    """By document key and path what a change of sessions changes; not to be changed by the caller.

    Args:
        sources: the visitor's campaigns' sources, by the campaign's number as text.
    """
    gone, come = change
    if not gone and len(come) == 1:
        return _of(come[0], shop, sources)
    if len(gone) == len(come) == 1 and _kind(gone[0]) == _kind(come[0]):
        return {}
    total: Counts = {}
    for sign, some in ((-1, gone), (1, come)):
        for session in some:
            for key, places in _of(session, shop, sources).items():
                sums = total.setdefault(key, {})
                for path in places:
                    sums[path] = sums.get(path, 0) + sign
    changed = {key: {path: count for path, count in sums.items() if count} for key, sums in total.items()}
    return {key: sums for key, sums in changed.items() if sums}


def _kind(session: Session) -> tuple[int, ...]:
    return (*(session.start, session.campaign, session.channel, session.device, session.step), session.engaged)


def _of(session: Session, shop: str, sources: Mapping[str, str]) -> Counts:
    source = None if session.campaign == NO_CAMPAIGN else sources.get(str(session.campaign), UNKNOWN_SOURCE)
    quarter = session.start // keys.QUARTER_MS
    return _places(shop, quarter, session.channel, session.device, session.step, session.engaged, source)


@lru_cache(2048)
def _places(shop: str, quarter: int, channel: int, device: int, step: int, engaged: bool, source: str | None) -> Counts:
    """Where one session counts; most sessions of a quarter-hour count in the same few places."""
    day, of_day = keys.day_and_quarter(quarter)
    path = f"q.{of_day}."
    by_channel = DIRECT if channel == NO_CODE else CHANNELS[channel]
    by_device = UNKNOWN_DEVICE if device == NO_CODE else DEVICES[device]
    kinds = {f"{path}n": 1, f"{path}c.{by_channel}": 1, f"{path}d.{by_device}": 1}
    if engaged:
        kinds[f"{path}e"] = 1
    places = {f"{shop}/s/{day}": kinds}
    if step:
        places[f"{shop}/f/{day}"] = {f"{path}{reached}": 1 for reached in range(1, step + 1)}
    if source is not None:
        places[f"{shop}/u/{day}/{keys.part(source)}"] = {f"{path}n": 1}
    return places
