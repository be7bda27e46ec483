"""The demo's way to the services: orders one by one, behaviour in batches, both over HTTP like any other shop's."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import aiohttp

FLUSH_SECONDS = 0.2
MAX_BATCH_EVENTS = 200
MAX_ATTEMPTS = 40
RETRY_SECONDS = 0.5
TIMEOUT = aiohttp.ClientTimeout(total=10)
HTTP_TOO_MANY, HTTP_SERVER_ERROR = 429, 500


class Tally:
    """What the services acknowledged to the demo: its own count, independent of every figure on the board.

    Attributes:
        orders, gross, discounts, refunds: of orders that were answered with 201, in USD.
        events: behaviour events that were answered with 2xx, by name.
        unanswered: orders that were asked for and not answered yet.
        retries: requests that had to be sent again.
    """

    def __init__(self) -> None:
        self.orders = 0
        self.gross = Decimal(0)
        self.discounts = Decimal(0)
        self.refunds = Decimal(0)
        self.events: Counter[str] = Counter()
        self.unanswered = 0
        self.retries = 0

    @property
    def net(self) -> Decimal:
        """``gross - discounts - refunds``."""
        return self.gross - self.discounts - self.refunds


class Shop:
    """One client for all simulated shoppers; repeats what was not answered, with the same ids.

    Args:
        board, orders: base URLs. key: a public write key for behaviour.
    """

    def __init__(self, board: str, orders: str, key: str) -> None:
        self._board = board
        self._orders = orders
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"}
        self._http = aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=128))
        # By browser: whose device it is, is told by the request's user agent.
        self._pending: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._sending = False
        self._flushing = asyncio.create_task(self._flush())
        self.tally = Tally()

    def event(self, name: str, visitor: str, browser: str, **data: Any) -> None:
        """Report what a visitor did; sent with others of the same browser (a user agent) within 200 ms."""
        self._pending[browser].append(
            {
                "specversion": "1.0",
                "id": uuid4().hex,
                "source": "demo-shop",
                "type": name,
                "subject": visitor,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "data": data,
            }
        )

    async def order(self, body: dict[str, Any]) -> dict[str, Any]:
        """Place an order and return it as the service answers."""
        self.tally.unanswered += 1
        placed: dict[str, Any] = await self._post(f"{self._orders}/orders", body, key=uuid4().hex)
        self.tally.unanswered -= 1
        self.tally.orders += 1
        self.tally.gross += Decimal(placed["gross"])
        self.tally.discounts += Decimal(placed["discounts"])
        return placed

    async def pay(self, order_id: str) -> None:
        """Pay for an order in full."""
        await self._post(f"{self._orders}/orders/{order_id}/pay", {}, key=uuid4().hex)

    async def refund(self, order_id: str, amount: Decimal) -> None:
        """Give part of the money back; the demo's orders have no tax or shipping, so it is all goods."""
        await self._post(f"{self._orders}/orders/{order_id}/refund", {"amount": str(amount)}, key=uuid4().hex)
        self.tally.refunds += amount

    async def drain(self) -> None:
        """Wait until every event that was reported has been acknowledged."""
        while self._pending or self._sending:  # noqa: ASYNC110 - a poll at the end of a demo
            await asyncio.sleep(FLUSH_SECONDS)

    async def close(self) -> None:
        """Stop sending and close."""
        self._flushing.cancel()
        await asyncio.gather(self._flushing, return_exceptions=True)
        await self._http.close()

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            while self._pending:
                pending, self._pending = self._pending, defaultdict(list)
                self._sending = True
                await asyncio.gather(*(self._send(browser, events) for browser, events in pending.items()))
                self._sending = False

    async def _send(self, browser: str, events: list[dict[str, Any]]) -> None:
        headers = self._headers | {"User-Agent": browser}
        for start in range(0, len(events), MAX_BATCH_EVENTS):
            batch = events[start : start + MAX_BATCH_EVENTS]
            await self._post(f"{self._board}/events", batch, headers=headers)
            self.tally.events.update(event["type"] for event in batch)

    async def _post(self, url: str, body: Any, *, key: str = "", headers: dict[str, str] | None = None) -> Any:
        sent = headers or {"Idempotency-Key": key}
        for _ in range(MAX_ATTEMPTS):
            try:
                async with self._http.post(url, json=body, headers=sent) as response:
                    if response.status < HTTP_SERVER_ERROR and response.status != HTTP_TOO_MANY:
                        response.raise_for_status()
                        return await response.json(content_type=None)
            except (aiohttp.ClientConnectionError, TimeoutError):
                pass
            self.tally.retries += 1
            await asyncio.sleep(RETRY_SECONDS)
        raise ConnectionError(f"{url} does not answer")
