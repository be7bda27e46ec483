"""Every message of Segment's API becomes the right event, or is turned away alone; never is it our error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rushlight.errors import Rejected
from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.events.envelope import Envelope, encode
from rushlight.events.envelope import decode as decode_envelope
from rushlight.events.event import event_type, validate
from rushlight.events.ids import event_id, money_id
from rushlight.ingest import names
from rushlight.ingest.clock import corrected
from rushlight.ingest.context.circumstances import Circumstances
from rushlight.ingest.dialects.segment import PATHS, Segment
from rushlight.ingest.keys import Key
from rushlight.ingest.limits import TooLarge
from rushlight.ingest.reports import seal_all
from rushlight.ingest.request import Decoded, Request
from rushlight.store.journal import to_raw

PUBLIC = Key("public", "default", "pk_")
SECRET = Key("secret", "default", "sk_")
RECEIVED = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SHOWN = {"product_id": "tea", "name": "Tea", "category": "Drinks", "price": 3.99, "quantity": 3}
# The example of Segment's specification.
ORDER: dict[str, Any] = {
    "checkout_id": "fksdjfsdjfisjf9sdfjsd9f",
    "order_id": "50314b8e9bcf000000000000",
    "affiliation": "Google Store",
    "total": 27.50,
    "subtotal": 22.50,
    "revenue": 25.00,
    "shipping": 3,
    "tax": 2,
    "discount": 2.5,
    "coupon": "hasbros",
    "currency": "USD",
    "products": [
        {"product_id": "507f1f77bcf86cd799439011", "sku": "45790-32", "name": "Monopoly: 3rd Edition", "price": 19},
        {
            "product_id": "505bd76785ebb509fc183733",
            "sku": "46493-32",
            "name": "Uno Card Game",
            "price": 3,
            "quantity": 2,
        },
    ],
}


def request_of(
    body: Any, path: str = "/v1/batch", key: Key = PUBLIC, headers: Mapping[str, str] | None = None
) -> Request:
    """A request with this body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(path=path, headers=headers or {}, body=raw, received_at=RECEIVED, trusted=key.kind == "secret")


def read(body: Any, path: str = "/v1/batch", key: Key = PUBLIC) -> Decoded:
    """Decode a request of this key."""
    request = request_of(body, path, key)
    decoded = seal_all([*Segment().decode(request)], key, RECEIVED, Circumstances(request, "segment", key))
    return decoded._replace(envelopes=[decode_envelope(encode(each)) for each in decoded.envelopes])


def track(event: str, properties: Any = None, **fields: Any) -> dict[str, Any]:
    """A track message as an SDK sends it."""
    message = {"type": "track", "event": event, "anonymousId": "a1", "messageId": "m1", **fields}
    return message if properties is None else message | {"properties": properties}


def one(message: Any, key: Key = PUBLIC, path: str = "/v1/track") -> Envelope:
    """The one event that a message makes."""
    decoded = read(message, path, key)
    assert decoded.rejected == []
    (envelope,) = decoded.envelopes
    return envelope


def refusal(message: Any, key: Key = PUBLIC, path: str = "/v1/track") -> tuple[str, str]:
    """Field, in Segment's words, and code with which the one event is turned away."""
    decoded = read(message, path, key)
    assert decoded.envelopes == []
    answer = Segment().answer(request_of(b""), decoded)
    assert answer.status == 200
    (rejection,) = json.loads(answer.body)["rejected"]
    assert rejection["reason"]
    return rejection["field"], rejection["code"]


def order(changes: dict[str, Any] | None = None, **fields: Any) -> Envelope:
    """The order that the specification's example makes with these changes; None takes a property out."""
    properties = {name: value for name, value in {**ORDER, **(changes or {})}.items() if value is not None}
    decoded = read(track("Order Completed", properties, **fields), "/v1/track", SECRET)
    assert decoded.rejected == []
    return decoded.envelopes[0]


