"""Summary, series, products and customers give the same sums as the events themselves, whatever the range and zone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings

from rushlight.events.envelope import Envelope
from rushlight.events.money import to_minor
from rushlight.query.counters import Total
from rushlight.query.figures import Figures
from rushlight.query.products import ProductPage, products
from rushlight.query.sales import Point, Sales, Step, series, summary
from rushlight.query.span import Span
from rushlight.query.view import View
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.query.world import cancelled, moment, ordered, refunded, store

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe")
# The night in which Berlin's clocks go back, and the days around it.
BASE = moment("2026-10-24T00:00")
MINUTES = 3 * 24 * 60
CURRENCIES = ("USD", "JPY", "KWD")


class Fact(NamedTuple):
    """One contribution to the figures, as the events say it."""

    at: datetime
    currency: str
    product: str
    counters: Mapping[str, int]


lines = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 10_000), st.integers(0, 100)),
    min_size=1,
    max_size=3,
)
orders = st.lists(
    st.tuples(
        st.integers(0, MINUTES - 1),
        st.sampled_from(CURRENCIES),
        lines,
        st.sampled_from(("kept", "kept", "refunded", "cancelled")),
        st.integers(0, MINUTES - 1),
    ),
    max_size=12,
)
spans = st.tuples(st.integers(0, MINUTES - 1), st.integers(1, MINUTES)).map(
    lambda pair: Span(BASE + timedelta(minutes=pair[0]), BASE + timedelta(minutes=pair[0] + pair[1]))
)

WHOLE = Span(BASE, BASE + timedelta(minutes=MINUTES))


def at(minute: int) -> datetime:
    """A moment of the three days, not on the full minute."""
    return BASE + timedelta(minutes=minute, seconds=17)


def world(drawn: Sequence[Any]) -> tuple[list[Envelope], list[Fact]]:
    """The events of the drawn orders, and what each adds to the figures."""
    events: list[Envelope] = []
    facts: list[Fact] = []
    for number, (minute, currency, some, fate, later) in enumerate(drawn):
        name = f"order-{number}"
        events.append(ordered(name, at(minute), some, currency=currency, customer=f"c{number % 3}"))
        if fate == "cancelled":
            events.append(cancelled(name, at(later)))
            continue
        facts += [
            Fact(at(minute), currency, product, {"o": int(not index), "u": units, "g": amount, "d": discount})
            for index, (product, units, amount, discount) in enumerate(some)
        ]
        if fate == "refunded":
            events.append(refunded(name, "r", at(later), [(some[0][0], some[0][2])], currency=currency))
            facts.append(Fact(at(later), currency, some[0][0], {"r": some[0][2]}))
    return events, facts


def sums(facts: Sequence[Fact], span: Span, key: Any) -> dict[Any, Counter[str]]:
    """Facts inside the span, summed by a key; keys that come to nothing are left out."""
    by_key: dict[Any, Counter[str]] = {}
    for fact in facts:
        if span.start <= fact.at < span.end:
            by_key.setdefault(key(fact), Counter()).update(fact.counters)
    return {key: counters for key, counters in by_key.items() if any(counters.values())}


def counters(row: Any, currency: str, *, orders: bool = True) -> Counter[str]:
    """The counters in an answer's row."""
    names = {"g": "gross", "d": "discounts", "r": "refunds"}
    found = Counter({short: to_minor(getattr(row, long), currency) for short, long in names.items()})
    found["u"] = row.units
    found["o"] = row.orders if orders else 0
    assert to_minor(row.net, currency) == found["g"] - found["d"] - found["r"]
    return found


def same(found: Mapping[Any, Counter[str]], expected: Mapping[Any, Counter[str]]) -> bool:
    """Equal, a counter of 0 being as good as none."""
    return {key: +each | -each for key, each in found.items()} == {key: +each | -each for key, each in expected.items()}


