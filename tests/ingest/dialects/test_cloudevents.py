"""Every CloudEvent becomes the right event, or is turned away with what is wrong with it; never is it our error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.errors import Rejected
from rushlight.events.envelope import Envelope, encode
from rushlight.events.envelope import decode as decode_envelope
from rushlight.events.event import event_type, validate
from rushlight.events.ids import event_id, money_id
from rushlight.ingest.context.circumstances import Circumstances
from rushlight.ingest.dialects.cloudevents import BATCH, STRUCTURED, CloudEvents
from rushlight.ingest.keys import Key
from rushlight.ingest.limits import TooLarge
from rushlight.ingest.reports import seal_all
from rushlight.ingest.request import Decoded, Request, UnknownMediaType
from rushlight.store.journal import to_raw

PUBLIC = Key("public", "default", "pk_")
SECRET = Key("secret", "default", "sk_")
RECEIVED = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
ORDER = {
    "orderId": "o1",
    "currency": "EUR",
    "customerId": "c1",
    "lines": [
        {"productId": "tea", "quantity": 3, "unitPrice": "3.99", "name": "Tea"},
        {"productId": "pot", "quantity": 1, "amount": 20, "discount": "2.50"},
    ],
    "discount": "1.00",
    "tax": "4.10",
    "shipping": 3.5,
}


def cloud(name: str = "view_item", data: Any = None, **attributes: Any) -> dict[str, Any]:
    """A CloudEvent as a sender writes it."""
    event = {"specversion": "1.0", "id": "m1", "source": "/shop", "type": name, **attributes}
    return event if data is None else event | {"data": data}


def read(
    body: Any, key: Key = PUBLIC, media_type: str = STRUCTURED, headers: Mapping[str, str] | None = None
) -> Decoded:
    """Decode a request of this key."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(
        path="/events",
        headers={"content-type": media_type, **(headers or {})},
        body=raw,
        received_at=RECEIVED,
        trusted=key.kind == "secret",
    )
    decoded = seal_all([*CloudEvents().decode(request)], key, RECEIVED, Circumstances(request, "cloudevents", key))
    return decoded._replace(envelopes=[decode_envelope(encode(each)) for each in decoded.envelopes])


def one(body: Any, key: Key = PUBLIC) -> Envelope:
    """The one event that a request makes."""
    decoded = read(body, key)
    assert decoded.rejected == []
    (envelope,) = decoded.envelopes
    return envelope


def refusal(body: Any, key: Key = PUBLIC) -> tuple[str, str]:
    """Field and code with which the one event of a request is turned away."""
    decoded = read(body, key)
    assert decoded.envelopes == []
    (rejection,) = decoded.rejected
    assert rejection.reason
    return rejection.field, rejection.code


def test_behaviour() -> None:
    """A view becomes the typed event, its price in minor units, keyed by its visitor, with a reproducible id."""
    items = [
        {"productId": "tea", "price": "3.99", "name": "Tea"},
        {"productId": "rug", "price": 120, "currency": "JPY"},
    ]
    data = {"visitorId": "v1", "customerId": "c1", "items": items, "currency": "EUR"}
    envelope = one(cloud(data=data, time="2026-05-01T11:59:00.1239+02:00", traceparent="00-1"))
    assert envelope == Envelope(
        id=event_id("default", "public", "/shop", "m1"),
        name="view_item",
        aggregate_id="v1",
        payload={
            "visitorId": "v1",
            "items": [
                {"productId": "tea", "name": "Tea", "price": 399, "currency": "EUR"},
                {"productId": "rug", "price": 120, "currency": "JPY"},
            ],
        },
        occurred_at=datetime(2026, 5, 1, 9, 59, 0, 123_000, tzinfo=UTC),
        received_at=RECEIVED,
        shop="default",
        source="web",
        origin="",
        visitor_id="v1",
        customer_id="c1",
        trace="00-1",
        context={"dialect": "cloudevents", "key": "pk_"},
    )


@pytest.mark.parametrize("name", ["login", "io.rushlight.login", "com.example.shop.login.v2"])
def test_the_type_ends_in_the_name(name: str) -> None:
    """Bare, behind a reversed domain, and with a version at the end."""
    assert one(cloud(name, subject="v1")).name == "login"