def test_a_view() -> None:
    """Segment's name and fields become the catalogue's, with the visitor, the customer and the context."""
    context = {
        "library": {"name": "analytics.js", "version": "next-1.84.3"},
        "page": {"url": "https://shop.example/tea", "referrer": "https://search.example/"},
        "traits": {"email": "a@b.example"},
    }
    properties = {"product_id": "tea", "sku": "T-1", "name": "Tea", "price": "3.99", "currency": "eur", "cart_id": "k1"}
    message = track("Product Viewed", properties, userId=7, context=context, timestamp="2026-05-01T11:59:58.123Z")
    envelope = one(message)
    assert envelope.id == event_id("default", "public", "segment", "m1")
    assert (envelope.name, envelope.aggregate_id, envelope.visitor_id, envelope.customer_id) == (
        "view_item",
        "a1",
        "a1",
        "7",
    )
    item = {"productId": "tea", "name": "Tea", "price": 399, "currency": "EUR"}
    assert envelope.payload == {"visitorId": "a1", "items": [item]}
    assert envelope.occurred_at == datetime(2026, 5, 1, 11, 59, 58, 123_000, tzinfo=UTC)
    assert (envelope.correlation_id, envelope.personal) == ("k1", None)
    assert envelope.context is not None
    assert envelope.context["original"] == "Product Viewed"
    assert envelope.context["library"] == "analytics.js/next-1.84.3"


@pytest.mark.parametrize(("sent", "name"), names.SEGMENT_NAMES.items())
def test_every_name_of_the_specification(sent: str, name: str) -> None:
    """However it is spelt; what moves money comes from a secret key only, or is behaviour."""
    properties = {"products": [SHOWN], "query": "tea", "order_id": "o1", "promotion_id": "p1"}
    for spelt in (sent, sent.upper(), sent.lower().replace(" ", "_"), f" {sent.replace(' ', '')} "):
        message = track(spelt, properties)
        if name in MONEY_EVENTS:
            assert refusal(message) == ("event", "money_needs_secret_key")
            assert one(message, SECRET).name == name
        else:
            envelope = one(message)
            assert envelope.name == name
            declared = event_type(name)
            assert declared is not None
            validate(declared, envelope.payload)


def test_the_fields_of_other_events() -> None:
    """Searches, promotions, pages and screens, each with its own fields."""
    assert one(track("Products Searched", {"query": "tea"})).payload["searchTerm"] == "tea"
    promotion = {"promotion_id": "p1", "creative": "leaves", "name": "Autumn", "position": "top"}
    assert one(track("Promotion Clicked", promotion)).payload == {
        "visitorId": "a1",
        "promotionId": "p1",
        "promotionName": "Autumn",
        "creativeName": "leaves",
        "creativeSlot": "top",
    }
    context = {"page": {"url": "https://shop.example/", "title": "Home", "referrer": ""}}
    page = {"anonymousId": "a1", "messageId": "m1", "name": "Home", "category": "Shop", "context": context}
    assert one(page, path="/v1/p").payload == {
        "visitorId": "a1",
        "url": "https://shop.example/",
        "title": "Home",
        "name": "Home",
        "category": "Shop",
    }
    assert one(page, path="/v1/screen").payload == {"visitorId": "a1", "name": "Home", "category": "Shop"}


def test_who_is_who() -> None:
    """What names a person travels apart from the payload; an alias and a group say which ids they join."""
    traits = {"email": "a@b.example", "name": "Ada"}
    identify = {"userId": "u1", "anonymousId": "a1", "traits": traits, "context": {"traits": {"plan": "tea"}}}
    envelope = one(identify, path="/v1/identify")
    assert (envelope.name, envelope.payload, envelope.customer_id) == ("identify", {"visitorId": "a1"}, "u1")
    assert envelope.personal == {"plan": "tea", **traits}
    alias = one({"previousId": "a1", "userId": "u1"}, path="/v1/alias")
    assert (alias.payload, alias.customer_id) == ({"visitorId": "u1", "previousId": "a1"}, "u1")
    assert refusal({"previousId": "a1", "anonymousId": "a2"}, path="/v1/alias") == ("userId", "missing")
    group = one({"userId": "u1", "groupId": 5, "traits": {"name": "Tea & Co", "phone": "1"}}, path="/v1/group")
    assert group.payload == {"visitorId": "u1", "groupId": "5", "name": "Tea & Co"}
    assert group.personal == {"group": {"name": "Tea & Co", "phone": "1"}}
    assert refusal({"userId": "u1"}, path="/v1/group") == ("groupId", "missing")


