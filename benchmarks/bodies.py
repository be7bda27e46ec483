"""Events as senders write them, made cheaply: a pool of varied ones, and an id of its own for each.

``segment`` is what Segment's SDK for servers sends, ``browser`` what its SDK for pages does: to a short route, as plain
text, with the key and the page's circumstances in the body.
"""

from __future__ import annotations

import random
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

import msgspec

Format = Literal["segment", "browser", "cloudevents"]
FORMATS: tuple[Format, ...] = get_args(Format)
Kind = Literal["view", "cart", "order"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Of a hundred events: what is shed first is what there is most of.
SHARES: dict[Kind, int] = {"view": 80, "cart": 15, "order": 5}
POOL = 4096
VISITORS, PRODUCTS = 100_000, 10_000
QUERIES = ("", "", "", "?utm_source=newsletter&utm_medium=email&utm_campaign=autumn", "?gclid=EAIaIQobChMI")
REFERRERS = ("", "https://www.google.com/", "https://shop.example/", "https://l.instagram.com/")
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1 (KHTML, like Gecko) Version/%d.1 Safari",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/%d.0",
)
# What is drawn anew for every event stands for itself beforehand, as long as it will be.
ID, VISITOR, PRODUCT, PRICE, AT = "#id-in-sixteen-#", "#vis-#", "#pro-#", 999.99, "#the-time-in-24-letters#"
ID_DIGITS = len(ID)
MARKS = re.compile(f"({'|'.join([ID, VISITOR, PRODUCT, str(PRICE), AT])})".encode())


class Request(NamedTuple):
    """A request as it goes over the wire, and what kind of event it brings."""

    kind: Kind
    data: bytes


class _Drawn:
    """Events drawn anew, without end: each has an id, a time, a visitor and a product of its own.

    Some products are seen more often than others.
    """

    def __init__(self, seed: int, begin: int):
        self._chance = random.Random(seed).random
        self._number = begin
        second = datetime.now(UTC).replace(microsecond=0, tzinfo=None).isoformat()
        self._times = [f"{second}.{n:03d}Z".encode() for n in range(1000)]

    def fill(self, template: _Template) -> bytes:
        """The template's text as the next event."""
        number, chance = self._number, self._chance
        self._number += 1
        product = int(PRODUCTS * chance() ** 2)
        cents = product * 7919 % 90_000 + 10_000
        drawn = {
            ID: b"%0*d" % (ID_DIGITS, number),
            VISITOR: b"v%05d" % int(chance() * VISITORS),
            PRODUCT: b"p%05d" % product,
            str(PRICE): b"%d.%02d" % divmod(cents, 100),
            AT: self._times[number % 1000],
        }
        pieces = template.pieces.copy()
        for place, mark in template.places:
            pieces[place] = drawn[mark]
        return b"".join(pieces)


class _Template:
    """A text with marks in it."""

    def __init__(self, kind: Kind, text: bytes):
        self.kind = kind
        self.pieces = MARKS.split(text)
        self.places = [(n, self.pieces[n].decode()) for n in range(1, len(self.pieces), 2)]


def requests(written: Format, write_key: str, seed: int, begin: int) -> Iterator[Request]:
    """Requests without end; no two are alike.

    Args:
        begin: the first id; every request takes the next (below 10^16).
    """
    pool = [
        _Template(kind, head(written, write_key, 1, body) + body) for kind, body in _bodies(written, seed, write_key)
    ]
    drawn = _Drawn(seed, begin)
    while True:
        for template in pool:
            yield Request(template.kind, drawn.fill(template))


def bodies(written: Format, write_key: str, seed: int, count: int, begin: int = 0) -> list[bytes]:
    """So many bodies of events that no public key is refused for; no two are alike."""
    pool = [_Template(kind, body) for kind, body in _bodies(written, seed, write_key) if kind != "order"]
    drawn = _Drawn(seed + begin, begin)
    return [drawn.fill(pool[n % len(pool)]) for n in range(count)]


def _bodies(written: Format, seed: int, write_key: str) -> Iterator[tuple[Kind, bytes]]:
    chance = random.Random(seed)
    write = WRITERS[written]
    for kind in chance.choices(KINDS, [SHARES[kind] for kind in KINDS], k=POOL):
        event = write(chance, kind)
        yield kind, msgspec.json.encode(event | {"writeKey": write_key} if written == "browser" else event)


