"""A message whose content came before becomes exactly what it would become by itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.events.envelope import encode
from rushlight.events.ids import event_id
from rushlight.ingest.context.circumstances import Circumstances
from rushlight.ingest.context.surroundings import Surroundings
from rushlight.ingest.dialects import segment, segment_repeats
from rushlight.ingest.dialects.segment import Segment
from rushlight.ingest.keys import Key
from rushlight.ingest.repeats import Again
from rushlight.ingest.reports import seal_all
from rushlight.ingest.request import Decoded, Request
from rushlight.settings import Shop

RECEIVED = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
KEYS = (Key("public", "default", "pk_a"), Key("secret", "default", "sk_a"), Key("public", "north", "pk_n"))
BERLIN = Surroundings({"north": Shop(time_zone="Europe/Berlin")})
TEA = {"product_id": "tea", "name": "Tea", "price": 3.99, "currency": "EUR", "quantity": 2}
SERVER = {"library": {"name": "@segment/analytics-node", "version": "2.3.0"}}
PAGE = SERVER | {"page": {"url": "https://shop.example/tea?utm_source=x&gclid=1"}, "locale": "de"}
SENT = "2026-05-01T11:00:20Z"
TIMES = [
    *("2026-05-01T11:00:00.123Z", "2026-05-01T11:00:00.1239999Z", "2026-05-01T13:00:00+02:00", "2026-05-01", ""),
    *("2026-05-01T11:00:00", "2030-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 17e11),
]
NO_CONSENT = {"consent": {"categoryPreferences": {"analytics_storage": False}}}

messages = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["track", "track", "track", "Track", "page", "identify", None]),
        "event": st.sampled_from(
            ["Product Viewed", "Product Added", "Size Guide Opened", "Order Completed", "Order Updated", "Login", "", 7]
        ),
        "messageId": st.sampled_from(["m1", "m2", "", "m" * 300, None, 7]),
    },
    optional={
        "anonymousId": st.sampled_from(["v1", "v2", "v\n", "", None, "ü", "v" * 300, 12]),
        "userId": st.sampled_from(["u1", "v1", "", None, "u\0", "u" * 300]),
        "properties": st.sampled_from(
            [TEA, TEA, {"products": [TEA], "cart_id": "c1"}, {"visitorId": "v1", "own": 1}, {"order_id": "o1"}, None, 3]
        ),
        "context": st.sampled_from([SERVER, SERVER, PAGE, NO_CONSENT, {"test": True}, None, 3]),
        "timestamp": st.sampled_from(TIMES),
        "sentAt": st.sampled_from(
            ["2026-05-01T11:00:10Z", "2026-05-01T11:00:10", "1990-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "x", None]
        ),
        "originalTimestamp": st.sampled_from(["2026-05-01T11:30:00Z", None]),
    },
)


def decoded(dialect: Segment, body: Any, path: str, key: Key, at: datetime = RECEIVED) -> Decoded:
    """What becomes of a request's body."""
    headers = {"user-agent": "node"}
    request = Request(
        path=path,
        headers=headers,
        body=json.dumps(body).encode(),
        received_at=at,
        client="203.0.113.9",
        trusted=key.kind == "secret",
    )
    return seal_all(dialect.decode(request), key, at, Circumstances(request, dialect.name, key, BERLIN))


def told(became: Decoded) -> tuple[list[bytes], int, list[Any], Any]:
    """The same for comparison."""
    return [encode(each) for each in became.envelopes], became.accepted, became.rejected, became.hints


@settings(max_examples=100, deadline=None)
@given(st.lists(messages, min_size=1, max_size=6), st.sampled_from(KEYS))
def test_the_same_as_by_itself(sent: list[dict[str, Any]], key: Key) -> None:
    """Whatever came before, in batches and alone, each message becomes what a dialect without memory makes of it."""
    sent = [{name: value for name, value in each.items() if value is not None or name != "type"} for each in sent]
    dialect = Segment()
    requests: list[tuple[str, Any]] = [("/v1/track", each) for each in sent[:2]]
    requests += [("/v1/batch", {"batch": sent}), ("/v1/batch", {"batch": sent, "context": SERVER, "sentAt": SENT})]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "token_hex", lambda _: "made")  # the id of a message that has none
        for turn in range(4):
            at = RECEIVED + timedelta(days=60 * turn, milliseconds=turn)
            for path, body in requests:
                assert told(decoded(dialect, body, path, key, at)) == told(decoded(Segment(), body, path, key, at))


def test_nobody_is_no_mould_of_others() -> None:
    """Without consent all stay nobody, also behind a visitor who is called as nobody is."""
    dialect, key = Segment(), KEYS[0]
    nobody = f"anonymous-{event_id(key.shop, 'public', 'segment', 'm')[:2]}"
    message = {"type": "track", "event": "Product Viewed", "properties": TEA, "context": NO_CONSENT}
    for message_id, visitor in (("a", nobody), ("b", nobody), ("m", nobody), ("v", "visitor-7")):
        who = {"messageId": message_id, "anonymousId": visitor, "userId": "customer-7"}
        became = decoded(dialect, message | who, "/v1/track", key)
        assert became.envelopes[0].visitor_id is became.envelopes[0].customer_id is None
        assert b"-7" not in encode(became.envelopes[0])


def again_of(dialect: Segment, number: int, **change: Any) -> object:
    """How the dialect reads one more message of a kind."""
    message = {"type": "track", "event": "Product Viewed", "messageId": f"m{number}", "anonymousId": f"v{number}"}
    body = json.dumps({"batch": [message | {"properties": TEA} | change]}).encode()
    (item,) = dialect.decode(Request(path="/v1/batch", body=body, received_at=RECEIVED))
    return item


def test_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A content is remembered when it comes for the second time, and forgotten when many others have come since."""
    monkeypatch.setattr(segment_repeats, "MAX_CONTENTS", 2)
    monkeypatch.setattr(segment_repeats, "MAX_SEEN", 20)
    dialect = Segment()
    assert [isinstance(again_of(dialect, number), Again) for number in range(4)] == [False, False, True, True]
    for other in range(10):
        for number in range(3):
            last = again_of(dialect, number, event=f"Other {other}")
        assert isinstance(last, Again)
        assert isinstance(again_of(dialect, 1), Again) == (other < 10)
    for other in range(6):
        for number in range(2):
            again_of(dialect, number, event=f"Another {other}")
    assert not isinstance(again_of(dialect, 1), Again)
    large = {"properties": TEA | {"description": "x" * 3000}}
    assert [isinstance(again_of(dialect, number, **large), Again) for number in range(3)] == [False] * 3