def test_what_the_catalogue_does_not_know() -> None:
    """It stays the shop's own event with all that it says, under a name made of its own."""
    envelope = one(track("Video Played", {"seconds": 3.5, "visitorId": 5, "$set": {"a.b": [1, None]}}))
    assert (envelope.name, envelope.visitor_id) == ("video_played", "a1")
    assert envelope.payload == {"seconds": 3.5, "visitorId": 5, "$set": {"a.b": [1, None]}}
    assert envelope.context is not None
    assert envelope.context["original"] == "Video Played"


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("videoPlayed", "video_played"),
        ("already_fine", "already_fine"),
        ("2nd Step", "event_2nd_step"),
        ("Käse gekauft!", "kase_gekauft"),
        ("__proto__", "proto"),
        ("view item", "view_item"),
        ("Order Details Viewed", "event_order_details_viewed"),
    ],
)
def test_names_of_its_own(sent: str, name: str) -> None:
    """Words in lower case with underscores between them."""
    assert names.event_name(sent) == name


@given(st.text(min_size=1))
def test_any_name_becomes_one(sent: str) -> None:
    """Whatever was typed, the name is one that an event may have, and no other name than before."""
    name = names.event_name(sent)
    assert len(name) <= 64
    assert name.replace("_", "").isalnum()
    assert name.isascii()
    assert name[0].isalpha()
    assert names.event_name(name) == name


def test_a_resend_has_the_same_id_by_whatever_route() -> None:
    """One message alone, by its short route or in a batch at any place, under one kind of key."""
    message = track("Product Viewed", SHOWN)
    again = message | {"sentAt": "2026-05-01T11:00:00Z"}
    alone = {one(message).id, one(again, path="/v1/t").id}
    other = track("Other", messageId="m2")
    batched = {read({"batch": [other, message]}, path).envelopes[1].id for path in ("/v1/batch", "/v1/b", "/v1/import")}
    assert alone == batched == {event_id("default", "public", "segment", "m1")}
    assert one(message, SECRET).id not in alone
    del message["messageId"]
    assert one(message).id != one(message).id


def test_a_batch() -> None:
    """What the batch says counts for all its messages, what a message says first; one bad message costs itself."""
    shared = {"library": {"name": "node", "version": "3"}, "locale": "de"}
    messages = [
        track("A", messageId="1"),
        track("B", messageId="2", context={"library": {"name": "own"}}),
        {"type": "track", "anonymousId": "a1"},
        "nothing",
        {"type": "TRACK", "event": "C", "userId": "u1", "messageId": 3},
        {"type": "nothing", "userId": "u1"},
        {"type": "page", "messageId": "4"},
    ]
    decoded = read({"batch": messages, "context": shared, "sentAt": "2026-05-01T12:00:00Z", "writeKey": "pk_x"})
    assert decoded.accepted == 3
    assert [envelope.context and envelope.context.get("library") for envelope in decoded.envelopes] == [
        "node/3",
        "own",
        "node/3",
    ]
    told = json.loads(Segment().answer(request_of(b""), decoded).body)
    assert (told["success"], told["accepted"]) == (True, 3)
    assert [(each["index"], each["field"], each["code"]) for each in told["rejected"]] == [
        (2, "event", "missing"),
        (3, "", "type"),
        (5, "type", "type"),
        (6, "userId", "missing"),
    ]