def test_an_order_makes_two_events_when_its_visitor_is_known() -> None:
    """The money is keyed by the order, the purchase by the visitor; amounts are exact and add up."""
    decoded = read(cloud("order_created", ORDER | {"visitorId": "v1"}), SECRET)
    assert (decoded.accepted, decoded.rejected) == (1, [])
    money, purchase = decoded.envelopes
    assert money.payload == {
        "orderId": "o1",
        "currency": "EUR",
        "lines": [
            {"productId": "tea", "quantity": 3, "amount": 1197, "discount": 41, "unitPrice": 399, "name": "Tea"},
            {"productId": "pot", "quantity": 1, "amount": 2000, "discount": 309},
        ],
        "gross": 3197,
        "discounts": 350,
        "tax": 410,
        "shipping": 350,
        "total": 3607,
        "customerId": "c1",
        "visitorId": "v1",
    }
    assert (money.id, money.aggregate_id, money.source, money.customer_id) == (
        money_id("default", "api", "o1", "order_created"),
        "o1",
        "api",
        "c1",
    )
    assert (purchase.name, purchase.aggregate_id, purchase.visitor_id) == ("purchase", "v1", "v1")
    assert purchase.payload["transactionId"] == "o1"
    assert [item["productId"] for item in purchase.payload["items"]] == ["tea", "pot"]
    assert len(read(cloud("order_created", ORDER), SECRET).envelopes) == 1


def test_money_goes_by_what_it_is_about() -> None:
    """The same order, payment or refund under another message id is the same event; a second refund is another one."""

    def of(name: str, message: str, **data: Any) -> str:
        return one(cloud(name, data, id=message), SECRET).id

    paid = {"orderId": "o1", "paymentId": "p1", "currency": "EUR", "amount": "36.07"}
    refund = {"orderId": "o1", "currency": "EUR", "amount": "5"}
    assert of("order_created", "a", **ORDER) == of("order_created", "b", **ORDER)
    assert of("order_paid", "a", **paid) == of("order_paid", "b", **paid)
    assert of("order_refunded", "a", refundId="r1", **refund) == of("order_refunded", "b", refundId="r1", **refund)
    assert of("order_refunded", "a", refundId="r1", **refund) != of("order_refunded", "a", refundId="r2", **refund)
    assert of("order_cancelled", "a", orderId="o1") == of("order_cancelled", "a", orderId="o1")
    assert of("order_cancelled", "a", orderId="o1") != of("order_cancelled", "b", orderId="o1")


def test_refunds() -> None:
    """The goods' part is the sum of the lines; tax and shipping stand apart."""
    lines = [{"productId": "tea", "quantity": 1, "amount": "3.99"}, {"productId": "pot", "amount": "1.01"}]
    data = {"refundId": "r1", "currency": "EUR", "lines": lines, "tax": "0.95", "shipping": 1}
    assert one(cloud("order_refunded", data, subject="o1"), SECRET).payload == {
        "orderId": "o1",
        "refundId": "r1",
        "currency": "EUR",
        "amount": 500,
        "lines": [{"productId": "tea", "amount": 399, "quantity": 1}, {"productId": "pot", "amount": 101}],
        "tax": 95,
        "shipping": 100,
    }
    assert refusal(cloud("order_refunded", data | {"amount": "5.01"}, subject="o1"), SECRET) == (
        "data.amount",
        "amount",
    )


@pytest.mark.parametrize("name", ["order_created", "order_paid", "order_refunded", "order_cancelled", "order_anything"])
def test_a_public_key_reports_no_money(name: str) -> None:
    """Whatever it says, it is turned away with the reason."""
    assert refusal(cloud(name, ORDER)) == ("type", "money_needs_secret_key")


def test_own_events_are_kept_as_they_are() -> None:
    """A name that is not in the catalogue keeps its payload, about its visitor or its subject."""
    payload = {"visitorId": "v1", "a": {"$gt": 1, "b.c": [1.5, None, "x"]}, "n": 2**63 - 1}
    envelope = one(cloud("spun_the_wheel", payload))
    assert (envelope.payload, envelope.aggregate_id, envelope.visitor_id) == (payload, "v1", "v1")
    assert one(cloud("spun_the_wheel", subject="table 4")).aggregate_id == "table 4"
    assert refusal(cloud("spun_the_wheel", {"a": 1})) == ("data.visitorId", "missing")


