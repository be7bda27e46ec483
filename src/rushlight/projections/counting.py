"""What a session adds to the figures: the funnel, and how many there were by channel, device and campaign."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from rushlight.events.context import CHANNELS, DEVICES
from rushlight.projections import keys
from rushlight.projections.points import NO_CAMPAIGN, NO_CODE, UNKNOWN_SOURCE
from rushlight.projections.session import Change, Session

Counts = dict[str, dict[str, int]]
DIRECT, UNKNOWN_DEVICE = "direct", "unknown"


class _Place(NamedTuple):
    """By what sessions are told apart in the figures.

    Attributes:
        quarter: the quarter-hour in which it began, by its number since 1970. source: of its campaign, if it has one.
    """

    quarter: int
    channel: int
    device: int
    step: int
    engaged: bool
    source: str | None


def counts(change: Change, shop: str, sources: Mapping[str, str]) -> Counts:
    """By document key and path what a change of sessions changes; the caller must not change that.

    Args:
        sources: the visitor's campaigns' sources, by the campaign's number as text.
    """
    gone, come = ([_place(session, sources) for session in some] for some in change)
    return {} if gone == come else _difference(shop, tuple(gone), tuple(come))


def _place(session: Session, sources: Mapping[str, str]) -> _Place:
    campaign = session.campaign
    source = None if campaign == NO_CAMPAIGN else sources.get(str(campaign), UNKNOWN_SOURCE)
    quarter = session.start // keys.QUARTER_MS
    return _Place(quarter, session.channel, session.device, session.step, session.engaged, source)


@lru_cache(4096)
def _difference(shop: str, gone: tuple[_Place, ...], come: tuple[_Place, ...]) -> Counts:
    """Most sessions of a quarter-hour begin and go on in the same few ways."""
    total: Counts = {}
    for sign, some in ((-1, gone), (1, come)):
        for place in some:
            for key, path in _paths(place, shop):
                sums = total.setdefault(key, {})
                sums[path] = sums.get(path, 0) + sign
    changed = {key: {path: count for path, count in sums.items() if count} for key, sums in total.items()}
    return {key: sums for key, sums in changed.items() if sums}


def _paths(place: _Place, shop: str) -> list[tuple[str, str]]:
    day, quarter = keys.day_and_quarter(place.quarter)
    path = f"q.{quarter}."
    funnel, kinds = f"{shop}/f/{day}", f"{shop}/s/{day}"
    channel = DIRECT if place.channel == NO_CODE else CHANNELS[place.channel]
    device = UNKNOWN_DEVICE if place.device == NO_CODE else DEVICES[place.device]
    paths = [(funnel, f"{path}{reached}") for reached in range(1, place.step + 1)]
    paths += [(kinds, f"{path}n"), (kinds, f"{path}c.{channel}"), (kinds, f"{path}d.{device}")]
    if place.engaged:
        paths.append((kinds, f"{path}e"))
    if place.source is not None:
        paths.append((f"{shop}/u/{day}/{keys.part(place.source)}", f"{path}n"))
    return paths