def test_a_batch_with_what_is_no_json() -> None:
    """NaN, half a surrogate pair and a message too large cost their own messages."""
    good, large = track("A"), track("B", {"text": "x" * 70_000})
    parts = [
        json.dumps(good),
        json.dumps(track("N")).replace('"N"', "NaN"),
        json.dumps(track("S")).replace('"S"', '"\\ud800"'),
        json.dumps(large),
        json.dumps(good | {"messageId": "m2"}),
    ]
    decoded = read(f'{{"batch": [{",".join(parts)}]}}'.encode())
    assert [envelope.name for envelope in decoded.envelopes] == ["a", "a"]
    assert [(rejection.index, rejection.code) for rejection in decoded.rejected] == [
        (1, "json"),
        (2, "json"),
        (3, "size"),
    ]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"{", "/v1/track"),
        (b"", "/v1/batch"),
        (b"[]", "/v1/batch"),
        (b"{}", "/v1/batch"),
        (b'{"batch": {}}', "/v1/batch"),
        (b'{"batch": []}', "/v1/batch"),
    ],
)
def test_a_body_that_is_none(body: bytes, path: str) -> None:
    """Only what cannot be read as a whole is refused as a whole."""
    with pytest.raises(Rejected):
        read(body, path)
    with pytest.raises(TooLarge):
        read(track("A", {"text": "x" * 70_000}), "/v1/track")


def test_the_key_in_the_body() -> None:
    """``writeKey`` is one; a body that is none of ours has none."""
    assert Segment().key_in(request_of({"writeKey": "pk_1", "batch": []})) == "pk_1"
    for body in (b"", b"[]", b"{", {"writeKey": 5}):
        assert Segment().key_in(request_of(body)) == ""


def test_the_specifications_order() -> None:
    """The published formula gives the total of the specification's example, to the cent, and no hint."""
    decoded = read(track("Order Completed", ORDER, userId="u1"), "/v1/track", SECRET)
    money, purchase = decoded.envelopes
    assert decoded.hints == ()
    assert money.id == money_id("default", "api", ORDER["order_id"], "order_created")
    amounts = ("gross", "discounts", "tax", "shipping", "total", "currency")
    assert [money.payload[name] for name in amounts] == [2500, 250, 200, 300, 2750, "USD"]
    assert [(line["unitPrice"], line["quantity"], line["discount"]) for line in money.payload["lines"]] == [
        (1900, 1, 190),
        (300, 2, 60),
    ]
    assert (money.customer_id, money.visitor_id, money.correlation_id) == ("u1", "a1", ORDER["checkout_id"])
    assert (purchase.name, purchase.visitor_id) == ("purchase", "a1")
    assert one(track("Order Completed", ORDER)).name == "purchase"


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 99)), min_size=1, max_size=6),
    st.integers(0, 10**7),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_sums_are_exact(products: list[tuple[int, int]], discount: int, tax: int, as_numbers: bool) -> None:
    """Whatever the prices, as JSON numbers or as text, the order comes to the cent, and its own total gets no hint."""

    def written(cents: int) -> Any:
        return cents / 100 if as_numbers else f"{cents // 100}.{cents % 100:02d}"

    gross = sum(price * count for price, count in products)
    discount = min(discount, gross)
    some = [{"sku": f"p{at}", "price": written(each[0]), "quantity": each[1]} for at, each in enumerate(products)]
    properties = {"order_id": "o", "products": some, "tax": written(tax), "discount": written(discount)}
    total = gross - discount + tax
    decoded = read(track("Order Completed", properties | {"total": written(total)}), "/v1/track", SECRET)
    payload = decoded.envelopes[0].payload
    assert (payload["gross"], payload.get("discounts", 0), payload.get("tax", 0)) == (gross, discount, tax)
    assert payload.get("total", 0) == total
    assert sum(line.get("discount", 0) for line in payload["lines"]) == discount
    assert decoded.hints == ()