def test_one_bad_event_costs_no_neighbour() -> None:
    """In a batch each event has its own result, with index, field, reason and code."""
    good = cloud("login", subject="v1")
    bad = [5, cloud("login"), good | {"specversion": "0.3"}, good | {"time": "yesterday"}, good | {"id": ""}, {}]
    decoded = read([good, *bad, good | {"id": "m2"}], media_type=BATCH)
    assert (decoded.accepted, len(decoded.envelopes)) == (2, 2)
    assert [(r.index, r.field, r.code) for r in decoded.rejected] == [
        (1, "", "invalid"),
        (2, "data.visitorId", "missing"),
        (3, "specversion", "specversion"),
        (4, "time", "invalid"),
        (5, "id", "id"),
        (6, "id", "missing"),
    ]


def test_text_that_breaks_the_batch_costs_no_neighbour() -> None:
    """NaN, an exponent beyond any number, half a surrogate pair, broken UTF-8: only the event that holds it goes."""
    event = b'{"specversion":"1.0","id":"m","source":"s","type":"own","subject":"v","data":{"a":%s}}'
    values = [b"1", b"NaN", b'"\\ud800"', b"1e400", b"-Infinity", b'"\xff"', b"9" * 400, b"2"]
    decoded = read(b"[" + b",".join(event % value for value in values) + b"]", media_type=BATCH)
    assert [envelope.payload for envelope in decoded.envelopes] == [{"a": 1}, {"a": 2}]
    assert [rejection.index for rejection in decoded.rejected] == [1, 2, 3, 4, 5, 6]


def test_times_are_never_in_the_future() -> None:
    """A clock that is ahead is set back to the receipt; a late report keeps its time; nonsense is refused."""
    future = (RECEIVED + timedelta(days=400)).isoformat()
    assert one(cloud("login", subject="v", time=future)).occurred_at == RECEIVED
    assert one(cloud("login", subject="v", time="2020-02-29T00:00:00Z")).occurred_at.year == 2020
    for time in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"):
        assert refusal(cloud("login", subject="v", time=time)) == ("time", "time")


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"currency": "XYZ"}, "data.currency", "currency"),
        ({"currency": "eur"}, "data.currency", "invalid"),
        ({"lines": []}, "data.lines", "invalid"),
        ({"discunt": "1.00"}, "data.discunt", "unknown_field"),
        ({"discount": "99999"}, "data.discount", "amount"),
        ({"tax": "-1"}, "data.tax", "amount"),
        ({"tax": "1.001"}, "data.tax", "amount"),
        ({"tax": 1e300}, "data.tax", "amount"),
        ({"tax": 2**63}, "data.tax", "amount"),
        ({"tax": "1e400"}, "data.tax", "amount"),
        ({"tax": True}, "data.tax", "invalid"),
        ({"lines": [{"productId": "tea", "quantity": 1}]}, "data.lines[0].unitPrice", "missing"),
        ({"lines": [{"quantity": 1, "amount": 1}]}, "data.lines[0].productId", "missing"),
        ({"lines": [{"productId": "a", "unitPrice": 2, "amount": 3}]}, "data.lines[0].amount", "amount"),
        ({"lines": [{"productId": "a", "amount": 3, "discount": 4}]}, "data.lines[0].discount", "amount"),
        ({"lines": [{"productId": "a", "unitPrice": 10**9, "quantity": 10**9}]}, "data.lines[0].unitPrice", "amount"),
        ({"lines": [{"productId": "a", "amount": 9 * 10**13}] * 2}, "data.lines", "amount"),
        ({"orderId": ""}, "data.orderId", "invalid"),
        ({"orderId": "a\nb"}, "data.orderId", "text"),
        ({"customerId": "\0"}, "data.customerId", "text"),
    ],
)
def test_what_is_wrong_with_an_order_is_said(change: dict[str, Any], field: str, code: str) -> None:
    """Every refusal names the field, and has a word to count it by."""
    assert refusal(cloud("order_created", ORDER | change), SECRET) == (field, code)


@pytest.mark.parametrize("body", [b"", b"x", b"[", b"{", b'"a"', b"1", b"null", b"[" * 10_000, b"\xff\xfe", b"[]"])
def test_an_unreadable_request_is_refused_as_a_whole(body: bytes) -> None:
    """There is nothing in it of which one could say what is wrong."""
    with pytest.raises(Rejected) as error:
        read(body)
    assert error.value.code == "json"