@pytest.mark.timeout(180)
@example(drawn=[(1440, "USD", [("a", 1, 100, 0)], "kept", 0)], span=WHOLE, zone="Europe/Berlin", step="hour")
@example(drawn=[(1440, "USD", [("a", 1, 100, 0)], "kept", 0)], span=WHOLE, zone="Australia/Lord_Howe", step="day")
@hypothesis_settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(drawn=orders, span=spans, zone=st.sampled_from(ZONES), step=st.sampled_from(("minute", "hour", "day")))
async def test_every_reader_sums_to_the_events(
    database: Database, settings: Settings, drawn: Sequence[Any], span: Span, zone: str, step: Step
) -> None:
    """Summary and series agree with the events, and products with both on whole quarter-hours."""
    events, facts = world(drawn)
    await store(database, settings, events)
    figures = Figures(database, settings)
    local = ZoneInfo(zone)

    async def both(view: View) -> tuple[dict[str, Sales], dict[str, list[Point]]]:
        return await summary(view, span), await series(view, span, step, local)

    whole, cut = await figures.read("default", both)
    by_currency = sums(facts, span, lambda fact: fact.currency)
    assert same({currency: counters(row, currency) for currency, row in whole.items()}, by_currency)
    # In UTC: a local time that is lived twice never equals one of another zone.
    points = {
        (currency, point.at.astimezone(UTC)): counters(point, currency)
        for currency, some in cut.items()
        for point in some
    }
    assert same(points, sums(facts, span, lambda fact: (fact.currency, beginning(fact.at, step, local))))

    quarters = Span(*(edge.replace(minute=edge.minute // 15 * 15) for edge in (span.start, span.end)))
    if quarters.start < quarters.end:
        page: ProductPage = await figures.read("default", lambda view: products(view, quarters, limit=100))
        sold = {
            (product.product_id, currency): counters(row, currency, orders=False)
            for product in page.products
            for currency, row in product.currencies.items()
        }
        of_products = sums(facts, quarters, lambda fact: (fact.product, fact.currency))
        for each in of_products.values():
            del each["o"]
        assert same(sold, {key: each for key, each in of_products.items() if any(each.values())})


async def test_a_reader_that_forgets_the_edges_is_found_out(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded bug: minutes before the first and after the last whole quarter-hour are left out."""
    events, facts = world([(7, "USD", [("a", 1, 100, 0)], "kept", 0)])
    await store(database, settings, events)
    span = Span(at(5).replace(second=0), at(10).replace(second=0))
    monkeypatch.setattr(Span, "edges", lambda _: iter(()))
    found = await Figures(database, settings).read("default", lambda view: summary(view, span))
    assert found == {}
    assert sums(facts, span, lambda fact: fact.currency)


def beginning(moment: datetime, step: Step, local: ZoneInfo) -> datetime:
    """When the step of a moment begins, found by walking back minute by minute."""
    here = moment.replace(second=0).astimezone(UTC)
    if step == "minute":
        return here

    def label(at: datetime) -> Any:
        wall = at.astimezone(local)
        return wall.date() if step == "day" else (wall.date(), wall.hour, wall.utcoffset())

    wanted = label(here)
    while label(here - timedelta(minutes=1)) == wanted:
        here -= timedelta(minutes=1)
    return here


def test_aov_is_rounded_half_to_even() -> None:
    """Ties go to the even minor unit, and without orders there is no average."""
    averages = {}
    for gross, orders_ in ((5, 2), (7, 2), (-5, 2), (10, 4), (11, 4), (1, 3), (2, 3)):
        total = Total("USD")
        total.add({"g": gross, "o": orders_})
        averages[gross, orders_] = total.aov
    assert averages == {
        (5, 2): "0.02",
        (7, 2): "0.04",
        (-5, 2): "-0.02",
        (10, 4): "0.02",
        (11, 4): "0.03",
        (1, 3): "0.00",
        (2, 3): "0.01",
    }
    assert Total("USD").aov == ""
