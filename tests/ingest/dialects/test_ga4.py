"""GA4's Measurement Protocol becomes the shop's events; its debug route says what is wrong and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.errors import Rejected
from rushlight.events.envelope import Envelope
from rushlight.ingest.context.circumstances import Circumstances
from rushlight.ingest.dialects.ga4 import Ga4
from rushlight.ingest.dialects.ga4_debug import Ga4Debug
from rushlight.ingest.keys import Key
from rushlight.ingest.reports import seal_all
from rushlight.ingest.request import Decoded, Dialect, Report, Request

PUBLIC = Key("public", "default", "pk_")
SECRET = Key("secret", "default", "sk_")
RECEIVED = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
QUERY = "measurement_id=G-ABC1234567&api_secret=sk_x"
TEA = {"item_id": "tea", "item_name": "Tea", "item_category": "Drinks", "price": 3.59, "discount": 0.4, "quantity": 3}
POT = {"item_id": "pot", "price": "20.00"}
PURCHASE = {
    "transaction_id": "o1",
    "currency": "EUR",
    "value": 30.77,
    "tax": 4.1,
    "shipping": 3.5,
    "items": [TEA, POT],
}
FIELD_NAMES = st.sampled_from([*PURCHASE, "name", "params", "item_id", "price", "quantity"]) | st.text()


def event(name: str = "view_item", params: Any = None, **change: Any) -> dict[str, Any]:
    """One event as a sender writes it."""
    return {"name": name, "params": {} if params is None else params, **change}


def body_of(*events: Any, **change: Any) -> dict[str, Any]:
    """A request's body."""
    return {"client_id": "v.1", "events": list(events), **change}


def request_of(body: Any, key: Key = PUBLIC, query: str = QUERY) -> Request:
    """The request that brings a body, which is text when it is bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(path="/mp/collect", query=query, body=raw, received_at=RECEIVED, trusted=key.kind == "secret")


def sealed(request: Request, key: Key, dialect: Dialect | None = None) -> Decoded:
    """What the request holds."""
    items = [*(dialect or Ga4()).decode(request)]
    return seal_all(items, key, RECEIVED, Circumstances(request, "ga4", key))


def read(*events: Any, key: Key = PUBLIC, **change: Any) -> Decoded:
    """What these events become."""
    return sealed(request_of(body_of(*events, **change), key), key)


def one(*events: Any, key: Key = PUBLIC, **change: Any) -> Envelope:
    """The only envelope that they become."""
    decoded = read(*events, key=key, **change)
    assert (len(decoded.envelopes), decoded.rejected) == (1, [])
    return decoded.envelopes[0]


def messages(body: Any, key: Key = SECRET, query: str = QUERY) -> list[tuple[str, str]]:
    """Field and code of what the debug route says."""
    request = request_of(body, key, query)
    dialect = Ga4Debug()
    answer = dialect.answer(request, sealed(request, key, dialect))
    assert answer.status == 200
    found = json.loads(answer.body)["validationMessages"]
    assert all(message["description"] for message in found)
    return [(message["fieldPath"], message["validationCode"]) for message in found]


def micros(ago: timedelta) -> int:
    """A moment before the receipt as GA4 writes it."""
    return int((RECEIVED - ago).timestamp() * 1_000_000)


def test_the_key_is_the_api_secret() -> None:
    """It stands in the query."""
    assert Ga4().key_in(request_of({}, query="api_secret=sk_%2D1&firebase_app_id=1:2:web:a")) == "sk_-1"
    assert Ga4().key_in(request_of({}, query="measurement_id=G-1")) == ""


def test_what_a_visitor_does() -> None:
    """Catalogue events get the visitor, the customer, and items by id or name, with prices only of a known currency."""
    items = [TEA, {"item_name": "Pot"}, {"item_id": 7, "quantity": "2"}]
    seen = one(event("add_to_cart", {"items": items, "currency": "eur", "session_id": "1"}), user_id="c1")
    assert (seen.name, seen.aggregate_id, seen.visitor_id, seen.customer_id) == ("add_to_cart", "v.1", "v.1", "c1")
    assert seen.payload["items"] == [
        {"productId": "tea", "quantity": 3, "name": "Tea", "category": "Drinks", "price": 359, "currency": "EUR"},
        {"productId": "Pot", "name": "Pot"},
        {"productId": "7", "quantity": 2},
    ]
    without = one(event("view_item", {"items": [TEA]}))
    assert "price" not in without.payload["items"][0]
    screen = one(event("screen_view", {"screen_name": "Home"}))
    assert (screen.name, screen.payload["name"], (screen.context or {})["original"]) == (
        "screen",
        "Home",
        "screen_view",
    )
    page = one(
        event(
            "page_view",
            {"page_location": "https://shop/tea", "page_title": "Tea", "page_referrer": "https://r.example/x"},
        )
    )
    assert page.payload == {"visitorId": "v.1", "url": "https://shop/tea", "title": "Tea", "referrer": "r.example"}


def test_an_event_of_the_shop_s_own() -> None:
    """Unknown names are kept with their parameters."""
    own = one(event("generate_lead", {"value": 12, "currency": "EUR"}), user_id="c1")
    assert (own.name, own.payload, own.customer_id) == ("generate_lead", {"value": 12, "currency": "EUR"}, "c1")


def test_a_purchase_under_a_secret_key_is_an_order() -> None:
    """Gross is before discounts, ``value`` is not looked at, and the visitor's purchase comes along."""
    order, twin = read(event("purchase", PURCHASE), key=SECRET, user_id="c1").envelopes
    assert (order.name, order.aggregate_id, order.source, order.customer_id) == ("order_created", "o1", "api", "c1")
    payload = order.payload
    # (3.59 + 0.40) * 3 + 20.00, less 0.40 * 3
    assert (payload["gross"], payload["discounts"], payload["tax"], payload["shipping"]) == (3197, 120, 410, 350)
    assert payload["total"] == 3077 + 410 + 350
    assert (twin.name, twin.visitor_id, twin.payload["transactionId"]) == ("purchase", "v.1", "o1")


