"""Sales of a range: the same counters whether they are summed, cut into steps or watched live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from rushlight.errors import Rejected
from rushlight.projections.keys import part
from rushlight.query.counters import Total
from rushlight.query.span import MINUTES_A_QUARTER, Span, Stretch, minute_of, moment_of
from rushlight.query.view import View, Wanted
from rushlight.query.zones import local_day, local_hour

Step = Literal["minute", "hour", "day"]
MAX_STEP_DAYS: dict[Step, int] = {"minute": 8, "hour": 400, "day": 3660}


class Sales(msgspec.Struct, rename="camel", kw_only=True):
    """What was sold in one currency: decimal strings with the currency's digits.

    Attributes:
        net: ``gross - discounts - refunds``; tax and shipping stand apart.
        aov: average order value ``(gross - discounts) / orders``, half to even; empty without orders.
    """

    orders: int
    units: int
    gross: str
    discounts: str
    refunds: str
    net: str
    tax: str
    shipping: str
    aov: str


class Point(msgspec.Struct, rename="camel", kw_only=True):
    """What was sold in one step of a series; ``at`` is when the step begins, with the local offset."""

    at: datetime
    orders: int
    units: int
    gross: str
    discounts: str
    refunds: str
    net: str
    tax: str
    shipping: str


class Strip(NamedTuple):
    """The cells of one document that lie inside the range: minute (since 1970) and counters."""

    currency: str
    cells: Iterator[tuple[int, Mapping[str, int]]]


async def totals(view: View, span: Span, source: str | None = None) -> dict[str, Total]:
    """The sum of each currency that has anything in the range."""
    sums: dict[str, Total] = {}
    async for currency, cells in _strips(view, span, source or view.source):
        total = sums.setdefault(currency, Total(currency))
        for _, counters in cells:
            total.add(counters)
    return {currency: sums[currency] for currency in sorted(sums) if sums[currency]}


async def summary(view: View, span: Span) -> dict[str, Sales]:
    """Sales of the shop's source of record, by currency."""
    return {currency: total.told(Sales) for currency, total in (await totals(view, span)).items()}


async def steps(view: View, span: Span, step: Step, local: ZoneInfo) -> dict[str, dict[int, Total]]:
    """Totals by currency and by the minute (since 1970) at which a step begins; steps without sales are left out."""
    begins = _beginnings(step, local)
    sums: dict[str, dict[int, Total]] = {}
    strips = _strips(view, span, view.source, by_minute=step == "minute")
    async for currency, cells in strips:
        of_currency = sums.setdefault(currency, {})
        for minute, counters in cells:
            of_currency.setdefault(begins(minute), Total(currency)).add(counters)
    return {
        currency: {begin: total for begin, total in sorted(sums[currency].items()) if total}
        for currency in sorted(sums)
        if any(sums[currency].values())
    }


async def series(view: View, span: Span, step: Step, local: ZoneInfo) -> dict[str, list[Point]]:
    """The points of each currency, ascending."""
    return {
        currency: [total.told(Point, at=moment_of(begin).astimezone(local)) for begin, total in points.items()]
        for currency, points in (await steps(view, span, step, local)).items()
    }


def check_step(span: Span, step: Step) -> None:
    """Keep series to a length that can be drawn.

    Raises:
        Rejected: the range is too long for the step.
    """
    if span.end - span.start > timedelta(days=MAX_STEP_DAYS[step]):
        reason = f"a series by {step} covers at most {MAX_STEP_DAYS[step]} days; ask for a longer step"
        raise Rejected(reason, field="step")


async def other_sources(view: View, span: Span) -> list[str]:
    """Sources beside the one of record whose reports in the range would change the figures."""
    names = {key.removeprefix("l/") async for key, _ in view.documents("money", Wanted.under("l/"))}
    others = sorted(name for name in names if name != part(view.source))
    return [unescape(name) for name in others if await totals(view, span, unescape(name))]


async def warnings(view: View, span: Span) -> list[str]:
    """What the reader of the figures should know."""
    return [
        f"Source {name} reports money too; figures are those of {view.source}, the shop's source of record."
        for name in await other_sources(view, span)
    ]


def unescape(name: str) -> str:
    """An id from the part of a key that holds it."""
    return name.replace("%2F", "/").replace("%25", "%")


async def _strips(view: View, span: Span, source: str, *, by_minute: bool = False) -> AsyncIterator[Strip]:
    """Quarter-hours of the range and the minutes at its edges, or all of its minutes."""
    name = part(source)
    currencies = await view.currencies(name)
    minutes = span.every_minute() if by_minute else span.edges()
    quarters = () if by_minute else span.quarters()
    for letter, field, width, stretches in (("d", "q", MINUTES_A_QUARTER, quarters), ("h", "m", 1, minutes)):
        wanted = _by_unit(stretches)
        prefixes = [f"{letter}/{name}/{currency}/" for currency in currencies]
        async for key, document in view.documents("money", Wanted.units(prefixes, list(wanted))):
            _, _, currency, unit = key.split("/")
            inside = wanted.get(unit, [])
            yield Strip(currency, _cells(document.get(field, {}), unit, width, inside))


def _by_unit(stretches: Sequence[Stretch] | Iterator[Stretch]) -> dict[str, list[Stretch]]:
    units: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        units.setdefault(stretch.unit, []).append(stretch)
    return units


def _cells(
    cells: Mapping[str, Mapping[str, int]], unit: str, width: int, inside: Sequence[Stretch]
) -> Iterator[tuple[int, Mapping[str, int]]]:
    begin = minute_of(datetime.fromisoformat(f"{unit}T00:00+00:00" if len(unit) == 10 else f"{unit}:00+00:00"))
    for name, counters in cells.items():
        index = int(name)
        if any(stretch.low <= index < stretch.high for stretch in inside):
            yield begin + index * width, counters


def _beginnings(step: Step, local: ZoneInfo) -> Callable[[int], int]:
    """Maps a minute to the one in which its step begins.

    A quarter-hour belongs to the step in which it begins: no time zone has cut one in two since 1972.
    """
    if step == "minute":
        return lambda minute: minute
    begin = local_hour if step == "hour" else local_day
    known: dict[int, int] = {}

    def beginning(minute: int) -> int:
        found = known.get(minute)
        if found is None:
            found = known[minute] = minute_of(begin(moment_of(minute), local))
        return found

    return beginning
