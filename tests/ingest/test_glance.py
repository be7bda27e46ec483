"""What is seen of a request at a glance is never less than what it holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushlight.errors import Rejected
from rushlight.ingest.glance import Glance, glance
from rushlight.ingest.http import DIALECTS
from rushlight.ingest.log.priority import BEHAVIOUR, MONEY, VIEW, priority_of
from rushlight.ingest.request import Rejection, Request

AT = datetime(2026, 5, 1, tzinfo=UTC)
TEA = {"product_id": "tea", "name": "Tea", "price": 3.99, "currency": "EUR", "quantity": 2}
ORDER = {"order_id": "o1", "transaction_id": "o1", "products": [TEA], "items": [TEA], "total": 7.98, "currency": "EUR"}
WORDS = st.sampled_from(
    [
        *("Product Viewed", "product viewed", "Order Completed", "orderCompleted", "Order Refunded", "Cart Viewed"),
        *("page_view", "screen_view", "view_item", "purchase", "refund", "order_created", "io.shop.order_paid.v2"),
        *("Own", "order_own", "", "ż", 7, None, True, "Page", "page", "screen", "track", "TRACK", "identify", "alias"),
    ]
)


def asked(path: str, body: Any, **headers: str) -> Request:
    """A request under a secret key."""
    return Request(path=path, body=json.dumps(body).encode(), headers=headers, received_at=AT, trusted=True)


def held(request: Request) -> list[int]:
    """The classes of what it turns out to hold."""
    try:
        items = [*DIALECTS[request.path].decode(request)]
    except Rejected:
        return []
    return [priority_of(each.name) for each in items if not isinstance(each, Rejection)]


def segment(kind: Any, event: Any) -> dict[str, Any]:
    """A message."""
    return {"type": kind, "event": event, "messageId": "m", "userId": "u", "previousId": "p", "properties": ORDER}


segments = st.builds(segment, WORDS, WORDS)
ga4s = st.builds(lambda name: {"name": name, "params": ORDER}, WORDS)
clouds = st.builds(lambda kind: {"specversion": "1.0", "id": "1", "source": "s", "type": kind}, WORDS)
requests = st.one_of(
    st.builds(asked, st.sampled_from(sorted({*DIALECTS} - {"/events"})), segments),
    st.builds(lambda them: asked("/v1/batch", {"batch": them}), st.lists(segments, max_size=4)),
    st.builds(lambda them: asked("/mp/collect", {"client_id": "c", "events": them}), st.lists(ga4s, max_size=4)),
    st.builds(lambda them: asked("/events", them), clouds | st.lists(clouds, max_size=4)),
    st.builds(
        lambda kind: asked("/events", {}, **{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": kind}),
        WORDS.map(str),
    ),
)


@given(requests)
def test_never_too_little(request: Request) -> None:
    """An order is never taken for a view, nor many events for fewer, in any dialect."""
    found, seen = held(request), glance(DIALECTS[request.path].name, request)
    assert max(found, default=VIEW) <= seen.priority
    assert seen.priority == MONEY or len(found) <= seen.events


@pytest.mark.parametrize(
    ("path", "body", "seen"),
    [
        ("/v1/track", segment(None, "Product Viewed"), Glance(1, VIEW)),
        ("/v1/t", segment("page", "Order Completed"), Glance(1, MONEY)),
        ("/v1/p", segment("track", "Order Completed"), Glance(1, VIEW)),
        ("/v1/batch", {"batch": [segment("track", "Product Viewed"), segment("Page", 1)]}, Glance()),
        ("/v1/batch", {"batch": [segment("track", "Product Viewed"), segment("Page", None)]}, Glance(2, VIEW)),
        ("/v1/batch", {"batch": [segment("track", "Product Viewed"), segment("track", "Added")]}, Glance(2, BEHAVIOUR)),
        ("/v1/batch", {"batch": [segment("track", "Product Viewed"), segment("identify", None)]}, Glance()),
        ("/mp/collect", {"events": [{"name": "screen_view"}, {"name": "page_view"}]}, Glance(2, VIEW)),
        ("/events", [{"type": "io.shop.view_item"}, {"type": "search"}], Glance(2, VIEW)),
        ("/events", {"type": "io.shop.order_created"}, Glance(1, MONEY)),
    ],
)
def test_what_is_seen(path: str, body: Any, seen: Glance) -> None:
    """Views are known for views, whatever else the message says; what is not clear may be money."""
    assert glance(DIALECTS[path].name, asked(path, body)) == seen