def test_a_purchase_under_a_public_key_is_behaviour() -> None:
    """It completes the funnel and makes no revenue; so does a refund."""
    bought = one(event("purchase", PURCHASE))
    assert (bought.name, bought.source, bought.payload["transactionId"]) == ("purchase", "web", "o1")
    assert one(event("refund", {"transaction_id": 12})).payload["transactionId"] == "12"


@pytest.mark.parametrize(
    ("left_out", "field"),
    [("currency", "params.currency"), ("transaction_id", "params.transaction_id"), ("items", "params.items")],
)
def test_what_an_order_needs(left_out: str, field: str) -> None:
    """Without a currency, an id or items there is no order, and the answer says so in GA4's words."""
    params = {name: value for name, value in PURCHASE.items() if name != left_out}
    decoded = read(event("purchase", params), event(), key=SECRET)
    assert (decoded.accepted, [(each.field, each.code) for each in decoded.rejected]) == (1, [(field, "missing")])
    answer = Ga4().answer(request_of({}), decoded)
    assert answer.status == 200
    assert json.loads(answer.body)["rejected"][0]["field"] == field


def test_answers() -> None:
    """204 without a body when all was taken; fields of a shared check are named as GA4 names them."""
    assert Ga4().answer(request_of({}), read(event())) == (204, b"", ())
    order = event("purchase", PURCHASE | {"items": [TEA | {"price": "1.999"}]})
    told = json.loads(Ga4().answer(request_of({}), read(order, key=SECRET)).body)
    reason = "2.399 has more digits than EUR has"
    assert told == {
        "accepted": 0,
        "rejected": [{"index": 0, "field": "params.items[0].price", "reason": reason, "code": "amount"}],
    }


def test_part_of_an_order_goes_back() -> None:
    """Items, or a value, under a secret key; the same part sent again is the same refund."""
    part = event("refund", {"transaction_id": "o1", "currency": "EUR", "items": [TEA], "refund_id": "r1"})
    by_items = one(part, key=SECRET)
    assert (by_items.name, by_items.aggregate_id) == ("order_refunded", "o1")
    assert by_items.payload["lines"] == [{"productId": "tea", "amount": 1077, "quantity": 3}]
    assert one(part, key=SECRET).id == by_items.id
    by_value = one(event("refund", {"transaction_id": "o1", "currency": "EUR", "value": 5, "items": [{}]}), key=SECRET)
    assert (by_value.payload["amount"], by_value.payload.get("lines")) == (500, None)
    rest = one(event("refund", {"transaction_id": "o1", "tax": 1}), key=SECRET)
    assert rest.payload == {"orderId": "o1", "refundId": "rest"}


