"""Sessions of a range by where they came from and on what; and what is in no figure: machines, tests, and nobody's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from rushlight.projections.keys import part
from rushlight.query.sales import unescape
from rushlight.query.span import Span, Stretch, minute_of, moment_of
from rushlight.query.view import View, Wanted

TOP_SOURCES = 50


class Group(msgspec.Struct, frozen=True):
    """Sessions of one kind."""

    name: str
    sessions: int


class LeftOut(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What is in no other figure.

    Attributes:
        bot_events: what machines did. test_events, test_orders: what was only tried.
        unmeasured_events: of visitors who did not agree to be measured; of them products are counted.
    """

    bot_events: int
    test_events: int
    test_orders: int
    unmeasured_events: int


class Sessions(NamedTuple):
    """Sessions that began in a range.

    Attributes:
        engaged: those that lasted ten seconds, saw two pages or ended in a purchase.
        channels, devices: the most frequent first. sources: of campaigns, the most frequent 50.
    """

    sessions: int
    engaged: int
    channels: list[Group]
    devices: list[Group]
    sources: list[Group]
    left_out: LeftOut


async def sessions(view: View, span: Span) -> Sessions:
    """The sessions of a range, which must be in whole quarter-hours."""
    stretches = {stretch.unit: stretch for stretch in span.quarters()}
    days = list(stretches)
    counted: Counter[str] = Counter()
    channels: Counter[str] = Counter()
    devices: Counter[str] = Counter()
    async for key, document in view.documents("behaviour", Wanted.units(["s/"], days)):
        for cell in _cells(document, stretches[key.removeprefix("s/")]):
            counted["sessions"] += cell.get("n", 0)
            counted["engaged"] += cell.get("e", 0)
            channels.update(cell.get("c", {}))
            devices.update(cell.get("d", {}))
    return Sessions(
        sessions=counted["sessions"],
        engaged=counted["engaged"],
        channels=_groups(channels),
        devices=_groups(devices),
        sources=_groups(await _sources(view, stretches))[:TOP_SOURCES],
        left_out=await left_out(view, span),
    )


async def left_out(view: View, span: Span) -> LeftOut:
    """What of a range, which must be in whole quarter-hours, is in no other figure."""
    stretches = {stretch.unit: stretch for stretch in span.quarters()}
    counted: Counter[str] = Counter()
    async for key, document in view.documents("behaviour", Wanted.units(["b/", "t/", "n/"], list(stretches))):
        letter, _, day = key.partition("/")
        counted[letter] += sum(sum(cell.values()) for cell in _cells(document, stretches[day]))
    return LeftOut(
        bot_events=counted["b"],
        test_events=counted["t"],
        test_orders=await tests(view, span),
        unmeasured_events=counted["n"],
    )


async def tests(view: View, span: Span) -> int:
    """How many orders of the shop's source of record were tests."""
    prefix, (low, high) = f"x/{part(view.source)}/", span.minutes
    hours = [moment_of(minute).isoformat()[:13] for minute in (low, high - 1)]
    total = 0
    async for key, document in view.documents("money", Wanted(ranges=[(prefix + hours[0], prefix + hours[1])])):
        begin = minute_of(datetime.fromisoformat(f"{key.removeprefix(prefix)}:00+00:00"))
        cells = document.get("m", {}).items()
        total += sum(cell.get("n", 0) for minute, cell in cells if low <= begin + int(minute) < high)
    return total


async def _sources(view: View, stretches: Mapping[str, Stretch]) -> Counter[str]:
    found: Counter[str] = Counter()
    days = list(stretches)
    wanted = Wanted(ranges=[(f"u/{days[0]}/", f"u/{days[-1]}0")] if days else [])  # "0" follows "/"
    async for key, document in view.documents("behaviour", wanted):
        _, day, source = key.split("/")
        found[unescape(source)] += sum(cell.get("n", 0) for cell in _cells(document, stretches[day]))
    return found


def _cells(document: Mapping[str, Any], stretch: Stretch) -> Iterator[Mapping[str, Any]]:
    for quarter, cell in document.get("q", {}).items():
        if stretch.low <= int(quarter) < stretch.high:
            yield cell


def _groups(counts: Counter[str]) -> list[Group]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Group(name, number) for name, number in ordered if number]
