"""One order by three roads, through the doors themselves: its money counts once, and it is said who else told it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rushlight.orders.app import build as build_orders
from rushlight.settings import Settings
from tests.hostile.requests import encoded
from tests.hostile.site import Site
from tests.ingest.making import until, working

SPAN = "from=2026-01-01T00:00:00Z&to=2036-01-01T00:00:00Z"
LINES = [{"productId": "tea", "quantity": 1, "amount": "3.00"}]
ORDER = {"orderId": "A-1", "customerId": "c1", "visitorId": "v1", "currency": "EUR", "lines": LINES}


@pytest.fixture(scope="module")
def shop(site_settings: Settings) -> Iterator[Site]:
    """The order service on the same servers."""
    opened = Site(site_settings, build_orders(site_settings))
    yield opened
    opened.close()


def test_one_order_by_three_roads(site: Site, shop: Site) -> None:
    """The shop's own outbox is the record; a server's report is warned of, and a page's only completes a funnel."""
    placed = ORDER | {"lines": [{"productId": "tea", "quantity": 1, "unitPrice": "3.00"}]}
    assert shop.call("POST", "/orders", [("content-type", "application/json")], encoded(placed)).status == 201
    told = {"specversion": "1.0", "id": "1", "source": "/server", "type": "order_created", "data": ORDER}
    assert site.send("/events", told, site.keys.secret).status == 202
    seen = {"orderId": "A-1", "currency": "EUR", "value": "999.00", "items": [{"productId": "tea"}]}
    page = {"specversion": "1.0", "id": "2", "source": "/page", "type": "purchase", "subject": "v2", "data": seen}
    assert site.send("/events", page, site.keys.public).status == 202
    assert site.send("/events", told | {"id": "3"}, site.keys.public).status == 400, "a page reports no money"

    async def stored() -> bool:
        return await site.database.journal.count_documents({}) == 5  # twice the order and its purchase; the page's

    async def work() -> None:
        async with working(site.settings):
            await until(stored)

    site.run(work())
    summary = site.call("GET", f"/api/v1/summary?{SPAN}").json
    assert {code: (row["orders"], row["gross"]) for code, row in summary["currencies"].items()} == {"EUR": (1, "3.00")}
    assert "api" in str(summary["warnings"])
    funnel = site.call("GET", f"/api/v1/funnel?{SPAN}").json
    assert "purchase" in str(funnel)
    assert "999" not in str(summary) + str(funnel)
