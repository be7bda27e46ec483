"""The routes answer in the contract's shapes, and no parameter breaks them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
import pytest_asyncio

from rushlight.events.catalogue import AddToCart, Item, PageView, Purchase, ViewItem
from rushlight.events.envelope import Envelope
from rushlight.local.instance import Instance
from rushlight.query.api import build
from rushlight.settings import Settings, Shop
from rushlight.store.database import Database
from tests.query.world import cancelled, client, moment, ordered, refunded, seal, store

DAY = "from=2026-11-27T00:00:00Z&to=2026-11-28T00:00:00Z"
AT = moment("2026-11-27T10:05")
Http = httpx.AsyncClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOPS = {
    "default": Shop(),
    "kolkata": Shop(time_zone="Asia/Kolkata"),
    "web": Shop(source_of_record="shopify"),
}

EMAIL = {"channel": "email", "campaign": {"source": "A/b"}, "device": "mobile"}


def seen(visitor: str, number: int, **context: Any) -> Envelope:
    """A page that a visitor saw, a minute after another."""
    at = moment(f"2026-11-27T20:{number:02d}")
    return msgspec.structs.replace(seal(PageView(visitor_id=visitor), at, source="web"), context=context)


EVENTS = [
    seen("v3", 1, **EMAIL),
    seen("v3", 2),
    seen("v3", 3, bot=True),
    ordered("t1", AT, [("a", 9, 9999, 0)], customer="tester", test=True),
    ordered("o1", AT, [("a", 2, 1000, 100), ("b", 1, 550, 0)], customer="cust/1", tax=290, shipping=495),
    refunded("o1", "r1", moment("2026-11-27T10:20"), [("a", 450)], tax=90),
    ordered("o2", moment("2026-11-27T19:00"), [("a", 1, 500, 0)], currency="JPY", customer="cust/1"),
    ordered("o3", AT, [("a", 9, 9999, 0)], customer="gone"),
    cancelled("o3", AT),
    ordered("s1", AT, [("c", 1, 700, 0)], source="shopify"),
    *(
        seal(event, AT, source="web", number=number)
        for number, event in enumerate(
            [
                ViewItem(visitor_id="v1", items=[Item(product_id="a"), Item(product_id="z", name="Zed")]),
                AddToCart(visitor_id="v1", items=[Item(product_id="a")]),
                Purchase(visitor_id="v1", transaction_id="o1"),
                ViewItem(visitor_id="v2", items=[Item(product_id="a")]),
            ]
        )
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(servers: Instance) -> AsyncIterator[Http]:
    """A client of the API over a small shop, which no test of this module changes."""
    settings = Settings(mongo_url=servers.mongo_url, database=f"test_{uuid.uuid4().hex[:12]}", shops=SHOPS)
    database = await Database.connect(settings, role="test")
    await store(database, settings, EVENTS)
    async with client(build(database, settings)) as opened:
        yield opened
    await database.client.drop_database(settings.database)
    await database.close()


async def get(http: Http, path: str) -> Any:
    """A successful answer without its ``completeTo``, which every answer has."""
    answer = await http.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said.pop("completeTo").keys() == {"money", "behaviour"}
    return said


async def test_summary(http: Http) -> None:
    """All fields, per currency, with the currency's digits; a cancelled order counts nowhere."""
    assert await get(http, f"summary?{DAY}") == {
        "from": "2026-11-27T00:00:00Z",
        "to": "2026-11-28T00:00:00Z",
        "currencies": {
            "JPY": {
                "orders": 1,
                "units": 1,
                "gross": "500",
                "discounts": "0",
                "refunds": "0",
                "net": "500",
                "tax": "0",
                "shipping": "0",
                "aov": "500",
            },
            "USD": {
                "orders": 1,
                "units": 3,
                "gross": "15.50",
                "discounts": "1.00",
                "refunds": "4.50",
                "net": "10.00",
                "tax": "2.00",
                "shipping": "4.95",
                "aov": "14.50",
            },
        },
        "tests": 1,
        "warnings": ["Source shopify reports money too; figures are those of orders, the shop's source of record."],
    }


async def test_series_by_local_day(http: Http) -> None:
    """Days are cut where the zone says: the evening order falls on the next day in Kolkata."""
    said = await get(http, f"series?{DAY}&step=day&timeZone=Asia/Kolkata")
    assert said["timeZone"] == "Asia/Kolkata"
    assert [(point["at"], point["net"]) for point in said["currencies"]["USD"]] == [
        ("2026-11-27T00:00:00+05:30", "10.00")
    ]
    assert [point["at"] for point in said["currencies"]["JPY"]] == ["2026-11-28T00:00:00+05:30"]


