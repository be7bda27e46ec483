"""A message that is read in one go becomes exactly what it becomes when it is read in full."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rushlight.errors import Rejected
from rushlight.events.envelope import encode
from rushlight.events.ids import event_id
from rushlight.ingest.context.circumstances import Circumstances
from rushlight.ingest.context.surroundings import Surroundings
from rushlight.ingest.dialects import segment
from rushlight.ingest.dialects.segment import Segment
from rushlight.ingest.keys import Key
from rushlight.ingest.reports import seal_all
from rushlight.ingest.request import Decoded, Request, Typed
from rushlight.ingest.usual import messages as usual_messages
from rushlight.settings import Shop

RECEIVED = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
KEYS = (Key("public", "default", "pk_a"), Key("secret", "default", "sk_a"), Key("public", "north", "pk_n"))
BERLIN = Surroundings({"north": Shop(time_zone="Europe/Berlin")})
TEA = {"product_id": "tea", "name": "Tea", "price": 3.99, "currency": "EUR", "quantity": 2}
SERVER = {"library": {"name": "@segment/analytics-node", "version": "2.3.0"}}
PAGE = SERVER | {"page": {"url": "https://shop.example/tea?utm_source=x&gclid=1", "title": "Tea"}, "locale": "de"}
SENT = "2026-05-01T11:00:20Z"
TIMES = [
    *("2026-05-01T11:00:00.123Z", "2026-05-01T11:00:00.1239999Z", "2026-05-01T13:00:00+02:00", "2026-05-01", ""),
    *("2026-05-01T11:00:00", "2030-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 17e11),
    *("2026-05-01T11:00:60Z", " 2026-05-01T11:00:00Z", "20260501T110000Z", "2026-05-01T11:00:00-00:00", "1777633200"),
    *("0001-01-01T00:00:00+14:00", "1989-12-31T23:00:00-02:00", "2026-05-01T12:00:00.0005Z", 1777633200, 0, False, []),
]
NO_CONSENT: dict[str, Any] = {"consent": {"categoryPreferences": {"analytics_storage": False}}}

ODD: list[Any] = [None, "", 0, 7, True, "x" * 600, [], {}]
FORMS = {"<-0>": "-0", "<1e2>": "1e2", "<2**64>": "18446744073709551616", "<half>": r'"\ud800"', "<t>": r'"\u0074"'}
"""What Python does not write of its own accord, by what stands for it in a message here."""
URLS = [
    *("https://shop.example/a?utm_source=x&e=a@b.example#f", "/a;b", "https://u@[::1]:9/x", "", None, 3, "x" * 2049),
    *(
        "https://shop.example/u/jane@doe.example/eyJhbGciOiJIUzI1NiJ9.e30",
        "mailto:a@b.example",
        "//[zz/",
        "HTTP://SHOP:80/",
    ),
]
TEXTS = ["Tea", "ü\n", "a@b.example", "\u2028", "a\0b", "😀", *FORMS, *ODD]
PRODUCT: dict[str, list[Any]] = {
    "product_id": ["tea", "t" * 257, *ODD],
    "sku": ["other", None],
    "productId": ["other", None],
    "item_id": ["other", None],
    **dict.fromkeys(("name", "item_name", "category", "item_category"), TEXTS),
    "price": [3.99, 4, "3.99", "3,99", "1_000", 3.999, -1, -0.0, 1e300, 10**30, 2**53, "x", *FORMS, *ODD],
    "currency": ["EUR", " jpy ", "kwd\u00a0", "ußd", "XAU", "???", *ODD],
    "quantity": [1, 0, -1, 10**9, 10**10, 2.0, 2.5, "3", "٣", *FORMS, *ODD],
}
PAGE_FIELDS: dict[str, list[Any]] = {**dict.fromkeys(("url", "referrer"), URLS), "title": TEXTS, "name": TEXTS}
CHANGES: dict[tuple[str, ...], list[Any]] = {
    ("type",): ["track", "Track", "page", "screen", "identify", None],
    ("event",): [
        *("Product Viewed", "Product Added", "Products Searched", "Size Guide Opened", "Order Completed", "view_cart"),
        *("Promotion Viewed", "Order Updated", "Login", "", 7, None, "x" * 600),
        *("VIEW-ITEM", "page_view", "Order  Paid", "日本", "1st", "_", "İ", "$set.a\0", "Product Viewed\n", *FORMS),
    ],
    ("messageId",): ["m1", "m2", "", "m" * 256, "m" * 300, " ", "\u200b", None, 7, 7.0, *FORMS],
    ("anonymousId",): ["v1", "v2", "v\n", "", None, "ü", "v" * 300, 12, *FORMS],
    ("userId",): ["u1", "v1", "", None, "u\0", "u" * 300, 7, *ODD],
    ("timestamp",): TIMES,
    ("sentAt",): [
        "2026-05-01T11:00:10Z",
        "2026-05-01T11:00:10",
        "1990-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "x",
        *TIMES,
    ],
    ("originalTimestamp",): ["2026-05-01T11:30:00Z", None, *TIMES],
    **{(name,): ODD for name in ("integrations", "options", "traits", "channel", "user_id", "anonymous_id", "Event")},
    ("name",): TEXTS,
    ("category",): TEXTS,
    ("properties",): ODD,
    ("context",): [NO_CONSENT, *ODD],
    **{("properties", name): values for name, values in (PAGE_FIELDS | PRODUCT).items()},
    **{("properties", "products", name): values for name, values in PRODUCT.items()},
    ("properties", "products"): [TEA, [3], [TEA, TEA], [TEA] * 201, *ODD],
    ("properties", "items"): [[TEA], None],
    ("properties", "cart_id"): ["c1", "c" * 257, *ODD],
    ("properties", "checkout_id"): ["k1", *ODD],
    ("properties", "test"): [True, False, None, "true"],
    ("properties", "visitorId"): ["v9"],
    **{("properties", name): URLS for name in ("path", "href", "Page_Location", "search", "page", "image_url")},
    ("properties", "own"): [{"a": [{"$b.c": "<2**64>"}]}, {"url": URLS[0]}, "<2**64>", -(2**63), *FORMS, *ODD],
    ("properties", "k" * 129): [1],
    ("context", "page"): ODD,
    **{("context", "page", name): values for name, values in PAGE_FIELDS.items()},
    ("context", "page", "cart_id"): ["c2"],
    ("context", "library"): [{"name": "a", "version": "1"}, {"name": "a"}, {"name": 3, "version": 1}, *ODD],
    ("context", "userAgent"): ["Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0", "curl/8", *ODD],
    ("context", "ip"): ["203.0.113.9", "2001:db8::1", *TEXTS],
    ("context", "locale"): TEXTS,
    ("context", "timezone"): TEXTS,
    ("context", "device"): [{"type": "ios"}, {"type": 3}, *ODD],
    ("context", "campaign"): [{"source": "x", "medium": "email"}, {"source": 3}, *ODD],
    ("context", "consent"): [
        *({"ad_storage": "denied"}, {"categoryPreferences": {"Advertising": True}}, {"categoryPreferences": 3}),
        *(NO_CONSENT["consent"], *ODD),
    ],
    ("context", "test"): [True, False, None, 1],
    ("context", "traits"): [{"email": "a@b.example"}],
    **{("context", name): ODD for name in ("user_agent", "url", "app", "os")},
}
USUAL: list[dict[str, Any]] = [
    {"type": "track", "event": "Product Viewed", "messageId": "m1", "anonymousId": "v1", "properties": TEA},
    {"type": "track", "event": "Cart Viewed", "messageId": "m2", "userId": "u1", "properties": {"products": [TEA]}},
    {"type": "page", "messageId": "m3", "anonymousId": "v1", "properties": {"url": URLS[0]}, "context": PAGE},
    {"type": "page", "messageId": "m4", "anonymousId": "v1", "context": PAGE, "timestamp": TIMES[0]},
    {"type": "track", "event": "Size Guide Opened", "messageId": "m5", "anonymousId": "v1", "properties": {"own": 1}},
]


def changed(usual: dict[str, Any], changes: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    """A message with a few of its fields otherwise; a change inside of what is not there is none."""
    message: dict[str, Any] = deepcopy(usual)
    for path, value in changes:
        holder: Any = message
        for name in path[:-1]:
            holder = holder.setdefault(name, {}) if isinstance(holder, dict) else None
            holder = holder[0] if isinstance(holder, list) and holder else holder
        if isinstance(holder, dict):
            holder[path[-1]] = deepcopy(value)
    return message


a_change = st.sampled_from(sorted(CHANGES)).flatmap(
    lambda path: st.tuples(st.just(path), st.sampled_from(CHANGES[path]))
)
messages = st.builds(changed, st.sampled_from(USUAL), st.lists(a_change, max_size=3))
of_a_batch = st.fixed_dictionaries(
    {},
    optional={"context": st.sampled_from([SERVER, PAGE, NO_CONSENT, *ODD]), "sentAt": st.sampled_from([SENT, *TIMES])},
)


def written(body: Any) -> bytes:
    """JSON with what stands for a form written in it."""
    text = json.dumps(body)
    for name, form in FORMS.items():
        text = text.replace(f'"{name}"', form)
    return text.encode()


def decoded(dialect: Segment, body: Any, path: str, key: Key, at: datetime = RECEIVED) -> Decoded:
    """What becomes of a request's body."""
    headers = {"user-agent": "node"}
    request = Request(
        path=path,
        headers=headers,
        body=body if isinstance(body, bytes) else written(body),
        received_at=at,
        client="203.0.113.9",
        trusted=key.kind == "secret",
    )
    return seal_all([*dialect.decode(request)], key, at, Circumstances(request, dialect.name, key, BERLIN))