def test_retries() -> None:
    """An id, or a time of its own, makes a repeated event the same one; an event with neither is another one."""
    for said in ({"params": {"event_id": "e1"}}, {"timestamp_micros": 1_777_636_000_000_000}):
        assert one({"name": "login", **said}).id == one({"name": "login", **said}).id
    reloaded = event("purchase", {"transaction_id": "o1"})
    assert one(reloaded).id == one(reloaded).id
    part = event("refund", {"transaction_id": "o1", "currency": "EUR", "value": 5})
    assert one(part, key=SECRET).id == one(part, key=SECRET).id
    old = micros(timedelta(days=7))
    assert one(event("login"), timestamp_micros=old).id == one(event("login"), timestamp_micros=old).id
    assert one(event("login", {"event_id": 1})).id != one(event("login", {"event_id": 2})).id
    assert one(event("login")).id != one(event("login")).id
    assert one(event("login"), user_id="").customer_id is None
    twice = read(event("login"), event("login"), timestamp_micros=1_777_636_000_000_000).envelopes
    assert twice[0].id != twice[1].id


def test_times() -> None:
    """An event's own time goes before the request's; behaviour is backdated by 72 hours at most, orders by any time."""
    hour, week = timedelta(hours=1), timedelta(days=7)
    assert one(event(timestamp_micros=micros(hour)), timestamp_micros=micros(week)).occurred_at == RECEIVED - hour
    assert one(event(), timestamp_micros=str(micros(hour))).occurred_at == RECEIVED - hour
    assert one(event(timestamp_micros=micros(week))).occurred_at == RECEIVED - timedelta(hours=72)
    order, _ = read(event("purchase", PURCHASE, timestamp_micros=micros(week)), key=SECRET).envelopes
    assert order.occurred_at == RECEIVED - week
    strict = read(event(timestamp_micros=micros(week)), validation_behavior="ENFORCE_RECOMMENDATIONS")
    assert [(each.field, each.code) for each in strict.rejected] == [("timestamp_micros", "time")]
    assert read(event(timestamp_micros=1e300)).rejected[0].field == "timestamp_micros"


def test_circumstances() -> None:
    """Consent, device, campaign, test traffic and what names a person are handed on."""
    (report,) = Ga4().decode(
        request_of(
            body_of(
                event("campaign_details", {"campaign": "May", "source": "mail", "traffic_type": "internal"}),
                consent={"ad_user_data": "GRANTED"},
                non_personalized_ads=True,
                device={"category": "mobile", "language": "de"},
                ip_override="192.0.2.7",
                user_properties={"tier": {"value": "gold"}},
            )
        )
    )
    assert isinstance(report, Report)
    said = report.given
    assert said.campaign is not None
    assert (said.campaign["name"], said.campaign["source"], said.test) == ("May", "mail", True)
    assert said.consent == {"ad_user_data": "GRANTED", "ad_personalization": "DENIED"}
    assert (said.device, said.locale, said.ip) == ("mobile", "de", "192.0.2.7")
    assert report.personal == {"tier": "gold"}


@pytest.mark.parametrize(
    ("said", "code"),
    [({"a": 2**63}, "number"), ({"a\0": 1}, "key"), ({f"{n}": n for n in range(401)}, "too_many_keys")],
)
def test_what_cannot_be_kept_of_a_person(said: dict[str, Any], code: str) -> None:
    """It is said once for the request, and told by the debug route, whether it is a property or of the user."""
    for place in ("user_properties", "user_data"):
        change: dict[str, Any] = {place: said}
        with pytest.raises(Rejected) as refused:
            read(event("login"), **change)
        assert (refused.value.field.partition(".")[0].partition("[")[0], refused.value.code) == (
            "user_properties",
            code,
        )
        assert messages(body_of(event("login"), **change)) != []


def test_a_bad_event_costs_only_itself() -> None:
    """NaN, broken text, things that are no event, and a request without a visitor."""
    raw = b'{"client_id":"v","events":[{"name":"login"},{"name":"x","params":{"a":NaN}},7,{"name":"\\ud800"},{"a":1}]}'
    decoded = sealed(request_of(raw), PUBLIC)
    assert (decoded.accepted, [each.index for each in decoded.rejected]) == (1, [1, 2, 3, 4])
    nobody = read(event(), event(), client_id="")
    assert [each.field for each in nobody.rejected] == ["client_id", "client_id"]
    assert [each.field for each in read().rejected] == ["events"]
    for broken in (b"", b"[]", b"{", b'{"events":{}}', b'{"client_id":1,"events":[]}', b"\xff"):
        with pytest.raises(Rejected):
            Ga4().decode(request_of(broken))


