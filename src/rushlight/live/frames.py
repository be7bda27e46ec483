"""Frames of `analyticsUpdate`: a snapshot holds every figure, a delta those that changed since the frame before.

Each is encoded once, whoever watches. Applying every delta to a snapshot gives the next snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from bson.int64 import Int64

from rushlight.live.picture import Picture
from rushlight.live.shapes import LivePoint
from rushlight.query.counters import Total
from rushlight.query.span import moment_of

STEP = b'"minute"'

Points = dict[str, dict[int, bytes]]


def _plain(value: Any) -> Any:
    if isinstance(value, Int64):
        return int(value)
    raise NotImplementedError(f"{type(value).__name__} has no place in a frame")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


class Frames:
    """The sequence of frames of one shop.

    Attributes:
        version: of the last frame; it rises by one from frame to frame.
    """

    def __init__(self, shop: str, first_version: int = 0) -> None:
        self.version = first_version
        self._shop = shop
        self._figures: dict[str, bytes] = {}
        self._points: Points = {}
        self._series_from = 0
        self._picture: Picture | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there has been no picture yet."""
        return self._picture is None

    def advance(self, picture: Picture) -> bytes:
        """Take the next picture.

        Returns:
            The delta from the one before (from nothing, if it is the first), as JSON.
        """
        figures = {name: _encoder.encode(value) for name, value in picture.figures.items()}
        points = {
            currency: {at: _encoder.encode(point) for at, point in of_currency.items()}
            for currency, of_currency in picture.points.items()
        }
        changed = {name: value for name, value in figures.items() if self._figures.get(name) != value}
        series = self._changed_points(points, picture)
        if series or self._series_from != picture.series_from:
            changed["series"] = _series(picture.series_from, series, picture)
        self._figures, self._points, self._series_from = figures, points, picture.series_from
        self._picture = picture
        self.version += 1
        return self._frame(changed, picture.as_of)

    def repeat(self, as_of: datetime) -> bytes:
        """A delta in which nothing changed: a heartbeat, while there is no newer picture."""
        self.version += 1
        return self._frame({}, as_of)

    def snapshot(self, as_of: datetime | None = None) -> bytes:
        """Everything, under the version of the last frame."""
        picture = self._last()
        series = _series(self._series_from, self._points, picture)
        return self._frame({"snapshot": b"true", **self._figures, "series": series}, as_of or picture.as_of)

    def _last(self) -> Picture:
        if self._picture is None:
            raise LookupError(f"nothing has been seen of shop {self._shop}")
        return self._picture

    def _changed_points(self, points: Points, picture: Picture) -> Points:
        """New and changed points, and zeros for those that came to nothing (an order was cancelled)."""
        changed: Points = {}
        for currency, of_currency in points.items():
            before = self._points.get(currency, {})
            some = {at: point for at, point in of_currency.items() if before.get(at) != point}
            if some:
                changed[currency] = some
        for currency, of_currency in self._points.items():
            for at in of_currency:
                if at >= picture.series_from and at not in points.get(currency, {}):
                    nothing = LivePoint.of(at, Total(currency), picture.local)
                    changed.setdefault(currency, {})[at] = _encoder.encode(nothing)
        return changed

    def _frame(self, figures: Mapping[str, bytes], as_of: datetime) -> bytes:
        head = {
            "shop": _encoder.encode(self._shop),
            "version": b"%d" % self.version,
            "asOf": _encoder.encode(as_of),
            "completeTo": _encoder.encode(self._last().complete_to),
        }
        return _object({**head, **figures})


def _series(begin: int, points: Points, picture: Picture) -> bytes:
    currencies = {
        currency: b"[" + b",".join(point for _, point in sorted(of_currency.items())) + b"]"
        for currency, of_currency in sorted(points.items())
    }
    start = _encoder.encode(moment_of(begin).astimezone(picture.local))
    return _object({"step": STEP, "from": start, "currencies": _object(currencies)})


def _object(fields: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(_encoder.encode(name) + b":" + value for name, value in fields.items()) + b"}"