def told(*what: Any) -> Any:
    """The same for comparison, or why the whole body is turned away."""
    try:
        became = decoded(*what)
    except Rejected as error:
        return error.field, error.reason, error.code
    return [encode(each) for each in became.envelopes], became.accepted, became.rejected, became.hints


def in_full(*what: Any) -> Any:
    """What `told` says when every message is found unusual."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usual_messages, "read", lambda *_: None)
        return told(*what)


@settings(max_examples=150, deadline=None)
@example([USUAL[0] | {"timestamp": 0}, USUAL[0] | {"timestamp": TIMES[0], "originalTimestamp": 0}], {}, KEYS[0])
@example([USUAL[3]], {"sentAt": 0}, KEYS[0])
@example([USUAL[4] | {"properties": {name: 0}} for name in ("cart_id", "url", "referrer")], {}, KEYS[0])
@given(st.lists(messages, min_size=1, max_size=6), of_a_batch, st.sampled_from(KEYS))
def test_the_same_as_in_full(sent: list[dict[str, Any]], batch: dict[str, Any], key: Key) -> None:
    """Read in one go or in full, whatever came before, in batches and alone, each message becomes the same."""
    dialect = Segment()
    requests: list[tuple[str, Any]] = [(f"/v1/{route}", each) for each in sent[:2] for route in ("track", "page")]
    requests += [("/v1/batch", {"batch": sent}), ("/v1/batch", {"batch": sent} | batch)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment, "token_hex", lambda _: "made")  # the id of a message that has none
        for turn in range(4):
            at = RECEIVED + timedelta(days=60 * turn, milliseconds=turn)
            for path, body in requests:
                assert told(dialect, body, path, key, at) == in_full(dialect, body, path, key, at)


@pytest.mark.parametrize("event", ["", None, "x" * 600])
def test_an_event_without_a_name(event: str | None) -> None:
    """It is turned away, whatever is said of it."""
    message = {"type": "track", "event": event, "messageId": "m", "anonymousId": "v", "properties": {"own": 1}}
    became = decoded(Segment(), message, "/v1/track", KEYS[0])
    assert [(each.field, each.code) for each in became.rejected] == [("event", "missing")]


def test_a_number_beyond_all_range() -> None:
    """Where it counts it turns its event away; in a field that neither reader uses it is not looked at."""
    start = b'{"batch":[{"type":"track","event":"Cart Viewed","messageId":"m","anonymousId":"v",'
    for rest, code in (
        (b'"properties":{"product_id":"a","price":1e400}}]}', ["json"]),
        (b'"integrations":1e400}]}', []),
    ):
        became = decoded(Segment(), start + rest, "/v1/batch", KEYS[0])
        assert [each.code for each in became.rejected] == code


def test_the_last_of_two() -> None:
    """Of a field that stands there twice the last one counts."""
    twice = b'{"type":"page","event":"Cart Viewed","messageId":"a","messageId":"b","anonymousId":"v","type":"track"}'
    what = Segment(), b'{"batch":[%b]}' % twice, "/v1/batch", KEYS[0]
    (event,) = decoded(*what).envelopes
    assert (event.name, event.id) == ("view_cart", event_id("default", "public", "segment", "b"))
    assert told(*what) == in_full(*what)


def test_without_consent() -> None:
    """Nobody is told from others, whoever said the same before."""
    dialect, key = Segment(), KEYS[0]
    message = {"type": "track", "event": "Product Viewed", "properties": TEA, "context": NO_CONSENT}
    for message_id in ("a", "b", "c"):
        who = {"messageId": message_id, "anonymousId": "visitor-7", "userId": "customer-7"}
        became = decoded(dialect, message | who, "/v1/track", key)
        assert became.envelopes[0].visitor_id is became.envelopes[0].customer_id is None
        assert b"-7" not in encode(became.envelopes[0])


def usual(dialect: Segment, **change: Any) -> Typed:
    """How the dialect reads a usual message."""
    message = {"type": "track", "event": "Product Viewed", "messageId": "m", "anonymousId": "v", "properties": TEA}
    body = json.dumps({"batch": [message | change]}).encode()
    (item,) = dialect.decode(Request(path="/v1/batch", body=body, received_at=RECEIVED))
    assert isinstance(item, Typed)
    return item


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"properties": {"products": [TEA, TEA], "cart_id": "c1", "coupon": "x"}, "event": "Cart Viewed"},
        {"type": "page", "name": "Home", "properties": {"url": "https://shop.example/", "referrer": ""}},
        {"context": PAGE, "integrations": {}, "sentAt": "2026-05-01T11:00:10Z", "timestamp": TIMES[0]},
    ],
)
def test_what_is_usual(change: dict[str, Any]) -> None:
    """What SDKs send for products and pages is read in one go."""
    usual(Segment(), **change)


def test_what_is_remembered() -> None:
    """Circumstances that come again are not read again, unless there is much to them."""
    dialect = Segment()
    first, again = (usual(dialect, context={"ip": "203.0.113.1"}).said for _ in range(2))
    other = usual(dialect, context={"ip": "203.0.113.2"}).said
    assert first is again is not other
    long = [usual(dialect, context=SERVER | {"userAgent": "x" * 2000, "more": "y" * 60}).said for _ in range(2)]
    assert long[0] is not long[1]
    assert long[0].given == long[1].given