def test_what_is_missing_is_missing_once() -> None:
    """However many rules ask for a field, one message says so."""
    found = messages(body_of({"params": {}}, event("purchase", {"value": 5, "items": [{"item_id": "a", "price": 5}]})))
    assert found.count(("events[0].name", "VALUE_REQUIRED")) == 1
    assert ("events[0].name", "NAME_INVALID") not in found
    assert found.count(("events[1].params.currency", "VALUE_REQUIRED")) == 1


def test_a_request_that_debugs_clean() -> None:
    """No message where there is nothing to say."""
    assert messages(body_of(event("purchase", PURCHASE), user_properties={"tier": {"value": "gold"}})) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (body_of(event(), client_id=""), ("client_id", "VALUE_REQUIRED")),
        (body_of(), ("events", "VALUE_REQUIRED")),
        (body_of(*[event("login")] * 26), ("events", "EXCEEDED_MAX_ENTITIES")),
        (body_of(event("_x")), ("events[0].name", "NAME_RESERVED")),
        (body_of(event("Added To Cart")), ("events[0].name", "NAME_INVALID")),
        (body_of(event("n" * 41)), ("events[0].name", "NAME_INVALID")),
        (body_of(event("session_start")), ("events[0].name", "NAME_RESERVED")),
        (body_of({"params": {}}), ("events[0].name", "VALUE_REQUIRED")),
        (body_of(event("x", {f"p{n}": 1 for n in range(26)})), ("events[0].params", "EXCEEDED_MAX_ENTITIES")),
        (body_of(event("x", {"ga_x": 1})), ("events[0].params.ga_x", "NAME_RESERVED")),
        (body_of(event("x", {"p": "v" * 101})), ("events[0].params.p", "VALUE_OUT_OF_BOUNDS")),
        (body_of(event("x", {"value": 1})), ("events[0].params.currency", "VALUE_REQUIRED")),
        (body_of(event("purchase", PURCHASE | {"value": 38})), ("events[0].params.value", "VALUE_INVALID")),
        (body_of(event("purchase", PURCHASE | {"currency": "XXX"})), ("events[0].params.currency", "VALUE_INVALID")),
        (body_of(event("purchase", {})), ("events[0].params.transaction_id", "VALUE_REQUIRED")),
        (body_of(event("view_item", {"items": [{}]})), ("events[0].params.items[0].item_id", "VALUE_REQUIRED")),
        (body_of(event(), timestamp_micros=1), ("timestamp_micros", "VALUE_INVALID")),
        (body_of(event(), timestamp_micros=micros(timedelta(0)) // 1000), ("timestamp_micros", "VALUE_INVALID")),
        (body_of(event(), user_properties={"p" * 25: {"value": 1}}), (f"user_properties.{'p' * 25}", "NAME_INVALID")),
        (body_of(event(), consent={"ad_user_data": "yes"}), ("consent.ad_user_data", "VALUE_INVALID")),
        (
            b'{"client_id":"v","events":[{"name":"x","params":{"a":1,"a":2}}]}',
            ("events[0].params.a", "NAME_DUPLICATED"),
        ),
        (b"{", ("", "VALUE_INVALID")),
    ],
)
def test_what_the_debug_route_says(body: Any, message: tuple[str, str]) -> None:
    """Each of GA4's rules has its code, and the path of the field."""
    assert message in messages(body)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELD_NAMES, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(ANY_JSON, st.sampled_from(["purchase", "refund", "view_item", "x"]), st.booleans())
def test_whatever_is_sent(said: Any, name: str, inside: bool) -> None:
    """Any JSON is decoded or refused with a reason, by both routes, under both keys."""
    body = body_of(event(name, said)) if inside else said
    raw = json.dumps(body).encode()
    for key in (PUBLIC, SECRET):
        request = request_of(raw, key)
        debug = Ga4Debug()
        assert debug.answer(request, sealed(request, key, debug)).status == 200
        try:
            decoded = sealed(request, key)
        except Rejected:
            continue
        assert all(each.reason and each.code for each in decoded.rejected)
