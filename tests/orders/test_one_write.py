"""Answers gathered into one write are the answers all the same."""

from __future__ import annotations

import asyncio
import re

from tests.orders.client import Shop


async def exchange(shop: Shop, *parts: bytes) -> bytes:
    """Send bytes in these parts over one connection and read until the server closes it."""
    host, port = shop.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_closing_connection_is_answered_in_full(shop: Shop) -> None:
    """With ``Connection: close`` head and body arrive before the end."""
    answer = await exchange(shop, b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert len(body) == int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]


async def test_pipelined_requests_are_answered_in_order(shop: Shop) -> None:
    """Requests that share a packet have their answers one after the other."""
    get = b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"
    answer = await exchange(
        shop,
        get % (b"/health/live", b"")
        + get % (b"/orders/nobody", b"")
        + get % (b"/openapi.json", b"Connection: close\r\n"),
    )
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"200", b"404", b"200"]


async def test_an_invalid_request_is_refused(shop: Shop) -> None:
    """What is no HTTP is answered 400 and closed."""
    assert (await exchange(shop, b"NONSENSE\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