def test_limits() -> None:
    """Too many events, a large one, a deep one, one with many keys: each is refused, and neighbours are kept."""
    with pytest.raises(TooLarge):
        read([{}] * 2501, media_type=BATCH)
    assert read([], media_type=BATCH) == Decoded([], 0, [])
    deep: Any = 1
    for _ in range(20):
        deep = {"a": deep}
    cases = [{"a": "x" * 70_000}, {"a": deep}, {"a": dict.fromkeys(map(str, range(500)))}, {"a\0": 1}, {"a": 2**64}]
    events = [cloud("own", case, subject="v") for case in cases]
    decoded = read([*events, cloud("own", {}, subject="v")], media_type=BATCH)
    assert [rejection.code for rejection in decoded.rejected] == ["size", "too_deep", "too_many_keys", "key", "number"]
    assert decoded.accepted == 1


def test_media_types() -> None:
    """Structured, batch, what beacons and hand-written requests send, and binary mode; anything else is told so."""
    event = cloud("login", subject="v")
    for media_type in (STRUCTURED, "application/json", "text/plain;charset=UTF-8", f"{STRUCTURED}; charset=utf-8"):
        assert read(event, media_type=media_type).accepted == 1
    assert read([event], media_type="application/json").accepted == 1
    headers = {"ce-specversion": "1.0", "ce-id": "m%201", "ce-source": "s", "ce-type": "own", "ce-subject": "v"}
    binary = read(b'{"a":1}', media_type="application/json", headers=headers)
    assert binary.envelopes[0].id == event_id("default", "public", "s", "m 1")
    assert binary.envelopes[0].payload == {"a": 1}
    assert read(b"{}", media_type="application/json", headers=headers | {"ce-time": "no"}).rejected[0].field == "time"
    for media_type in ("application/xml", "multipart/form-data", "application/cloudevents+avro"):
        with pytest.raises(UnknownMediaType):
            read(event, media_type=media_type)
    with pytest.raises(UnknownMediaType):
        read(b"<a/>", media_type="application/xml", headers=headers)
    assert refusal(event | {"data_base64": "e30="}) == ("datacontenttype", "media_type")
    assert refusal(event | {"datacontenttype": "application/xml"}) == ("datacontenttype", "media_type")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["EUR", "JPY", "1.00", "-1", "1e9999", "NaN", "2026-01-01T00:00:00Z", "a\0", "\ud800", "$where"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(
                ["orderId", "currency", "lines", "items", "visitorId", "productId", "amount", "price", "quantity"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["view_item", "page_view", "search", "purchase", "order_created", "order_refunded", "order_shipped", "own", "a b"]
)
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "specversion": st.just("1.0") | JSON,
        "id": st.text(max_size=5) | JSON,
        "source": st.just("s") | JSON,
        "type": NAMES | JSON,
        "subject": st.just("v") | JSON,
        "time": st.just("2026-01-01T00:00:00Z") | JSON,
        "data": JSON,
    },
)
COMPLETE = {"specversion": "1.0", "id": "m", "source": "s", "type": "own", "subject": "v"}


@settings(max_examples=300, deadline=None)
@given(st.lists(ATTRIBUTES, max_size=4), st.sampled_from([PUBLIC, SECRET]))
def test_whatever_is_sent_is_accepted_or_refused(batch: list[dict[str, Any]], key: Key) -> None:
    """Any JSON: each event is turned away with a reason, or it passes every later check and can be stored."""
    try:
        decoded = read([COMPLETE | event for event in batch], key, BATCH)
    except Rejected:
        return
    assert decoded.accepted + len(decoded.rejected) == len(batch)
    assert all(rejection.reason for rejection in decoded.rejected)
    for envelope in decoded.envelopes:
        declared = event_type(envelope.name)
        if declared is not None:
            validate(declared, envelope.payload)
        to_raw(envelope, 0, 1)
        assert decode_envelope(encode(envelope)) == envelope
        assert envelope.occurred_at <= envelope.received_at


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([STRUCTURED, BATCH, "application/json"]))
def test_no_bytes_are_our_error(body: bytes, media_type: str) -> None:
    """Whatever the bytes are, the worst that happens is Rejected."""
    with suppress(Rejected):
        read(body, SECRET, media_type)


def test_a_text_that_is_too_long_is_told_in_words() -> None:
    """A currency of four letters is refused with how many it may have, and no type of a program's."""
    item = {"productId": "tea", "price": "1.00", "currency": "USDD"}
    (rejection,) = read(cloud(data={"items": [item]})).rejected
    assert (rejection.field, rejection.reason) == ("data.items[0].currency", "may have 3 characters")