def test_the_sums_of_an_order_are_compared() -> None:
    """A total that is not what the products come to is told, and changes nothing."""
    decoded = read(track("Order Completed", ORDER | {"total": "30.00"}), "/v1/track", SECRET)
    assert decoded.envelopes[0].payload["total"] == 2750
    told = json.loads(Segment().answer(request_of(b""), decoded).body)
    assert told["accepted"] == 1
    assert "total is 30.00, where the products come to 27.5" in told["hints"][0]["reason"]
    assert read(track("Order Completed", ORDER | {"total": "?"}), "/v1/track", SECRET).hints


def test_orders_told_otherwise() -> None:
    """Products' own discounts, no currency, no prices, no products: each has its documented meaning."""
    own = [{"sku": "a", "price": "10.00", "quantity": 2, "discount": "1.50"}, {"id": "b", "price": 5}]
    none = {"products": own, "discount": None, "total": None, "subtotal": None, "revenue": None, "currency": None}
    payload = order(none).payload
    assert (payload["currency"], payload["gross"], payload["discounts"], payload["total"]) == ("USD", 2500, 150, 2850)
    assert [(line["productId"], line.get("discount", 0)) for line in payload["lines"]] == [("a", 150), ("b", 0)]
    # The order's discount is the whole discount.
    assert order(none | {"discount": 2}).payload["discounts"] == 200
    bare = [{"sku": "a", "quantity": 2}, {"sku": "b"}]
    payload = order({"products": bare}).payload
    assert [(line["productId"], line["amount"]) for line in payload["lines"]] == [("a", 1667), ("b", 833)]
    for sums in ({"subtotal": None}, {"subtotal": None, "total": None}, {"total": None, "revenue": None}, {}):
        payload = order({"products": None, **sums}).payload
        (line,) = payload["lines"]
        assert (line["productId"], line["amount"]) == ("unspecified", 2500)
        assert (payload["gross"], payload["total"]) == (2500, 2750)


def test_orders_that_cannot_be_counted() -> None:
    """They are turned away with the field that is wrong, in Segment's words."""

    def refused(**changes: Any) -> tuple[str, str]:
        properties = {name: value for name, value in (ORDER | changes).items() if value is not None}
        return refusal(track("Order Completed", properties), SECRET)

    nothing = {"products": None, "total": None, "subtotal": None, "revenue": None}
    assert refused(order_id=None) == ("properties.order_id", "missing")
    assert refused(**nothing) == ("properties.products", "missing")
    assert refused(currency="EURO") == ("properties.currency", "currency")
    assert refused(discount="25.01") == ("properties.discount", "amount")
    assert refused(tax=-1) == ("properties.tax", "amount")
    assert refused(shipping={"a": 1}) == ("properties.shipping", "amount")
    assert refused(products=["tea"]) == ("properties.products[0]", "type")
    assert refused(products=[{"price": 1}]) == ("properties.products[0].product_id", "missing")
    assert refused(products=[{"sku": "a", "price": 1}, {"sku": "b"}]) == ("properties.products[1].price", "missing")
    assert refused(products=[{"sku": "a", "price": 0.999}]) == ("properties.products[0].price", "amount")
    assert refused(products=[{"sku": "a", "price": "NaN"}]) == ("properties.products[0].price", "amount")
    assert refused(products=[{"sku": "a", "price": 1, "quantity": 1.5}]) == (
        "properties.products[0].quantity",
        "quantity",
    )
    assert refused(products=[{"sku": "a", "price": 1e15}]) == ("properties.products[0].price", "amount")


