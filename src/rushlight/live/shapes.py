"""The parts of a board in the shapes of `analyticsUpdate`."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from rushlight.query.counters import Total
from rushlight.query.funnel import FunnelStep
from rushlight.query.parked import Parked
from rushlight.query.sales import Sales
from rushlight.query.span import moment_of

SHOWN_REASON = 200


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


class AsideAggregate(msgspec.Struct, rename="camel", kw_only=True):
    """An aggregate whose events wait for a decision, and what the first of them waits for."""

    aggregate_id: str
    events: int
    since: datetime
    reason: str


class Aside(msgspec.Struct, kw_only=True):
    """What is parked: how many events, of how many aggregates, and the oldest of these; records nobody could read.

    Attributes:
        more: there are more events than these, which were not counted.
    """

    events: int
    more: bool
    total: int
    aggregates: list[AsideAggregate]
    unreadable: int

    @classmethod
    def of(cls, found: Parked, *, more: bool) -> Aside:
        """The part that a board has room for."""
        shown = [
            AsideAggregate(
                aggregate_id=each.aggregate_id, events=each.events, since=each.since, reason=each.reason[:SHOWN_REASON]
            )
            for each in found.aggregates
        ]
        return cls(
            events=found.events,
            more=more,
            total=found.total,
            aggregates=shown,
            unreadable=found.unreadable_total,
        )
