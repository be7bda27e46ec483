"""The envelope survives every road: wire and back, BSON and back; whatever is no envelope is refused with its field."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions
from hypothesis import assume, given
from hypothesis import strategies as st

from rushlight.errors import Rejected
from rushlight.events.envelope import Envelope, decode, encode, millisecond, now
from rushlight.store.journal import to_document, to_envelope, to_raw

AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)
TEXT = st.text(max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8), inner, max_size=4
        )
    ),
    max_leaves=12,
)
PAYLOADS = st.dictionaries(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8), VALUES, max_size=5
)
MOMENTS = st.datetimes(timezones=st.just(UTC)).map(millisecond)
OPTIONAL = st.none() | TEXT
ENVELOPES = st.builds(
    Envelope,
    id=TEXT,
    name=TEXT,
    aggregate_id=TEXT,
    payload=PAYLOADS,
    occurred_at=MOMENTS,
    received_at=MOMENTS,
    shop=TEXT,
    source=TEXT,
    origin=TEXT,
    schema=st.integers(1, 9),
    version=st.none() | st.integers(0, 2**53),
    visitor_id=OPTIONAL,
    customer_id=OPTIONAL,
    correlation_id=OPTIONAL,
    causation_id=OPTIONAL,
    trace=OPTIONAL,
)
PLAIN = {
    "id": "0" * 32,
    "eventName": "page_view",
    "aggregateId": "v-1",
    "payload": {},
    "timestamp": "2026-11-24T06:00:00Z",
    "receivedAt": "2026-11-24T06:00:01Z",
    "shop": "default",
    "source": "web",
    "origin": "w:l:1",
}


@given(ENVELOPES)
def test_wire_and_back(envelope: Envelope) -> None:
    """What was encoded is what is decoded, and encoding it again gives the same bytes."""
    data = encode(envelope)
    assert decode(data) == envelope
    assert encode(decode(data)) == data


@given(ENVELOPES, st.integers(0, 99), st.integers(1, 2**53))
def test_journal_and_back(envelope: Envelope, partition: int, seq: int) -> None:
    """The journal's document gives back the same event, through real BSON."""
    stored = bson.decode(to_raw(envelope, partition, seq).raw, AWARE)
    assert stored == to_document(envelope, partition, seq)
    assert to_envelope(stored) == envelope


def test_wire_names() -> None:
    """Names on the wire are the original design's, and what is absent takes no room."""
    moment = datetime(2026, 11, 24, 6, 0, 0, 120_000, UTC)
    envelope = Envelope(
        id="f" * 32,
        name="purchase",
        aggregate_id="v-1",
        payload={"items": []},
        occurred_at=moment,
        received_at=moment,
        shop="default",
        source="web",
        origin="w:log:7",
        visitor_id="v-1",
    )
    assert json.loads(encode(envelope)) == {
        "id": "f" * 32,
        "eventName": "purchase",
        "aggregateId": "v-1",
        "payload": {"items": []},
        "timestamp": "2026-11-24T06:00:00.120000Z",
        "receivedAt": "2026-11-24T06:00:00.120000Z",
        "shop": "default",
        "source": "web",
        "origin": "w:log:7",
        "visitorId": "v-1",
    }


@pytest.mark.parametrize(
    "written", ["2026-11-24T08:30:00.123456+02:30", "2026-11-24T06:00:00.123999Z", "2026-11-24T06:00:00.123"]
)
def test_times_come_as_the_journal_gives_them_back(written: str) -> None:
    """Another offset, microseconds or no offset: one UTC moment in milliseconds, so that a rebuild folds the same."""
    envelope = decode(json.dumps(PLAIN | {"timestamp": written, "receivedAt": written}))
    assert envelope.occurred_at == envelope.received_at == datetime(2026, 11, 24, 6, 0, 0, 123_000, UTC)
    assert envelope.occurred_at.isoformat() == "2026-11-24T06:00:00.123000+00:00"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b"{", "truncated"),
        (b"\xff", "JSON"),
        (json.dumps(PLAIN | {"payload": 1}).encode(), "$.payload"),
        (json.dumps(PLAIN | {"version": "1"}).encode(), "$.version"),
        (json.dumps(PLAIN | {"timestamp": "yesterday"}).encode(), "$.timestamp"),
        (json.dumps({k: v for k, v in PLAIN.items() if k != "aggregateId"}).encode(), "aggregateId"),
        (json.dumps(PLAIN | {"timestamp": "0001-01-01T00:00:00+14:00"}).encode(), "range"),
        (json.dumps(PLAIN | {"source": "\ud800"}).encode(), ""),
        (json.dumps(PLAIN).replace("web", "\udcff").encode("utf-8", "surrogateescape"), ""),
        (b'{"payload":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001, ""),
    ],
)
def test_no_envelope(data: bytes, word: str) -> None:
    """Garbage, missing fields, wrong types, impossible times, lone surrogates and bottomless nesting are refused."""
    with pytest.raises(Rejected) as refused:
        decode(data)
    assert refused.value.code == "envelope"
    assert word in str(refused.value)


@pytest.mark.parametrize(
    "payload",
    [{"n": 2**63}, {"n": [-(2**63) - 1]}, {"a\0b": 1}, {"deep": {"a\0b": 1}}, {"s": "\ud800"}],
)
def test_what_bson_cannot_hold(payload: dict[str, Any]) -> None:
    """A payload that JSON holds and BSON does not is the sender's fault, told by its own error."""
    with pytest.raises(Rejected) as refused:
        to_raw(decode(json.dumps(PLAIN)).__class__(**_fields(payload)), 0, 1)
    assert (refused.value.field, refused.value.code) == ("payload", "encoding")


def _fields(payload: dict[str, Any]) -> dict[str, Any]:
    plain = decode(json.dumps(PLAIN))
    return {name: getattr(plain, name) for name in plain.__struct_fields__} | {"payload": payload}


def test_the_present_is_utc_in_milliseconds() -> None:
    """Our own times are those that BSON keeps."""
    assert now().tzinfo is UTC
    assert now().microsecond % 1000 == 0


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_a_moment_in_any_zone(naive: datetime, minutes: int) -> None:
    """A millisecond is cut, not rounded, and the zone does not matter."""
    zone = timezone(timedelta(minutes=minutes))
    assume(1 < naive.year < 9999)
    cut = millisecond(naive.replace(tzinfo=zone))
    assert timedelta(0) <= naive.replace(tzinfo=zone) - cut < timedelta(milliseconds=1)
    assert cut.tzinfo is UTC
    assert millisecond(naive) == millisecond(naive.replace(tzinfo=UTC))
