"""A visitor's sessions: a function of the points of time in their order, whatever order they were heard in.

A session ends after 30 minutes without an event, at the shop's midnight, and where another campaign brings the visitor
back. Late events are read among the latest 100 of a visitor; from before those only the session that was open is
remembered, and an event that is older changes no session.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

from rushlight.projections.points import NO_CAMPAIGN, NO_CODE, NO_OFFSET, SIZE, Point, inserted, packed, unpacked

SESSION_GAP_MS = 30 * 60 * 1000
# What a page reports before it says which campaign led to it is of the same session.
ARRIVAL_MS = 5000
ENGAGED_MS = 10_000
ENGAGED_VIEWS = 2
PURCHASE = 5
MAX_POINTS = 100


class Session(NamedTuple):
    """A session as far as it is known; times in milliseconds since 1970.

    Attributes:
        day: the local day. campaign, channel, device: the first known, as in `Point`. step: the furthest funnel step.
        views: pages and screens. offset: the shop's clock at the last event that knew it.
    """

    start: int
    last: int
    day: int
    campaign: int
    channel: int
    device: int
    step: int
    views: int
    offset: int

    @property
    def engaged(self) -> bool:
        """It lasted ten seconds, saw two pages, or ended in a purchase."""
        return self.last - self.start >= ENGAGED_MS or self.views >= ENGAGED_VIEWS or self.step >= PURCHASE


class Change(NamedTuple):
    """Sessions that are no more, and those that are instead."""

    gone: list[Session]
    come: list[Session]


NO_CHANGE = Change([], [])


def hear(visitor: dict[str, Any], point: Point) -> Change:
    """Add an event to a visitor.

    Args:
        visitor: the document; of it ``points``, ``open`` (the latest session) and ``base`` (the session that was open
            before the first of the points) are kept here.
    """
    base, latest = _session(visitor.get("base")), _session(visitor.get("open"))
    if base is not None and point.at_ms < base.last:
        return NO_CHANGE
    before: bytes = visitor.get("points", b"")
    one = packed(point)
    points = inserted(before, one)
    if latest is None or one >= before[-SIZE:]:
        now, joined = follow(latest, point)
        change = Change([latest] if joined and latest else [], [now])
    else:
        now, change = _late(before, point, base, latest)
    visitor["open"] = list(now)
    if len(points) > MAX_POINTS * SIZE:
        (oldest,) = unpacked(points[:SIZE])
        visitor["base"] = list(follow(base, oldest)[0])
        points = points[SIZE:]
    visitor["points"] = points
    return change


def _late(before: bytes, point: Point, base: Session | None, latest: Session) -> tuple[Session, Change]:
    """The latest session, and what changes, when a point turns up among those that are known."""
    old = base
    gone: list[Session] = []
    come: list[Session] = []
    rest = unpacked(before)
    for following in rest:
        if following > point:
            break
        old, _ = follow(old, following)
    new, joined = follow(old, point)
    if old is not None and not joined:
        come.append(old)
    # From where both tellings are in the same session, they go on the same.
    for each in chain((following,), rest):
        if old == new:
            return latest, _changed(gone, come)
        now, joined = follow(old, each)
        if old is not None and not joined:
            gone.append(old)
        old = now
        now, joined = follow(new, each)
        if not joined:
            come.append(new)
        new = now
    return new, _changed([*gone, old] if old is not None else gone, [*come, new])


def _changed(gone: list[Session], come: list[Session]) -> Change:
    return Change([each for each in gone if each not in come], [each for each in come if each not in gone])


def follow(latest: Session | None, point: Point) -> tuple[Session, bool]:
    """The session that a point is in, and whether it is the latest one, continued."""
    at_ms, campaign, channel, device, clock, _ = point
    known = NO_OFFSET if latest is None else latest.offset
    day = point.local_day(known)
    offset = known if clock == NO_OFFSET else clock
    if latest is None or _ends(latest, point, day):
        return Session(at_ms, at_ms, day, campaign, channel, device, point.step, point.views, offset), False
    return Session(
        latest.start,
        at_ms,
        latest.day,
        campaign if latest.campaign == NO_CAMPAIGN else latest.campaign,
        channel if latest.channel == NO_CODE else latest.channel,
        device if latest.device == NO_CODE else latest.device,
        max(latest.step, point.step),
        latest.views + point.views,
        offset,
    ), True


def _ends(latest: Session, point: Point, day: int) -> bool:
    if point.at_ms - latest.last > SESSION_GAP_MS or day != latest.day:
        return True
    if point.campaign in (NO_CAMPAIGN, latest.campaign):
        return False
    return latest.campaign != NO_CAMPAIGN or point.at_ms - latest.start > ARRIVAL_MS


def _session(stored: list[int] | None) -> Session | None:
    return None if stored is None else Session(*stored)
