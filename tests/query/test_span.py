"""Ranges are read exactly or refused by name, and cut without a minute lost or counted twice."""

from __future__ import annotations

from datetime import timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rushlight.errors import Rejected
from rushlight.query.span import Span, minute_of, moment_of, parse_moment, parse_span, require_quarters
from rushlight.query.zones import local_day, local_hour, midnight, zone
from tests.query.world import moment

PRESENT = moment("2026-11-27T10:30")


@given(start=st.integers(0, 5 * 1440), length=st.integers(1, 4 * 1440))
def test_a_range_is_cut_into_disjoint_pieces(start: int, length: int) -> None:
    """Quarter-hours and edges together are exactly the minutes of the range."""
    begin = minute_of(moment("2026-10-23T00:00")) + start
    span = Span(moment_of(begin), moment_of(begin + length))
    minutes: list[int] = []
    for stretch in span.quarters():
        day = minute_of(moment(f"{stretch.unit}T00:00"))
        minutes += range(day + 15 * stretch.low, day + 15 * stretch.high)
    for stretch in span.edges():
        hour = minute_of(moment(f"{stretch.unit}:00"))
        minutes += range(hour + stretch.low, hour + stretch.high)
    assert sorted(minutes) == list(range(begin, begin + length))
    hours = {stretch.unit for stretch in span.every_minute()}
    assert hours == {moment_of(minute).isoformat()[:13] for minute in minutes}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ISO 8601"),
        ("yesterday", "ISO 8601"),
        ("2026-13-01T00:00:00Z", "ISO 8601"),
        ("2026-11-27", "offset"),
        ("2026-11-27T10:00:00", "offset"),
        ("2026-11-27T10:00:30Z", "whole minute"),
        ("2026-11-27T10:00:00.5Z", "whole minute"),
        ("2026-11-27T10:00:00+00:00:30", "whole minute"),
        ("0001-01-01T00:00:00+14:00", "range"),
        ("1969-12-31T23:59:00Z", "1970"),
        ("9999-12-31T23:59:00Z", "1970"),
        ("2" * 5000, "ISO 8601"),
    ],
)
def test_a_moment_that_cannot_be_is_refused(text: str, reason: str) -> None:
    """The refusal names the field and says what would be right."""
    with pytest.raises(Rejected, match=reason) as refused:
        parse_moment(text, "from")
    assert refused.value.field == "from"


@pytest.mark.parametrize(
    "text",
    ["2026-11-27T00:00:00Z", "2026-11-27T01:00:00+01:00", "2026-11-27T01:00:00 01:00", "2026-11-26T18:15-05:45"],
)
def test_offsets_are_honoured(text: str) -> None:
    """Also one whose plus sign a query string has turned into a space."""
    assert parse_moment(text, "from") == moment("2026-11-27T00:00")


def test_the_default_is_the_local_day() -> None:
    """Today in the shop's zone; with only a beginning, up to the end of that day or of today."""
    berlin = zone("Europe/Berlin")
    assert parse_span(None, None, local=berlin, present=PRESENT) == Span(
        moment("2026-11-26T23:00"), moment("2026-11-27T23:00")
    )
    since = parse_span("2026-11-25T12:00:00Z", None, local=berlin, present=PRESENT)
    assert since == Span(moment("2026-11-25T12:00"), moment("2026-11-27T23:00"))
    tomorrow = parse_span("2026-11-28T12:00:00Z", None, local=berlin, present=PRESENT)
    assert tomorrow == Span(moment("2026-11-28T12:00"), moment("2026-11-28T23:00"))


@pytest.mark.parametrize(("start", "end"), [("10:00", "10:00"), ("10:01", "10:00")])
def test_an_empty_range_is_refused(start: str, end: str) -> None:
    """The end must come after the beginning."""
    with pytest.raises(Rejected, match="later") as refused:
        parse_span(f"2026-11-27T{start}:00Z", f"2026-11-27T{end}:00Z", local=zone("UTC"), present=PRESENT)
    assert refused.value.field == "to"


def test_a_range_of_more_than_ten_years_is_refused() -> None:
    """Long enough for any chart, short enough for the server."""
    with pytest.raises(Rejected, match="3660 days"):
        parse_span("2000-01-01T00:00:00Z", "2026-01-01T00:00:00Z", local=zone("UTC"), present=PRESENT)


def test_quarter_hours_are_asked_for_by_name() -> None:
    """The end that does not stand on one is named."""
    span = Span(moment("2026-11-27T10:15"), moment("2026-11-27T10:50"))
    with pytest.raises(Rejected) as refused:
        require_quarters(span)
    assert refused.value.field == "to"


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe/Berlin\0", "x" * 500, "Zürich"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    """Whatever the text is."""
    with pytest.raises(Rejected) as refused:
        zone(name)
    assert refused.value.field == "timeZone"


@pytest.mark.parametrize(
    ("name", "day", "begins"),
    [
        ("Asia/Kolkata", "2026-11-27", "2026-11-26T18:30"),
        ("Asia/Kathmandu", "2026-11-27", "2026-11-26T18:15"),
        ("Pacific/Chatham", "2026-11-27", "2026-11-26T10:15"),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00"),
        ("Europe/Berlin", "2026-10-26", "2026-10-25T23:00"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00"),  # clocks skipped midnight
        ("Africa/Cairo", "2024-11-01", "2024-10-31T22:00"),  # clocks went back at midnight
    ],
)
def test_a_day_begins_with_its_first_instant(name: str, day: str, begins: str) -> None:
    """Also where clocks are changed at midnight."""
    local = zone(name)
    first = midnight(moment(day).date(), local)
    assert first == moment(begins)
    assert first.astimezone(local).date().isoformat() == day
    assert (first - timedelta(minutes=1)).astimezone(local).date().isoformat() != day
    assert local_day(first + timedelta(hours=5), local) == first


@pytest.mark.parametrize(
    ("name", "inside", "begins"),
    [
        ("Europe/Berlin", "2026-10-25T00:30", "2026-10-25T02:00:00+02:00"),
        ("Europe/Berlin", "2026-10-25T01:30", "2026-10-25T02:00:00+01:00"),
        ("Europe/Berlin", "2026-03-29T01:05", "2026-03-29T03:00:00+02:00"),
        ("Asia/Kathmandu", "2026-11-27T00:20", "2026-11-27T06:00:00+05:45"),
        ("Australia/Lord_Howe", "2026-04-04T15:10", "2026-04-05T01:30:00+10:30"),  # half an hour is lived twice
        ("Australia/Lord_Howe", "2026-10-03T15:40", "2026-10-04T02:30:00+11:00"),
    ],
)
def test_an_hour_begins_on_the_hour_and_at_a_change_of_clocks(name: str, inside: str, begins: str) -> None:
    """The hour that is lived twice is two hours, told apart by their offsets."""
    assert local_hour(moment(inside), zone(name)).isoformat() == begins
