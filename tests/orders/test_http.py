"""Bad input is the sender's: it has a status below 500 and one shape of error, whatever the bytes are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rushlight.orders import http
from rushlight.settings import Settings
from tests.orders.client import JSON, Reply, Shop, order, serving

BODY = msgspec.json.encode(order())


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/orders", 405, "POST"),
        ("PUT", "/orders", 405, "POST"),
        ("DELETE", "/orders/o1", 405, "GET"),
        ("POST", "/orders/o1", 405, "GET"),
        ("GET", "/orders/o1/pay", 405, "POST"),
        ("POST", "/health/live", 405, "GET"),
        ("POST", "/openapi.json", 405, "GET"),
        ("GET", "/", 404, None),
        ("GET", "/orders/", 404, None),
        ("GET", "/orders/o1", 404, None),
        ("GET", "/orders/%2e%2e%2f", 404, None),
        ("GET", "/orders/%ff%00", 404, None),
        ("GET", "/orders/" + "x" * 200, 404, None),
        ("POST", "/orders/o1/ship", 404, None),
        ("POST", "/orders/o1/pay/", 404, None),
    ],
)
async def test_routes_are_what_they_are(shop: Shop, method: str, path: str, status: int, allow: str | None) -> None:
    """An unknown path is 404, a known one with another method 405 with the one that is allowed."""
    answer = await shop.send(method, path)
    assert (answer.status, answer.headers.get("allow")) == (status, allow)
    assert set(answer.error) == {"code", "field", "message"}


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, 415, "content_type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "content_type"),
        ({"Content-Type": JSON, "Content-Encoding": "gzip"}, 415, "encoding"),
        ({"Content-Type": JSON, "Origin": "http://elsewhere.example"}, 403, "origin"),
        ({"Content-Type": JSON, "Origin": "null"}, 403, "origin"),
        ({"Content-Type": JSON, "Idempotency-Key": "x" * 256}, 400, "key"),
    ],
)
async def test_headers_are_checked(shop: Shop, headers: dict[str, str], status: int, code: str) -> None:
    """A body of another type, a compressed one, or one that another site's page sends is refused; nothing is stored."""
    answer = await shop.send("POST", "/orders", BODY, headers)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert shop.documents() == []


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.shop+json"])
async def test_json_by_any_name_is_taken(shop: Shop, kind: str) -> None:
    """Parameters, case and structured suffixes of the media type do not matter."""
    assert (await shop.send("POST", "/orders", BODY, {"Content-Type": kind})).status == 201


async def test_a_large_body_is_refused(shop: Shop) -> None:
    """Beyond the bound it is 413, whether the length is announced or the body comes in chunks."""
    large = order(country="x" * http.MAX_BODY_BYTES)
    assert (await shop.post("/orders", large)).status == 413

    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 4096

    async with shop.session.post(f"{shop.url}/orders", data=chunks(), headers={"Content-Type": JSON}) as answer:
        assert answer.status == 413


async def test_a_body_in_pieces_is_one_body(shop: Shop) -> None:
    """However the bytes arrive, they are one order."""

    async def pieces() -> Any:
        for start in range(0, len(BODY), 10):
            yield BODY[start : start + 10]
            await asyncio.sleep(0)

    async with shop.session.post(f"{shop.url}/orders", data=pieces(), headers={"Content-Type": JSON}) as answer:
        assert answer.status == 201


async def test_a_body_that_does_not_come_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that announces a body and stays silent is answered 408; others are served meanwhile."""
    monkeypatch.setattr(http, "BODY_TIMEOUT_SECONDS", 0.5)
    async with serving(settings) as shop:
        host, port = shop.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        assert (await shop.place()).status == 201
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_leaves_stores_nothing(shop: Shop) -> None:
    """A connection that breaks in mid-body is no order."""
    host, port = shop.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n")
    writer.write(BODY)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await shop.place()).status == 201
    assert len(shop.documents()) == 1


async def test_health_is_told(shop: Shop) -> None:
    """Live and ready, and how the fast path fares."""
    assert (await shop.get("/health/live")).status == 200
    answer = await shop.get("/health/ready")
    assert (answer.status, answer.json) == (
        200,
        {"ok": True, "stream": "well", "status": "ready", "reason": "", "reasons": []},
    )


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["1e400", "-0", "NaN", "9" * 60, "1_000", "٣", "\x00", "$gt", "USD", "1.00", "p1"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
FIELDS = ["orderId", "customerId", "visitorId", "shop", "currency", "lines", "discount", "tax", "shipping", "country"]
LINE_FIELDS = ["productId", "name", "category", "quantity", "unitPrice", "amount", "discount"]


def shaken(usual: dict[str, Any], fields: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """A right body of which some fields are anything at all."""
    return st.dictionaries(st.sampled_from(fields) | st.text(max_size=8), values, max_size=3).map(lambda f: usual | f)


orders = st.one_of(
    shaken(order(), FIELDS),
    st.lists(shaken({"productId": "p", "quantity": 1, "amount": "1.00"}, LINE_FIELDS), max_size=3).map(
        lambda lines: order(lines=lines)
    ),
    values,
)
changes = st.one_of(
    shaken({}, ["paymentId", "amount", "failed", "reason", "lines"]),
    st.lists(shaken({"productId": "p1", "quantity": 1}, ["productId", "quantity"])).map(lambda lines: {"lines": lines}),
    values,
)


def as_json(value: Any) -> bytes:
    """JSON as a careless sender makes it: NaN, infinities and lone surrogates stay in."""
    return json.dumps(value).encode()


def examples() -> list[tuple[str, bytes]]:
    """Requests that Hypothesis thinks of: what is asked for (empty: a new order), and the body."""
    found: list[tuple[str, bytes]] = []
    kinds = st.sampled_from(["/pay", "/refund", "/cancel"])

    @hypothesis_settings(max_examples=300, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        st.tuples(st.just(""), orders.map(as_json) | st.binary(max_size=60))
        | st.tuples(kinds, changes.map(as_json) | st.binary(max_size=60))
    )
    def collect(request: tuple[str, bytes]) -> None:
        found.append(request)

    collect()
    return found


async def test_no_body_makes_a_server_error(settings: Settings) -> None:
    """Whatever is sent, to whichever route: an order, or an error below 500 that says what is wrong."""
    requests = examples()
    async with serving(settings) as shop:
        order_id = (await shop.place()).json["orderId"]
        for kind, body in requests:
            path = f"/orders/{order_id}{kind}" if kind else "/orders"
            answer: Reply = await shop.send("POST", path, body, {"Content-Type": JSON})
            assert answer.status < 500, (path, body, answer)
            if answer.status >= 400:
                assert set(answer.error) == {"code", "field", "message"}
                assert answer.error["message"]