def test_refunds() -> None:
    """Of products with prices, of an amount, or, with the order's id only, of all that is left."""

    def refunded(**properties: Any) -> dict[str, Any]:
        envelope = one(track("Order Refunded", {"order_id": "o1", **properties}), SECRET)
        assert envelope.name == "order_refunded"
        return envelope.payload

    assert refunded() == {"orderId": "o1", "refundId": "rest"}
    assert refunded(total="27.50", tax=2, shipping=3, currency="EUR") == {
        "orderId": "o1",
        "refundId": "m1",
        "currency": "EUR",
        "amount": 2250,
        "tax": 200,
        "shipping": 300,
    }
    assert refunded(amount=5, refund_id="r1") == {"orderId": "o1", "refundId": "r1", "currency": "USD", "amount": 500}
    whole = {name: ORDER[name] for name in ("products", "tax", "shipping", "discount", "total")}
    assert refunded(**whole)["amount"] == 2250
    assert [line["amount"] for line in refunded(**whole)["lines"]] == [1710, 540]
    message = track("Order Refunded", {"order_id": "o1", "products": [{"sku": "a"}]})
    assert refusal(message, SECRET) == ("properties.products[0].price", "missing")
    ids = {one(track("Order Refunded", {"order_id": "o1"}, messageId=each), SECRET).id for each in "ab"}
    assert len(ids) == 1
    behaviour = one(track("Order Refunded", {"order_id": "o1"}))
    assert (behaviour.name, behaviour.payload["transactionId"]) == ("refund", "o1")


def test_other_news_of_orders() -> None:
    """Cancellations and updates; several updates of one order are told apart by their messages."""
    cancelled = one(track("Order Cancelled", {"order_id": 5, "reason": "late"}), SECRET)
    assert (cancelled.name, cancelled.payload) == ("order_cancelled", {"orderId": "5", "reason": "late"})
    updated = one(track("Order Updated", {"order_id": "o1", "total": 3}), SECRET)
    assert updated.payload == {"orderId": "o1", "revision": "m1"}
    paid = track("order_paid", {"order_id": "o1", "payment_id": "p", "amount": "3.50", "currency": "EUR"})
    assert one(paid, SECRET).payload["amount"] == 350


def test_clocks() -> None:
    """The sender's two times correct each other; what makes no sense is not used, and nothing is in the future."""

    def at(timestamp: Any, sent: Any = None) -> datetime:
        return one(track("A", timestamp=timestamp, sentAt=sent)).occurred_at

    minute = timedelta(minutes=1)
    assert at("2026-05-01T11:59:00Z") == RECEIVED - minute
    assert at("1970-01-01T00:00:00+02:00", "1970-01-01T00:01:00+02:00") == RECEIVED - minute
    assert at("2026-05-02T12:00:00", "2026-05-02T12:00:30.000Z") == RECEIVED - minute / 2
    assert at("2026-05-01T11:59:00Z", "never") == RECEIVED - minute
    assert at("2026-05-01T12:30:00Z", "2026-05-01T12:00:00Z") == RECEIVED
    assert at(1_777_636_740, None) == at(1_777_636_740_000, None) == RECEIVED - minute
    unreadable: list[Any] = ["yesterday", "1970-01-01", 1e300, True, [], "2026-05-01T12:00:61Z"]
    unreadable += ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-23:59"]
    assert {at(value) for value in unreadable} == {RECEIVED}
    both = track("A", timestamp=0, originalTimestamp="2026-05-01T11:59:00Z")
    assert one({"batch": [both]}, path="/v1/b").occurred_at == RECEIVED - minute


@given(st.datetimes(), st.one_of(st.none(), st.datetimes(), st.text(max_size=30)), st.sampled_from(["", "Z", "-23:59"]))
def test_no_clock_leads_into_the_future(happened: datetime, sent: datetime | str | None, offset: str) -> None:
    """Whatever the sender's clocks say, the result is none or a time between 1990 and the receipt."""
    written = sent.isoformat() if isinstance(sent, datetime) else sent
    found = corrected(happened.isoformat() + offset, written, RECEIVED)
    assert found is None or (found <= RECEIVED and found.year >= 1990)


NASTY = [
    {"products": {"0": SHOWN}},
    {"products": [[SHOWN]]},
    {"products": [None]},
    {"products": [SHOWN] * 201},
    {"price": float(2**70), "product_id": 2**70},
    {"__proto__": {"a": 1}, "constructor": [], "$set": {"$gt": ""}, "a.b": {"": 1}},
    {"number": 2**63},
    {"order_id": ["o"], "currency": 5},
    {"x" * 200: 1, "nul\0": 2},
]


