"""The shapes of the API's answers; each says how complete it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from rushlight.query.customers import CustomerSales
from rushlight.query.freshness import CompleteTo
from rushlight.query.funnel import FunnelStep
from rushlight.query.notices import Notice
from rushlight.query.parked import Parked
from rushlight.query.products import Product
from rushlight.query.sales import Point, Sales, Step
from rushlight.query.sessions import Group, LeftOut
from rushlight.query.tracking import Tracked
from rushlight.query.trail import StoredEvent
from rushlight.query.verdicts import Check
from rushlight.store.ledger import Ledger
from rushlight.store.rejected import Sample


class Answer(msgspec.Struct, rename="camel", kw_only=True):
    """Every answer: up to which received time it holds every acknowledged event."""

    complete_to: CompleteTo


class RangeAnswer(Answer, kw_only=True):
    """An answer about a range, which it repeats: ``from`` inclusive, ``to`` exclusive."""

    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")


class SummaryAnswer(RangeAnswer, kw_only=True):
    """Sales by currency; ``tests`` counts orders that were tests and are in none of them; ``warnings`` says what else
    one should know of the figures.
    """

    currencies: dict[str, Sales]
    tests: int
    warnings: list[str]


class SeriesAnswer(RangeAnswer, kw_only=True):
    """Sales by currency and step; steps without sales are left out."""

    step: Step
    time_zone: str
    currencies: dict[str, list[Point]]
    warnings: list[str]


class ProductsAnswer(RangeAnswer, kw_only=True):
    """A page of products; ``total`` counts all of them."""

    total: int
    products: list[Product]


class ProjectionAnswer(Answer, kw_only=True):
    """A page of one projection's documents by key, of one generation; ``next`` is the ``after`` of the next page."""

    projection: str
    generation: int
    documents: dict[str, Any]
    next: str | None


class FunnelAnswer(RangeAnswer, kw_only=True):
    """Visitor sessions that began in the range, by the furthest step."""

    steps: list[FunnelStep]


class SessionsAnswer(RangeAnswer, kw_only=True, rename="camel"):
    """Visitor sessions that began in the range, and what is in no figure.

    Attributes:
        engaged: sessions that lasted ten seconds, saw two pages or ended in a purchase.
        channels, devices: sessions of each kind, the most frequent first. sources: of campaigns, the top 50.
    """

    sessions: int
    engaged: int
    channels: list[Group]
    devices: list[Group]
    sources: list[Group]
    left_out: LeftOut


class CustomerAnswer(Answer, kw_only=True):
    """One customer's historic lifetime value by currency, and who they were.

    Attributes:
        also: other ids of the same person, as aliases told; each has a lifetime value of its own.
        visitors: ids by which the person was seen. first_seen: when anything was told of them first.
    """

    customer_id: str
    also: list[str]
    visitors: list[str]
    first_seen: datetime | None
    first_order_at: datetime | None
    last_order_at: datetime | None
    currencies: dict[str, CustomerSales]


class EventsAnswer(Answer, kw_only=True):
    """A page of the audit trail.

    Attributes:
        next: cursor of the next page; null when this was the last one for now.
        cursor: the place after this page, for asking again later.
    """

    events: list[StoredEvent]
    next: str | None
    cursor: str


class LedgerAnswer(Ledger, kw_only=True, rename="camel"):
    """The ledger, and how complete the figures are."""

    complete_to: CompleteTo


class ParkedAnswer(Parked, kw_only=True, rename="camel"):
    """What is parked, and how complete the figures are: what is parked is in none of them."""

    complete_to: CompleteTo


class RejectedAnswer(Answer, kw_only=True):
    """The last events that were turned away, the newest first.

    Attributes:
        counts: of the shop, by source and reason (`code`). unknown: of what came without a valid key, by reason.
        samples: of both; ``shop`` is empty without a key. ``sample`` has neither secrets nor personal data.
    """

    counts: dict[str, dict[str, int]]
    unknown: dict[str, int]
    samples: list[Sample]


class TrackingAnswer(Answer, kw_only=True):
    """What senders sent in the last half hour, and what is to be said of it.

    Attributes:
        events: the newest first. names: how many of each were taken since ``counted_since``: five minutes ago, or later
            where more came than is looked at. checks: the worst first.
    """

    present: datetime
    time_zone: str
    events: list[Tracked]
    names: dict[str, int]
    counted_since: datetime
    checks: list[Check]


class NoticesAnswer(Answer, kw_only=True):
    """The newest lines of the board."""

    notices: list[Notice]
