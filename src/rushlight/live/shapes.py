"""The parts of a board in the shapes of `analyticsUpdate`."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from rushlight.query.counters import Total
from rushlight.query.funnel import FunnelStep
from rushlight.query.sales import Sales
from rushlight.query.span import moment_of


class LivePoint(msgspec.Struct, rename="camel", kw_only=True):
    """One minute of the series."""

    at: datetime
    orders: int
    units: int
    gross: str
    discounts: str
    refunds: str
    net: str

    @classmethod
    def of(cls, minute: int, total: Total, local: ZoneInfo) -> LivePoint:
        """The point of a minute since 1970."""
        return total.told(cls, at=moment_of(minute).astimezone(local))


class Today(msgspec.Struct, kw_only=True):
    """Sales since local midnight."""

    start: datetime = msgspec.field(name="from")
    currencies: dict[str, Sales]


class Funnel(msgspec.Struct, kw_only=True):
    """Sessions since local midnight."""

    steps: list[FunnelStep]


class SoldToday(msgspec.Struct, kw_only=True):
    """What a product sold in one currency."""

    units: int
    net: str


class TopProduct(msgspec.Struct, rename="camel", kw_only=True):
    """One of the products with the greatest net."""

    product_id: str
    name: str | None
    category: str | None
    views: int
    adds: int
    currencies: dict[str, SoldToday]


class Rate(msgspec.Struct, rename="camel", kw_only=True):
    """How many events the instance settles."""

    events_per_second: float
