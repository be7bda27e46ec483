"""Every route with every kind of key: who may is served, who may not is told, and no shop sees or touches another's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rushlight.ingest.http import DIALECTS
from tests.hostile.requests import encoded, good
from tests.hostile.site import Site
from tests.ingest.making import in_streams, until, working

KINDS = ("none", "public", "secret", "other", "revoked", "expired", "bound")
SHOPS = {"public": "default", "secret": "default", "bound": "default", "other": "other"}
Expected = dict[str, int]


def door(taken: int) -> Expected:
    """Of a door that takes events in: only with a key that is valid, and from a page only where it may be used."""
    return (
        dict.fromkeys(("none", "revoked", "expired"), 401)
        | dict.fromkeys(("public", "secret", "other"), taken)
        | {"bound": 403}
    )


# Figures are for whoever reaches the port (loopback, or a proxy that knows its people); a key changes nothing.
READ: Expected = dict.fromkeys(KINDS, 200)
NOBODY: Expected = dict.fromkeys(KINDS, 404)
SECRET_ONLY: Expected = dict.fromkeys(KINDS, 401) | {"secret": 201, "other": 201}
INGEST: dict[str, Expected] = {
    "/events": door(202),
    "/mp/collect": door(204),
    "/debug/mp/collect": door(200),
    **{
        f"/v1/{name}": door(200)
        for name in ("track", "page", "screen", "identify", "group", "alias", "batch", "import")
    },
    **{f"/v1/{name}": door(200) for name in ("t", "p", "s", "i", "g", "a", "b")},
}
SPAN = "from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z"
KNOWN: Expected = dict.fromkeys(KINDS, 200) | dict.fromkeys(("none", "revoked", "expired"), 404)
# Each with what it is asked for; {shop} is the shop that asks, with {key}.
API: dict[tuple[str, str], tuple[str, Expected]] = {
    ("get", "/api/v1/summary"): (f"/api/v1/summary?shop={{shop}}&{SPAN}", READ),
    ("get", "/api/v1/series"): (f"/api/v1/series?shop={{shop}}&step=day&{SPAN}", READ),
    ("get", "/api/v1/products"): (f"/api/v1/products?shop={{shop}}&{SPAN}", READ),
    ("get", "/api/v1/customers/{customer_id}"): ("/api/v1/customers/customer-of-{victim}?shop={shop}", NOBODY),
    ("get", "/api/v1/funnel"): (f"/api/v1/funnel?shop={{shop}}&{SPAN}", READ),
    ("get", "/api/v1/projections/{name}"): ("/api/v1/projections/money?shop={shop}", NOBODY),
    ("get", "/api/v1/ledger"): ("/api/v1/ledger", READ),
    ("get", "/api/v1/events"): ("/api/v1/events?shop={shop}&aggregate=visitor-of-{victim}", READ),
    ("get", "/api/v1/parked"): ("/api/v1/parked?shop={shop}", READ),
    ("get", "/api/v1/sessions"): (f"/api/v1/sessions?shop={{shop}}&{SPAN}", READ),
    ("get", "/api/v1/tracking"): ("/api/v1/tracking?shop={shop}", READ),
    ("get", "/api/v1/rejected"): ("/api/v1/rejected?shop={shop}", READ),
    ("get", "/api/v1/notices"): ("/api/v1/notices?shop={shop}", READ),
    ("post", "/api/v1/notices"): ("/api/v1/notices", SECRET_ONLY),
    ("get", "/v1/projects/{writeKey}/settings"): ("/v1/projects/{key}/settings", KNOWN),
    ("get", "/health/live"): ("/health/live", READ),
    ("head", "/health/live"): ("/health/live", READ),
    ("get", "/health/ready"): ("/health/ready", READ),
    ("head", "/health/ready"): ("/health/ready", READ),
}
BESIDES = ("/metrics", "/docs", "/docs/openapi.json", "/")


def headers(site: Site, kind: str) -> list[tuple[str, str]]:
    """Of a request under this kind of key."""
    plain = [("content-type", "application/json")]
    return plain if kind == "none" else [*plain, ("authorization", f"Bearer {getattr(site.keys, kind)}")]


def test_every_route_is_expected(site: Site) -> None:
    """A route that nobody has thought of here fails: its place in the tables says who may use it."""
    document = site.call("GET", "/docs/openapi.json").json
    described = {(method, path) for path, operations in document["paths"].items() for method in operations}
    assert set(DIALECTS) == set(INGEST)
    assert described - {("post", path) for path in INGEST} == set(API)


@pytest.mark.parametrize("path", INGEST)
def test_doors_of_the_ingest(site: Site, path: str) -> None:
    """Each kind of key is answered as it should be, and whatever is taken belongs to the key's shop."""
    for kind in KINDS:
        shop = SHOPS.get(kind, "default")
        answer = site.call("POST", path, headers(site, kind), encoded(good(path, shop)))
        assert answer.status == INGEST[path][kind], (kind, answer)
        assert answer.headers["access-control-allow-origin"] == "*"
        for method in ("GET", "PUT", "DELETE"):
            assert site.call(method, path, headers(site, kind)).status == 405
        assert site.call("OPTIONS", path, headers(site, kind)).status == 204