@pytest.mark.parametrize("properties", [*NASTY, [], "text", 5, True])
@pytest.mark.parametrize("name", ["Product Viewed", "Order Completed", "Order Refunded", "Own", "Products Searched"])
def test_nasty_properties(name: str, properties: Any) -> None:
    """They are kept or turned away, and what is kept can be stored and read again."""
    for key in (PUBLIC, SECRET):
        _check(read(track(name, properties), "/v1/track", key))


def test_deep_nesting() -> None:
    """Ten thousand levels cost their own message; a parser that gives up is not our error."""
    deep = b"[" * 10_000 + b"]" * 10_000
    good = json.dumps(track("A")).encode()
    with suppress(Rejected):
        _check(read(b'{"batch": [' + good + b', {"properties": ' + deep + b"}]}"))
    with suppress(Rejected):
        _check(read(b'{"event": "A", "userId": "u", "properties": ' + deep + b"}", "/v1/track"))


def _check(decoded: Decoded) -> None:
    for envelope in decoded.envelopes:
        assert decode_envelope(encode(envelope)) == envelope
        to_raw(envelope, 0, 1)
        declared = event_type(envelope.name)
        if declared is not None:
            validate(declared, envelope.payload)
    json.loads(Segment().answer(request_of(b""), decoded).body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    *("type", "event", "userId", "anonymousId", "messageId", "timestamp", "originalTimestamp", "sentAt", "context"),
    *("properties", "traits", "previousId", "groupId", "name", "category", "integrations"),
]
PROPERTIES = [
    *("products", "items", "product_id", "sku", "price", "quantity", "currency", "order_id", "total", "revenue", "tax"),
    *("shipping", "discount", "subtotal", "amount", "refund_id", "query", "url", "name", "cart_id", "test"),
]
known_names = st.sampled_from([*names.SEGMENT_NAMES, "order_created", "order_paid", "Own"])
a_product = st.dictionaries(st.sampled_from(PROPERTIES), json_values | st.integers(0, 99) | st.just("tea"), max_size=6)
some_properties = st.dictionaries(
    st.sampled_from(PROPERTIES), json_values | st.lists(a_product, max_size=3) | st.integers(0, 99), max_size=8
)
messages = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FIELDS, json_values),
        "type": st.sampled_from(["track", "page", "identify", "alias", "group", "screen"]) | json_values,
        "event": known_names | json_values,
        "properties": some_properties | json_values,
        "userId": st.just("u1") | json_values,
        "context": st.dictionaries(st.sampled_from(["page", "library", "campaign", "ip"]), json_values) | json_values,
    },
)


@given(messages, st.sampled_from(sorted(PATHS)), st.sampled_from([PUBLIC, SECRET]))
@example({"event": "Order Completed", "userId": "u", "properties": {"order_id": "o", "revenue": 1e22}}, "/v1/t", SECRET)
def test_anything_at_all(message: dict[str, Any], path: str, key: Key) -> None:
    """A message of any shape by any route is taken whole or turned away with a reason."""
    body = json.dumps(message if PATHS[path] else {"batch": [message, track("A")]}).encode()
    try:
        decoded = read(body, path, key)
    except Rejected:
        assert PATHS[path] or b"NaN" in body or b"Infinity" in body or b"\\ud" in body
        return
    assert decoded.accepted + len(decoded.rejected) == (1 if PATHS[path] else 2)
    _check(decoded)


@given(st.binary(max_size=300) | messages.map(lambda message: json.dumps(message).encode()[:-2]))
def test_any_bytes(body: bytes) -> None:
    """Bytes that are no message are refused, and never are they our error."""
    for path in ("/v1/batch", "/v1/t"):
        Segment().key_in(request_of(body, path))
        with suppress(Rejected):
            _check(read(body, path))