async def test_series_by_minute(http: Http) -> None:
    """Steps without sales are left out; a refund counts when it happened."""
    said = await get(http, f"series?{DAY}&step=minute")
    assert said["currencies"]["USD"] == [
        {
            "at": "2026-11-27T10:05:00Z",
            "orders": 1,
            "units": 3,
            "gross": "15.50",
            "discounts": "1.00",
            "refunds": "0.00",
            "net": "14.50",
            "tax": "2.90",
            "shipping": "4.95",
        },
        {
            "at": "2026-11-27T10:20:00Z",
            "orders": 0,
            "units": 0,
            "gross": "0.00",
            "discounts": "0.00",
            "refunds": "4.50",
            "net": "-4.50",
            "tax": "-0.90",
            "shipping": "0.00",
        },
    ]


async def test_products(http: Http) -> None:
    """Views, adds and sales meet in one row; sorted by net in the currency of most orders, then by id."""
    said = await get(http, f"products?{DAY}")
    nothing = {"discounts": "0.00", "refunds": "0.00"}
    assert said["total"] == 3
    assert said["products"] == [
        {
            "productId": "b",
            "name": "Product b",
            "category": None,
            "views": 0,
            "adds": 0,
            "currencies": {"USD": {"units": 1, "gross": "5.50", "net": "5.50", **nothing}},
        },
        {
            "productId": "a",
            "name": "Product a",
            "category": None,
            "views": 2,
            "adds": 1,
            "currencies": {
                "JPY": {"units": 1, "gross": "500", "discounts": "0", "refunds": "0", "net": "500"},
                "USD": {"units": 2, "gross": "10.00", "discounts": "1.00", "refunds": "4.50", "net": "4.50"},
            },
        },
        {"productId": "z", "name": "Zed", "category": None, "views": 1, "adds": 0, "currencies": {}},
    ]


@pytest.mark.parametrize(
    ("sort", "ids"), [("units", "abz"), ("views", "azb"), ("adds", "abz"), ("revenue&limit=1&offset=1", "a")]
)
async def test_products_in_other_orders(http: Http, sort: str, ids: str) -> None:
    """By what was asked; pages are cut from the whole."""
    said = await get(http, f"products?{DAY}&sort={sort}")
    assert "".join(product["productId"] for product in said["products"]) == ids
    assert said["total"] == 3


async def test_products_of_part_of_a_day(http: Http) -> None:
    """Only the quarter-hours inside count."""
    said = await get(http, "products?from=2026-11-27T10:15:00Z&to=2026-11-27T10:30:00Z")
    (row,) = said["products"]
    assert (row["productId"], row["views"], row["currencies"]["USD"]["net"]) == ("a", 0, "-4.50")


async def test_customer(http: Http) -> None:
    """Historic lifetime value by currency; the id may hold a slash."""
    assert await get(http, "customers/cust/1") == {
        "customerId": "cust/1",
        "also": [],
        "visitors": [],
        "firstSeen": None,
        "firstOrderAt": "2026-11-27T10:05:00Z",
        "lastOrderAt": "2026-11-27T19:00:00Z",
        "currencies": {
            "JPY": {"orders": 1, "gross": "500", "discounts": "0", "refunds": "0", "net": "500"},
            "USD": {"orders": 1, "gross": "15.50", "discounts": "1.00", "refunds": "4.50", "net": "10.00"},
        },
    }
    nobody = await http.get("/api/v1/customers/nobody")
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (404, "not_found")


async def test_funnel(http: Http) -> None:
    """Sessions that reached each step or a later one."""
    said = await get(http, f"funnel?{DAY}")
    assert said["steps"] == [
        {"step": "view", "sessions": 2},
        {"step": "cart", "sessions": 1},
        {"step": "checkout", "sessions": 1},
        {"step": "payment", "sessions": 1},
        {"step": "purchase", "sessions": 1},
    ]
    assert (await get(http, "funnel?from=2026-11-27T10:15:00Z&to=2026-11-28T00:00:00Z"))["steps"][0]["sessions"] == 0


async def test_sessions(http: Http) -> None:
    """By channel, device and campaign source, and what is in no figure."""
    said = await get(http, f"sessions?{DAY}")
    assert {name: said[name] for name in ("sessions", "engaged", "channels", "devices", "sources", "leftOut")} == {
        "sessions": 3,
        "engaged": 2,
        "channels": [{"name": "direct", "sessions": 2}, {"name": "email", "sessions": 1}],
        "devices": [{"name": "unknown", "sessions": 2}, {"name": "mobile", "sessions": 1}],
        "sources": [{"name": "a/b", "sessions": 1}],
        "leftOut": {"botEvents": 1, "testEvents": 0, "testOrders": 1, "unmeasuredEvents": 0},
    }
    assert (await get(http, f"summary?{DAY}"))["tests"] == 1
    late = "from=2026-11-27T20:15:00Z&to=2026-11-28T00:00:00Z"
    assert (await get(http, f"sessions?{late}"))["sessions"] == 0
    assert (await get(http, f"summary?{late}"))["tests"] == 0