def test_a_path_that_is_no_door(site: Site) -> None:
    """Whoever sends to a misspelt route is told where the doors are."""
    for path in ("/v1/tracks", "/mp/colect", "/event", "/"):
        answer = site.call("POST", path, headers(site, "public"), b"{}")
        assert (answer.status, answer.json["error"]["code"]) == (404, "path")
        assert "/mp/collect" in answer.json["error"]["message"]


def test_routes_that_are_read(site: Site) -> None:
    """After both shops' events are stored: each route with each key, of neither shop a word in the other's answer."""
    site.send("/events", order("default"), site.keys.secret)
    site.send("/events", order("other"), site.keys.other)
    for shop, key in (("default", site.keys.public), ("other", site.keys.other)):
        assert site.send("/events", good("/events", shop), key).status == 202
    site.run(_stored(site))
    for event in site.run(_journal(site)):
        text = str(event)
        victim = "default" if event["shop"] == "other" else "other"
        claimed = text.replace(f"'shop': '{victim}'", "")  # what was only claimed stays in a shop's own payload
        assert f"-of-{victim}" not in claimed
        assert event["source"] == "api" or event["eventName"] not in {"order_created", "order_refunded"}
    for (method, _), (asked, expected) in API.items():
        for kind in KINDS:
            shop = SHOPS.get(kind, "default")
            victim = "default" if shop == "other" else "other"
            body = encoded({"text": f"notice-of-{shop}"}) if method == "post" else b""
            url = asked.format(shop=shop, victim=victim, key=getattr(site.keys, kind, "none"))
            answer = site.call(method.upper(), url, headers(site, kind), body)
            assert answer.status == expected[kind], (url, kind, answer)
            assert f"-of-{victim}".encode() not in answer.body, (url, kind)
    for url in BESIDES:
        for kind in KINDS:
            answer = site.call("GET", url, headers(site, kind))
            assert answer.status == 200
            assert b"-of-" not in answer.body
    assert b"product-of-other" in site.call("GET", "/api/v1/events?shop=other&aggregate=visitor-of-other").body
    told = site.call("GET", f"/api/v1/summary?shop=other&{SPAN}").json
    assert told["currencies"] == {}, "the shop's source of record is its orders"
    assert "api" in str(told["warnings"]), "and another one reports money"


def order(shop: str) -> dict[str, Any]:
    """Money of a shop."""
    lines = [{"productId": f"product-of-{shop}", "amount": "3.00"}]
    data = {"orderId": f"order-of-{shop}", "customerId": f"customer-of-{shop}", "currency": "EUR", "lines": lines}
    return {"specversion": "1.0", "id": f"order {shop}", "source": "/tests", "type": "order_created", "data": data}


async def _stored(site: Site) -> None:
    """Let a worker work until all that was taken has its place in the journal."""
    async with working(site.settings):
        events = await asyncio.to_thread(in_streams, site.settings.redis_url or "")
        wanted = {event.id for event in events}

        async def all_there() -> bool:
            return await site.database.journal.count_documents({"_id": {"$in": list(wanted)}}) == len(wanted)

        await until(all_there)


async def _journal(site: Site) -> list[dict[str, Any]]:
    return await site.database.journal.find({}).to_list()
