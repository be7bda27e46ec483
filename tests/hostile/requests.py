"""One good request to each door of the ingest, and one to each route that is read."""

from __future__ import annotations

import itertools
import json
from typing import Any

_numbers = itertools.count(1)
BATCHES = frozenset({"/v1/batch", "/v1/b", "/v1/import"})


def good(path: str, shop: str) -> dict[str, Any]:
    """What a well-behaved client sends to a door; everything in it names the shop that sends it."""
    message, visitor, product = f"m{next(_numbers)}", f"visitor-of-{shop}", f"product-of-{shop}"
    if path == "/events":
        event = {"specversion": "1.0", "id": message, "source": "/tests", "type": "view_item", "subject": visitor}
        return event | {"data": {"items": [{"productId": product, "name": product}]}} | claims(shop)
    if path.endswith("/mp/collect"):
        items = [{"item_id": product, "item_name": product}]
        viewed = {"name": "view_item", "params": {"items": items, "event_id": message}}
        return {"client_id": visitor, "events": [viewed]} | claims(shop)
    customer = f"customer-of-{shop}"
    segment: dict[str, Any] = {
        "type": "track",
        "messageId": message,
        "anonymousId": visitor,
        "userId": customer,
        "name": "Home",
    }
    segment |= {"event": "Product Viewed", "properties": {"product_id": product, "name": product}, "traits": {}}
    segment |= {"previousId": f"{customer}-before", "groupId": f"group-of-{shop}"} | claims(shop)
    return {"batch": [segment]} if path in BATCHES else segment


def claims(shop: str) -> dict[str, Any]:
    """What a sender might hope to decide for itself: to be the other shop, and to bring in money."""
    other = "default" if shop == "other" else "other"
    return {"shop": other, "sourceofrecord": "orders", "receivedat": "2001-01-01T00:00:00Z"}


def encoded(value: Any) -> bytes:
    """As JSON."""
    return json.dumps(value).encode()
