"""What hostile senders send: JSON that is hardly any, real requests with something wrong in them, and bytes."""

from __future__ import annotations

import copy
import gzip
import json
import zlib
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.hostile.requests import BATCHES, good

DEEP = 10_000


class Raw(NamedTuple):
    """JSON text that no honest encoder writes, to stand where a value would."""

    text: bytes

    def __repr__(self) -> str:
        return f"Raw({self.text[:40]!r}, {len(self.text)} bytes)"


# Each is one thing that some part of a pipeline is known to choke on.
ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, "", [], {}, 1.5, "x" * 3000, "\x00", "a\x00b", "\u202e", "\U0001f525" * 50),
    *(2**31, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, "9" * 400, 1e308, -0.0, 5e-324),
    *(
        {"$gt": ""},
        {"$where": "1"},
        {"a.b": 1},
        {"__proto__": {"admin": True}},
        {"constructor": 1},
        {"": 1},
        {"\x00": 1},
    ),
    *({"_id": 1, "seq": -1, "p": 99}, {"$oid": "x"}, {"$date": "x"}, {"$numberLong": "9" * 30}, ["$set"]),
    *("$gt", "../../etc/passwd", "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "%00", "null", "NaN", "-Infinity"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "2026-02-30T00:00:00Z", "1e9", "0", "١٢٣"),
    *([[]] * 300, {str(number): number for number in range(500)}, [None] * 3000, {"k" * 5000: 1}),
]
NO_JSON = [
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1" * 5000, b"0." + b"0" * 5000 + b"1", b"1e-99999999"),
    *(
        rb'"\ud800"',
        rb'"\udfff\ud800"',
        b'"\xff\xfe"',
        b'"\xed\xa0\x80"',
        b'"\xc0\x80"',
        rb'"\u0000"',
        b'{"a":1,"a":2}',
    ),
    *(b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP, b"[" * DEEP, b"", b"tru", b"'x'", b"01", b"+1"),
]
CONTENT_TYPES = [
    *("application/json", "application/cloudevents+json", "application/cloudevents-batch+json", "text/plain"),
    *(
        "text/plain;charset=UTF-8",
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=x",
        "",
        "/",
        ";;;",
    ),
    *(
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "application/xml",
        "APPLICATION/JSON",
        "x" * 5000,
    ),
]
ODD_HEADERS = [
    *(("content-encoding", value) for value in ("gzip", "br", "deflate", "gzip, gzip", "identity", "\x80", "")),
    *(("content-length", value) for value in ("0", "-1", "99999999999999", "1e3", "x", "٣", "")),
    *(("content-type", value) for value in ("text/plain", "\xff")),
    *(
        ("authorization", value)
        for value in ("", "Basic", "Basic !!", "Basic " + "A" * 9000, "Bearer", "Bearer \xff\x00")
    ),
    *(("x-write-key", value) for value in ("", "pk_", "sk_$ne", "x" * 9000)),
    *(("origin", value) for value in ("null", "https://evil.example", "\xff" * 300, "")),
    *(("user-agent", value) for value in ("", "\xff" * 9000, "(" * 2000, "Mozilla/5.0 (" + ";" * 5000)),
    *(
        ("x-forwarded-for", value)
        for value in ("1", "::", "::ffff:999.1.1.1", ", " * 500, "1.2.3.4:99999", "[::1]:x", "\x00")
    ),
    *(("referer", value) for value in ("http://[", "http://x:99999999/", "//", "\xff", "javascript:alert(1)")),
    *(("ce-specversion", value) for value in ("1.0", "2.0", "")),
    *(("ce-id", "%ff%00"), ("ce-source", "%"), ("ce-type", "login"), ("ce-subject", "\xff"), ("ce-time", "x")),
    *(("accept-language", "x" * 3000), ("dnt", "1"), ("sec-gpc", "\xff"), ("traceparent", "\x00")),
]
QUERIES = ["", "api_secret=x", "api_secret=%ff&measurement_id=", "a" * 5000, "&&&=&%", "api_secret[]=1", "%00=%00"]

json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(ODD_VALUES)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
oddities = st.one_of(st.sampled_from(ODD_VALUES), st.sampled_from([Raw(text) for text in NO_JSON]), json_values)
# What leaves a bracket open takes along whatever follows it.
UNCLOSED = b"[" * DEEP
closed_oddities = oddities.filter(lambda value: value != Raw(UNCLOSED))


