"""Shoppers, pages and a till, over HTTP as anybody's; each request is in the diary before it goes and once answered.

What is not answered is repeated with the same key until it is; a few walk away instead, and nobody knows.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import aiohttp

from rushlight.events.ids import event_id
from rushlight.events.money import to_text
from tests.faults.diary import Answered, Diary, Outcome, Sent

CURRENCIES = ("USD", "EUR", "JPY")
PRODUCTS = tuple(f"p-{n}" for n in range(12))
PATIENCE_SECONDS = 150.0
RETRY_SECONDS = 0.2
TIMEOUT = aiohttp.ClientTimeout(total=8)
WALKS_AWAY = 0.03
SENDS_TWICE = 0.15
HEALTHY = "healthy"


class Doors(NamedTuple):
    """Where to send, and the keys that open."""

    board: str
    orders: str
    public: str
    secret: str


class Try(NamedTuple):
    """The first attempt of an order's creation: whether it was answered with success, and the seconds it took."""

    good: bool
    seconds: float


class Shoppers:
    """All senders of one test, each a task.

    Args:
        pause: mean seconds between the requests of one sender.
        late: whether the till reports some orders days late, in any order and twice.

    Attributes:
        during: what is going on; first attempts are kept under it in ``tries``.
        unexpected: answers that no sender should ever get.
    """

    def __init__(self, doors: Doors, diary: Diary, *, seed: int, pause: float = 0.25, late: bool = True) -> None:
        self.during = HEALTHY
        self.tries: defaultdict[str, list[Try]] = defaultdict(list)
        self.unexpected: list[str] = []
        self.answers: Counter[str] = Counter()
        self._doors = doors
        self._diary = diary
        self._dice = random.Random(seed)
        self._pause = pause
        self._late = late
        self._number = 0
        # Several trials may share a diary: no two of them name the same thing.
        self._run = f"{seed}-{diary.path.stat().st_size}"
        self._open = asyncio.Event()
        self._busy = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._http = aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=0, force_close=False))

    def start(self, *, shoppers: int = 5, pages: int = 2, tills: int = 1) -> None:
        """Begin, and go on until `close`."""
        self._open.set()
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (shoppers, self._shop),
            (pages, self._browse),
            (tills, self._ring_up),
        ]
        for count, do in kinds:
            self._tasks += [asyncio.create_task(self._repeat(do)) for _ in range(count)]

    async def rest(self) -> None:
        """Begin nothing new, and wait until every request has its answer or is given up."""
        self._open.clear()
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            while self._busy:
                self._fail()
                await asyncio.sleep(0.02)
        self._fail()

    def go_on(self) -> None:
        """End a rest."""
        self._open.set()

    async def close(self) -> None:
        """Stop everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()

    def _fail(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _repeat(self, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / self._pause))
            await self._open.wait()
            self._busy += 1
            try:
                await do()
            finally:
                self._busy -= 1

    def _next(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}-{self._run}-{self._number}"

    async def _shop(self) -> None:
        """An order and what becomes of it."""
        name, dice = self._next("o"), self._dice
        body, sent = self._basket(name, "orders")
        outcome = await self._order(f"{self._doors.orders}/orders", body, sent, may_leave=True)
        if outcome != "accepted":
            return
        base, fate = f"{self._doors.orders}/orders/{name}", dice.random()
        if fate < 0.15:
            await self._order(f"{base}/cancel", {}, _about(sent, "cancel", "order_cancelled"))
        elif fate < 0.75:
            await self._order(f"{base}/pay", {}, _about(sent, "pay", "order_paid"))
            if fate < 0.3:
                refund, asked = self._refund(sent)
                await self._order(f"{base}/refund", asked, refund)

    def _basket(self, name: str, source: str) -> tuple[dict[str, Any], Sent]:
        dice = self._dice
        currency = dice.choice(CURRENCIES)
        plain = dice.random() < 0.5
        lines = [
            (dice.choice(PRODUCTS), dice.randrange(1, 4), dice.randrange(100, 9999))
            for _ in range(dice.randrange(1, 4))
        ]
        discounts = [0 if plain else dice.randrange(90) for _ in lines]
        tax, shipping = (0, 0) if plain else (dice.randrange(500), dice.randrange(300))
        visitor = f"v-{dice.randrange(200)}" if dice.random() < 0.5 else ""
        body: dict[str, Any] = {
            "orderId": name,
            "currency": currency,
            "lines": [
                {
                    "productId": product,
                    "quantity": quantity,
                    "amount": to_text(amount, currency),
                    "discount": to_text(discount, currency),
                }
                for (product, quantity, amount), discount in zip(lines, discounts, strict=True)
            ],
            "tax": to_text(tax, currency),
            "shipping": to_text(shipping, currency),
        }
        if visitor:
            body["visitorId"] = visitor
        sent = Sent(
            key=f"{source} create {name}",
            kind="create",
            source=source,
            aggregate=name,
            name="order_created",
            currency=currency,
            gross=sum(amount for _, _, amount in lines),
            discounts=sum(discounts),
            tax=tax,
            shipping=shipping,
            units=sum(quantity for _, quantity, _ in lines),
            visitor=visitor,
        )
        return body, sent

    def _refund(self, order: Sent) -> tuple[Sent, dict[str, Any]]:
        """All of it; or a part, where there is only goods to give back."""
        goods, tax, shipping = order.gross - order.discounts, order.tax, order.shipping
        asked: dict[str, Any] = {}
        if not tax and not shipping and not order.discounts and self._dice.random() < 0.5:
            goods = self._dice.randrange(1, goods + 1)
            asked = {"amount": to_text(goods, order.currency)}
        sent = _about(
            order, "refund", "order_refunded", currency=order.currency, gross=goods, tax=tax, shipping=shipping
        )
        return sent, asked

    async def _order(self, url: str, body: dict[str, Any], sent: Sent, *, may_leave: bool = False) -> str:
        await self._diary.note(sent)
        leaves = may_leave and self._dice.random() < WALKS_AWAY
        headers = {"Idempotency-Key": sent.key}
        return await self._until_answered([sent.key], url, body, headers, leaves=leaves, timed=sent.kind == "create")

    async def _browse(self) -> None:
        """A few visitors do a few things; some pages send twice what was accepted already."""
        dice, sender = self._dice, self._dice.choice(("/shop", "/app"))
        events, noted = [], []
        for _ in range(dice.randrange(1, 8)):
            visitor, message = f"v-{dice.randrange(200)}", self._next("m")
            name = dice.choice(("page_view", "view_item", "add_to_cart", "begin_checkout"))
            items = (
                []
                if name == "page_view"
                else [{"productId": dice.choice(PRODUCTS), "price": "1.50", "currency": "EUR"}]
            )
            data = {"visitorId": visitor, "items": items} if items else {"visitorId": visitor, "url": "/sale"}
            events.append(_cloud(sender, message, name, data))
            noted.append(_event("web", "public", sender, message, visitor, name))
        await self._send(events, noted, self._doors.public)
        if dice.random() < SENDS_TWICE:
            dice.shuffle(events)
            await self._send(events, [], self._doors.public)

    async def _ring_up(self) -> None:
        """A till in the shop reports its orders itself, and its own kind of event, with a secret key."""
        name, dice = self._next("t"), self._dice
        body, sent = self._basket(name, "api")
        created = _cloud("/till", self._next("m"), "order_created", body)
        bell = self._next("m")
        events = [created, _cloud("/till", bell, "rang_the_bell", {"visitorId": f"v-{dice.randrange(200)}"})]
        noted = [sent, _event("api", "trusted", "/till", bell, events[1]["data"]["visitorId"], "rang_the_bell")]
        if dice.random() < 0.4:
            refund = _about(sent, "refund", "order_refunded", currency=sent.currency, gross=sent.gross - sent.discounts)
            data = {
                "orderId": name,
                "refundId": f"r-{name}",
                "currency": sent.currency,
                "amount": to_text(refund.gross, sent.currency),
            }
            events.append(_cloud("/till", self._next("m"), "order_refunded", data))
            noted.append(refund)
        if self._late:
            then = datetime.now(UTC) - timedelta(days=dice.randrange(3))
            for event in events:
                event["time"] = (then - timedelta(minutes=dice.randrange(60))).isoformat()
            dice.shuffle(events)
        await self._diary.note(*noted)
        # One by one: the refund may be there before its order.
        for event in events:
            await self._until_answered([], f"{self._doors.board}/events", [event], _headers(self._doors.secret))
        await self._diary.note(*(Answered(key=sent.key, outcome="accepted") for sent in noted))
        if dice.random() < SENDS_TWICE:
            await self._send(events, [], self._doors.secret)

    async def _send(self, events: list[dict[str, Any]], noted: list[Sent], key: str) -> None:
        if noted:
            await self._diary.note(*noted)
        await self._until_answered([sent.key for sent in noted], f"{self._doors.board}/events", events, _headers(key))

    async def _until_answered(
        self,
        keys: list[str],
        url: str,
        body: Any,
        headers: dict[str, str],
        *,
        leaves: bool = False,
        timed: bool = False,
    ) -> str:
        """Send until somebody answers; note it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        during, first = self.during, True
        while True:
            began = time.monotonic()
            outcome = await self._once(url, body, headers)
            if timed and first:
                self.tries[during].append(Try(outcome == "accepted", time.monotonic() - began))
            first = False
            if outcome != "unknown" or leaves:
                break
            if time.monotonic() > deadline:
                self.unexpected.append(f"no answer from {url} for {PATIENCE_SECONDS:g} s")
                break
            await asyncio.sleep(RETRY_SECONDS * self._dice.uniform(0.5, 1.5))
        if keys and outcome != "unknown":
            await self._diary.note(*(Answered(key=key, outcome=outcome) for key in keys))
        return outcome

    async def _once(self, url: str, body: Any, headers: dict[str, str]) -> Outcome:
        try:
            async with self._http.post(url, json=body, headers=headers) as response:
                answer = await response.read()
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.answers["none"] += 1
            return "unknown"
        self.answers[str(status)] += 1
        if status < 300:
            if b'"index"' in answer:
                self.unexpected.append(f"{url} refused a part: {answer[:300]!r}")
            return "accepted"
        if status in (429, 503) or status == 500:
            if status == 500:
                self.unexpected.append(f"500 from {url}: {answer[:300]!r}")
            return "unknown"
        self.unexpected.append(f"{status} from {url}: {answer[:300]!r}")
        return "refused"


def _about(order: Sent, kind: Any, name: str, **amounts: Any) -> Sent:
    return Sent(
        key=f"{order.source} {kind} {order.aggregate}",
        kind=kind,
        source=order.source,
        aggregate=order.aggregate,
        name=name,
        **amounts,
    )


def _event(source: str, key_class: Any, sender: str, message: str, visitor: str, name: str) -> Sent:
    return Sent(
        key=f"{sender} {message}",
        kind="event",
        source=source,
        aggregate=visitor,
        name=name,
        event_id=event_id("default", key_class, sender, message),
    )


def _cloud(sender: str, message: str, name: str, data: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"specversion": "1.0", "id": message, "source": sender, "type": name, "time": now, "data": data}


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"}
