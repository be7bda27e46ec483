"""What a visitor did, as compact points of time in a canonical order: from them sessions can be told again and again.

A point is 17 bytes, and the points of a visitor are one string of bytes, ascending. What is not known of a point is
kept as the greatest value of its field, so that of two events of one moment the one that says more comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from struct import Struct
from typing import Any, NamedTuple

from rushlight.events.context import CHANNELS, CLICK_IDS, DEVICES
from rushlight.events.envelope import Envelope

_FORM = Struct(">QIBBHB")
SIZE = _FORM.size
NO_CAMPAIGN = 0xFFFFFFFF
NO_CODE = 0xFF
NO_OFFSET = 0xFFFF
_OFFSET_BIAS, _MAX_OFFSET = 2000, 1440
_VIEW = 0x80
_DEVICE_CODES = {name: code for code, name in enumerate(DEVICES)}
_CHANNEL_CODES = {name: code for code, name in enumerate(CHANNELS)}
_VIEWS = frozenset(("page_view", "screen"))
UNKNOWN_SOURCE = "(not set)"
MAX_SOURCE_CHARACTERS = 100


class Point(NamedTuple):
    """One event; times in milliseconds since 1970.

    Attributes:
        campaign: which campaign brought the visitor (`campaign_of`), or `NO_CAMPAIGN`. channel, device: their places
            in `CHANNELS` and `DEVICES`, or `NO_CODE`. offset: minutes from UTC, raised by a constant, or `NO_OFFSET`.
        bits: the funnel step, and whether a page or screen was seen.
    """

    at_ms: int
    campaign: int
    channel: int
    device: int
    offset: int
    bits: int

    @property
    def step(self) -> int:
        """The funnel step, 0 for none."""
        return self.bits & ~_VIEW

    @property
    def views(self) -> int:
        """1 for a page or screen that was seen, else 0."""
        return self.bits >> 7

    def local_day(self, before: int) -> int:
        """The number of the local day; an event that does not know the shop's clock goes by the one before it.

        Args:
            before: the offset that is in force before this point, or `NO_OFFSET`.
        """
        offset = before if self.offset == NO_OFFSET else self.offset
        minutes = 0 if offset == NO_OFFSET else offset - _OFFSET_BIAS
        return (self.at_ms + minutes * 60_000) // 86_400_000


def point_of(event: Envelope, at_ms: int, step: int) -> Point:
    """The point of an event."""
    context: dict[str, Any] = event.context or {}
    offset = context.get("utcOffset")
    return Point(
        at_ms=max(0, at_ms),
        campaign=campaign_of(context),
        channel=_CHANNEL_CODES.get(context.get("channel", ""), NO_CODE),
        device=_DEVICE_CODES.get(context.get("device", ""), NO_CODE),
        offset=NO_OFFSET if offset is None else max(-_MAX_OFFSET, min(_MAX_OFFSET, offset)) + _OFFSET_BIAS,
        bits=step | (_VIEW if event.name in _VIEWS else 0),
    )


def campaign_of(context: dict[str, Any]) -> int:
    """A number that tells campaigns apart: by source, medium, name and id, or else by the kind of click id."""
    campaign, click_id = context.get("campaign"), context.get("clickId")
    if not campaign and not click_id:
        return NO_CAMPAIGN
    told = [str(campaign.get(name, "")).lower() for name in ("medium", "name", "id")] if campaign else [str(click_id)]
    words = "\n".join([source_of(context), *told])
    return min(int.from_bytes(_digest(words)), NO_CAMPAIGN - 1)


def _digest(words: str) -> bytes:
    return blake2b(words.encode("utf-8", "replace"), digest_size=4).digest()


def source_of(context: dict[str, Any]) -> str:
    """The campaign's source, as campaigns are listed by it."""
    advertiser, _ = CLICK_IDS.get(context.get("clickId", ""), (None, None))
    source = (context.get("campaign") or {}).get("source") or advertiser
    return source.strip().lower()[:MAX_SOURCE_CHARACTERS] if source else UNKNOWN_SOURCE


def packed(point: Point) -> bytes:
    """The point as bytes, which are ordered as points are."""
    return _FORM.pack(*point)


def unpacked(points: bytes) -> Iterator[Point]:
    """The points of a visitor, ascending."""
    return map(Point._make, _FORM.iter_unpack(points))


def inserted(points: bytes, one: bytes) -> bytes:
    """The same points with one more."""
    if not points or one >= points[-SIZE:]:
        return points + one
    low, high = 0, len(points) // SIZE
    while low < high:
        middle = (low + high) // 2
        if points[middle * SIZE : (middle + 1) * SIZE] <= one:
            low = middle + 1
        else:
            high = middle
    return points[: low * SIZE] + one + points[low * SIZE :]