def rich(path: str, shop: str = "default") -> Any:
    """A request with as many fields as its dialect knows, money included."""
    found = good(path, shop)
    lines = [{"productId": "tea", "quantity": 2, "amount": "7.98", "name": "Tea", "category": "drinks"}]
    order = {"orderId": "o1", "currency": "EUR", "lines": lines, "customerId": "c1", "visitorId": "v1", "tax": "0.5"}
    if path == "/events":
        more = {"type": "order_created", "data": order, "time": "2026-11-24T10:00:00Z", "traceparent": "00-1-1-00"}
        return [
            found,
            found | {"id": "m-rich"} | more,
            found | {"id": "m-own", "type": "own", "data": {"a": {"b": [1]}}},
        ]
    if path.endswith("/mp/collect"):
        items = [{"item_id": "tea", "price": 3.99, "quantity": 2, "discount": 0.5, "item_category": "drinks"}]
        params = {"transaction_id": "t1", "currency": "EUR", "value": 7.98, "tax": 0.5, "items": items, "coupon": "X"}
        more_events = [{"name": "purchase", "params": params}, {"name": "own_thing", "params": {"a": 1, "b": "c"}}]
        about = {"user_id": "c1", "timestamp_micros": 1795000000000000, "consent": {"ad_user_data": "DENIED"}}
        return found | about | {"events": found["events"] + more_events, "user_properties": {"tier": {"value": "gold"}}}
    products = [{"product_id": "tea", "price": 3.99, "quantity": 2, "name": "Tea", "category": "drinks"}]
    properties = {"order_id": "o1", "total": 7.98, "currency": "EUR", "products": products, "tax": 0.5, "coupon": "X"}
    page = {"url": "https://shop.example/p?utm_source=x&email=a@b.c", "referrer": "https://a.example/", "path": "/p"}
    context = {
        "ip": "1.2.3.4",
        "page": page,
        "userAgent": "Mozilla/5.0",
        "campaign": {"source": "x"},
        "locale": "de-DE",
    }
    times = {"timestamp": "2026-11-24T10:00:00Z", "sentAt": "2026-11-24T10:00:01Z"}
    one = {
        "event": "Order Completed",
        "properties": properties,
        "context": context,
        "traits": {"email": "a@b.c"},
    } | times
    if path in BATCHES:
        kinds = ("track", "identify", "page", "alias", "group", "screen")
        return found | {"batch": [found["batch"][0] | one | {"type": kind} for kind in kinds], "context": context}
    return found | one


def spots(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value, itself first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(spot for key, child in inner for spot in spots(child, (*place, key)))]


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy with something else at a place."""
    if not place:
        return new
    changed = copy.copy(value)
    changed[place[0]] = put(value[place[0]], place[1:], new)
    return changed


@st.composite
def mutated(draw: st.DrawFn, path: str) -> Any:
    """A rich request with one to three things wrong in it."""
    value = rich(path)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(spots(value)[1:] or [()]))
        if draw(st.booleans()):
            value = put(value, place, draw(oddities))
        else:
            key = draw(st.one_of(st.text(max_size=6), st.sampled_from(["$set", "a.b", "\x00", "__proto__", "_id", ""])))
            parent = place[:-1]
            holder = value
            for step in parent:
                holder = holder[step]
            if isinstance(holder, dict):
                value = put(value, parent, holder | {key: draw(oddities)})
    return value


def text_of(value: Any, *, spaced: bool = True) -> bytes:
    """JSON as a careless program writes it: NaN, lone surrogates, and `Raw` texts as they are."""
    raws: list[bytes] = []

    def plain(part: Any) -> Any:
        if isinstance(part, Raw):
            raws.append(part.text)
            return f"\ue000{len(raws) - 1}\ue001"
        if isinstance(part, dict):
            return {str(key): plain(child) for key, child in part.items()}
        return [plain(child) for child in part] if isinstance(part, list) else part

    text = json.dumps(plain(value), separators=(", ", ": ") if spaced else (",", ":")).encode()
    for number, raw in enumerate(raws):
        text = text.replace(b'"\\ue000%d\\ue001"' % number, raw)
    return text


@st.composite
def packed(draw: st.DrawFn, body: bytes) -> bytes:
    """The same bytes as they are, in gzip, in broken gzip, cut off or with some of them changed."""
    how = draw(st.sampled_from(["plain"] * 6 + ["gzip", "twice", "cut", "tail", "changed", "bomb", "zlib"]))
    if how == "plain":
        return body
    if how == "bomb":
        return gzip.compress(b" " * draw(st.sampled_from([5 << 20, 50 << 20])), 1, mtime=0)
    if how == "zlib":
        return zlib.compress(body)
    small = gzip.compress(gzip.compress(body, mtime=0) if how == "twice" else body, mtime=0)
    if how in ("gzip", "twice"):
        return small
    if how == "tail":
        return small + draw(st.sampled_from([b"\x00", b"x", small]))
    place = draw(st.integers(0, len(small) - 1))
    return small[:place] if how == "cut" else small[:place] + bytes([small[place] ^ 0x55]) + small[place + 1 :]