async def test_each_shop_has_its_source_of_record(http: Http) -> None:
    """Another shop's figures are its own."""
    assert (await get(http, f"summary?{DAY}&shop=web"))["currencies"] == {}
    assert (await get(http, f"summary?{DAY}&shop=unheard-of"))["currencies"] == {}


async def test_the_default_range_is_the_shops_day(http: Http) -> None:
    """It begins at the shop's local midnight and says so."""
    said = await get(http, "summary?shop=kolkata")
    assert said["from"].endswith("T18:30:00Z")
    assert said["to"].endswith("T18:30:00Z")


async def test_ledger(http: Http) -> None:
    """The contract's object."""
    said = await get(http, "ledger")
    assert said.keys() == {"balanced", "asOf", "total", "sources", "unreachable", "rejectedBy"}
    assert said["balanced"] is True


ODD = [
    "",
    " ",
    "\0",
    "x" * 3000,
    "-1",
    "1e400",
    "NaN",
    "99999999999999999999999",
    "2026-11-27T10:00:30Z",
    "2026-11-27T10:00:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:00-14:00",
    "1970-01-01T00:00:00Z",
    "$gt",
    "[$ne]",
    '{"$where":"1"}',
    "../../etc/passwd",
    "🔥",
    "İstanbul",
    "%00",
    "a.b.c",
    "1.1.1.1.1.1.1.1",
    "9" * 18 + ".0.0.0.0.0.0.0",
]
RAW = [*(quote(value, safe="") for value in ODD), "%ff%fe", "%ed%a0%80", "%", "%zz", "a&a=b", "&&&=", "+"]
ROUTES = {
    "summary": ("from", "to", "shop"),
    "series": ("from", "to", "shop", "step", "timeZone"),
    "products": ("from", "to", "shop", "sort", "limit", "offset"),
    "customers/x": ("shop",),
    "funnel": ("from", "to", "shop"),
    "ledger": ("from",),
    "events": ("aggregate", "name", "after", "limit", "shop"),
    "notices": ("shop",),
}


@pytest.mark.parametrize("route", ROUTES)
async def test_no_parameter_breaks_a_route(http: Http, route: str) -> None:
    """Every parameter with every oddity, alone and beside good ones: an answer, or an error that names its field."""
    for name in ROUTES[route]:
        for value in RAW:
            for others in ("step=day&", ""):
                _check(await http.get(f"/api/v1/{route}?{others}{name}={value}"), route, name, value)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("limit=x", "must be a whole number"),
        ("limit=0", "must be at least 1"),
        ("offset=1000000", "must be at most 100000"),
        ("sort=size", "cannot be 'size'"),
    ],
)
async def test_a_wrong_parameter_is_told_in_words(http: Http, question: str, said: str) -> None:
    """What a parameter must be, and which one it is."""
    answer = await http.get(f"/api/v1/products?{question}")
    error = answer.json()["error"]
    assert (answer.status_code, error["field"], error["message"]) == (400, question.partition("=")[0], said)


async def test_no_customer_id_breaks_the_route(http: Http) -> None:
    """Every oddity as a path."""
    for value in RAW:
        _check(await http.get(f"/api/v1/customers/{value}"), "customers", value)


def _check(answer: Any, *what: str) -> None:
    assert answer.status_code < 500, (what, answer.text)
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert error.keys() == {"code", "field", "message"}, what
        assert answer.status_code == 404 or error["field"], (what, error)
        assert error["message"], what


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "summary", 405), ("GET", "nope", 404)])
async def test_unknown_ways_are_told_in_the_same_shape(http: Http, method: str, path: str, status: int) -> None:
    """Wrong methods and paths too."""
    answer = await http.request(method, f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["error"].keys()) == (status, {"code", "field", "message"})


async def test_answers_may_not_be_kept_or_framed(http: Http) -> None:
    """Figures change; pages elsewhere have no use for them."""
    headers = (await http.get("/api/v1/summary")).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


async def test_the_schema_has_every_route_and_its_shapes(http: Http) -> None:
    """OpenAPI names parameters as they are asked for and fields as they are answered."""
    schema = (await http.get("/docs/openapi.json")).json()
    paths = schema["paths"]
    assert {"/api/v1/summary", "/api/v1/series", "/api/v1/customers/{customer_id}", "/health/ready"} <= paths.keys()
    asked = {parameter["name"] for parameter in paths["/api/v1/series"]["get"]["parameters"]}
    assert asked == {"from", "to", "shop", "step", "timeZone"}
    reference = paths["/api/v1/summary"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    answered = schema["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]
    assert answered.keys() == {"completeTo", "from", "to", "currencies", "tests", "warnings"}


async def test_the_documentation_needs_nobody_else(http: Http) -> None:
    """One page without a script and without an address that is not its own, under a policy that allows no more."""
    page = await http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/api/v1/summary" in page.text
    assert "<script" not in page.text
    assert "//" not in page.text.replace("<!DOCTYPE html>", "").replace("/docs/openapi.json", "")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