def door(written: Format, write_key: str, size: int, body: bytes) -> tuple[str, dict[str, str]]:
    """Where a request of so many events goes, and with which headers (lower-case names)."""
    if written == "browser":
        return "/v1/t", _of_a_browser(body)
    credentials = b64encode(f"{write_key}:".encode()).decode()
    path = "/events" if written == "cloudevents" else "/v1/track" if size == 1 else "/v1/batch"
    return path, {"host": "127.0.0.1", "content-type": "application/json", "authorization": f"Basic {credentials}"}


def _of_a_browser(body: bytes) -> dict[str, str]:
    context = msgspec.json.decode(body)["context"]
    return {
        "host": "127.0.0.1",
        "content-type": "text/plain",
        "user-agent": context["userAgent"],
        "accept": "*/*",
        "accept-encoding": "gzip, deflate, br, zstd",
        "accept-language": "en-US,en;q=0.9",
        "origin": "https://shop.example",
        "referer": "https://shop.example/",  # to another site, by default, no more than that
        "sec-fetch-dest": "empty",
        "sec-fetch-mode": "cors",
        "sec-fetch-site": "cross-site",
    }


def joined(written: Format, events: Sequence[bytes]) -> bytes:
    """The body of a request with these events."""
    if len(events) == 1:
        return events[0]
    assert written != "browser", "a page sends every event at once"
    text = b"[" + b",".join(events) + b"]"
    return b'{"batch":' + text + b"}" if written == "segment" else text


def head(written: Format, write_key: str, size: int, body: bytes) -> bytes:
    """A request up to its body."""
    path, headers = door(written, write_key, size, body)
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode()


def _segment(chance: random.Random, kind: Kind) -> dict[str, Any]:
    item = {"product_id": PRODUCT, "name": f"Product number {PRODUCT}", "price": PRICE}
    quantity = chance.randint(1, 3)
    event = {
        "type": "track",
        "messageId": ID,
        "anonymousId": VISITOR,
        "timestamp": AT,
        "context": {"library": {"name": "@segment/analytics-node", "version": "2.3.0"}},
        "integrations": {},
    }
    if kind == "order":
        order = {"order_id": ID, "currency": "USD", "total": PRICE, "products": [{**item, "quantity": 1}]}
        return {**event, "event": "Order Completed", "userId": VISITOR, "properties": order}
    cart = {"cart_id": ID} if kind == "cart" else {}
    name = "Product Added" if kind == "cart" else "Product Viewed"
    return {**event, "event": name, "properties": {**cart, **item, "currency": "USD", "quantity": quantity}}


def _browser(chance: random.Random, kind: Kind) -> dict[str, Any]:
    event = _segment(chance, kind)
    path, query = f"/products/{PRODUCT}", chance.choice(QUERIES)
    page = {"path": path, "referrer": chance.choice(REFERRERS), "search": query, "title": f"Shop: {PRODUCT}"}
    context = {
        "page": {**page, "url": f"https://shop.example{path}{query}"},
        "userAgent": chance.choice(AGENTS).replace("%d", str(chance.randint(101, 140))),
        "locale": "en-US",
        "timezone": "Europe/Berlin",
        "library": {"name": "analytics.js", "version": "npm:next-1.81.0"},
    }
    metadata = {"bundled": ["Segment.io"], "unbundled": [], "bundledIds": []}
    return {**event, "context": context, "userId": None, "sentAt": AT, "_metadata": metadata}


def _cloudevent(chance: random.Random, kind: Kind) -> dict[str, Any]:
    item = {"productId": PRODUCT, "name": f"Product number {PRODUCT}", "quantity": chance.randint(1, 3)}
    event = {"specversion": "1.0", "id": ID, "source": "shop/web", "time": AT}
    if kind == "order":
        line = {**item, "unitPrice": PRICE}
        return {**event, "type": "order_created", "data": {"orderId": ID, "currency": "USD", "lines": [line]}}
    data = {"visitorId": VISITOR, "currency": "USD", "items": [{**item, "price": PRICE}]}
    return {**event, "type": "add_to_cart" if kind == "cart" else "view_item", "data": data}


WRITERS: dict[Format, Callable[[random.Random, Kind], dict[str, Any]]] = {
    "segment": _segment,
    "browser": _browser,
    "cloudevents": _cloudevent,
}
