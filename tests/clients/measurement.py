"""The same story as a server tells it to GA4's Measurement Protocol, which has no SDK: a POST, sent again if need be.

Amounts are integer cents here and become decimals only in what is sent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

import httpx

from tests.clients.story import NAMES, Product, Step

EVENTS_AT_ONCE = 3
TRIES = 10
MEASURED = frozenset({"page", "track"})
NOT_OF_GA4 = frozenset({"Order Cancelled"})

Body = dict[str, Any]


def measured(steps: list[Step]) -> list[Step]:
    """What of a story GA4 has words for: no cancellation, and no discount but a product's own."""
    kept = [step for step in steps if step["type"] in MEASURED and step.get("event") not in NOT_OF_GA4]
    return [
        step | {"properties": {name: value for name, value in step["properties"].items() if name != "discount"}}
        for step in kept
    ]


def bodies(steps: list[Step]) -> Iterator[Body]:
    """Requests of a few events each, of one visitor; every other event has an id, the others only their time."""
    for (client, user), told in groupby(steps, key=lambda step: (step["anonymousId"], step.get("userId"))):
        events = [_event(number, step) for number, step in enumerate(told)]
        who = {"client_id": client} | ({"user_id": user} if user else {})
        for start in range(0, len(events), EVENTS_AT_ONCE):
            yield who | {"events": events[start : start + EVENTS_AT_ONCE]}


def send(url: str, key: str, steps: list[Step]) -> None:
    """Tell the story; what is not answered by 204 is sent again, the same bytes."""
    with httpx.Client(base_url=url, params={"measurement_id": "G-ABC1234567", "api_secret": key}, timeout=60) as http:
        for body in bodies(steps):
            assert any(_is_taken(http, body) for _ in range(TRIES)), body


def messages(body: Body) -> dict[str, Body]:
    """The events of a request, by what tells each from the others."""
    return {f"{body['client_id']} {event['timestamp_micros']}": event for event in body["events"]}


def stored(steps: list[Step]) -> Counter[tuple[str, str, datetime]]:
    """What must be in the journal: name, visitor or order, and time of each event; an order makes two."""
    found: Counter[tuple[str, str, datetime]] = Counter()
    for step in steps:
        event, at = step.get("event"), datetime.fromisoformat(step["timestamp"])
        order = step["properties"].get("order_id")
        if event == "Order Refunded":
            found["order_refunded", order, at] += 1
            continue
        if event == "Order Completed":
            found["order_created", order, at] += 1
        found[NAMES[event] if event else "page_view", step["anonymousId"], at] += 1
    return found


def _is_taken(http: httpx.Client, body: Body) -> bool:
    try:
        answer = http.post("/mp/collect", json=body)
    except httpx.TransportError:  # it may have been taken, or not
        return False
    assert answer.status_code in (204, 429, 503), answer.text
    time.sleep(float(answer.headers.get("retry-after", "0")))
    return answer.status_code == 204


def _event(number: int, step: Step) -> Body:
    properties = step["properties"]
    name = NAMES[step["event"]] if step["type"] == "track" else "page_view"
    params: Body = {}
    if name == "page_view":
        params = {"page_location": properties["url"], "page_title": properties["title"]}
    elif name == "search":
        params = {"search_term": properties["query"]}
    elif name in ("purchase", "refund"):
        params = _money(properties)
    elif name == "video_played":
        params = dict(properties)
    elif listed := properties.get("products") or ([properties] if "product_id" in properties else []):
        params = {"currency": "USD", "items": [*map(_item, listed)]}
    if number % 2:
        params["event_id"] = f"{step['anonymousId']} {number} {step['timestamp']}"
    micros = int(datetime.fromisoformat(step["timestamp"]).timestamp()) * 1_000_000
    return {"name": name, "params": params, "timestamp_micros": micros}


def _money(properties: Body) -> Body:
    """A purchase, a refund of items, of a value, or of all that is left."""
    params = {"transaction_id": properties["order_id"]}
    params |= {name: properties[name] for name in ("refund_id", "currency", "tax", "shipping") if name in properties}
    if "products" in properties:
        params["items"] = [*map(_item, properties["products"])]
    if "amount" in properties:
        params["value"] = properties["amount"]
    return params


def _item(product: Product) -> Body:
    renamed = {"item_id": "product_id", "item_name": "name", "item_category": "category"}
    return {theirs: product[ours] for theirs, ours in renamed.items()} | {
        name: product[name] for name in ("price", "quantity")
    }
