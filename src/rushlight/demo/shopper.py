"""One visit: planned by the seed alone, then walked through the shop; every step is an event that a shop sends."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from typing import Any, NamedTuple

from rushlight.demo.goods import COUNTRIES, Product, choose
from rushlight.demo.shop import Shop

ADDS_TO_CART = 0.32
REMOVES = 0.08
BEGINS_CHECKOUT = 0.68
GIVES_PAYMENT = 0.82
BUYS = 0.86
WANTS_REFUND = 0.02
SALE_DISCOUNT = Decimal("0.20")
CENT = Decimal("0.01")
RETURNING_CUSTOMERS = 1500
SHOP_URL = "https://shop.example"
# By what link and from what page shoppers come.
ARRIVALS = (
    *(("", ""),) * 3,
    *(("", "https://www.google.com/"),) * 3,
    *(("?utm_source=newsletter&utm_medium=email&utm_campaign=flash-sale", ""),) * 3,
    *(("?utm_source=google&utm_medium=cpc&utm_campaign=flash-sale&gclid=demo", "https://www.google.com/"),) * 2,
    ("?utm_source=instagram&utm_medium=paid_social&utm_campaign=flash-sale", "https://l.instagram.com/"),
    ("?fbclid=demo", "https://l.facebook.com/"),
    ("", "https://blog.example/deals"),
)
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_CHROMIUM = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0"
_IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {_APPLE} Version/18.6 Mobile/15E148 Safari/604.1"
_ANDROID = f"Mozilla/5.0 (Linux; Android 10; K) {_CHROMIUM} Mobile Safari/537.36"
# In what they come: two of three hold a phone.
BROWSERS = (
    *(_IPHONE,) * 4,
    *(_ANDROID,) * 4,
    *(f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROMIUM} Safari/537.36",) * 2,
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_APPLE} Version/18.6 Safari/605.1.15",
    f"Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) {_APPLE} Version/17.7 Mobile/15E148 Safari/604.1",
)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
IS_CRAWLER = 0.04
LOOKS = frozenset(("page_view", "view_item"))

Basket = list[tuple[Product, int]]


class Step(NamedTuple):
    """Wait, then report."""

    pause_seconds: float
    name: str
    data: dict[str, Any]


class Visit(NamedTuple):
    """What one shopper will do.

    Attributes:
        browser: a user agent. steps: what is reported, in order. order: the body of the order at the end, or None.
        refunded: whether half of the goods are sent back.
    """

    browser: str
    steps: list[Step]
    order: dict[str, Any] | None
    refunded: bool


def plan(seed: int, number: int) -> Visit:
    """The visit of shopper ``number``: the same for the same seed, whatever the timing."""
    dice = random.Random(f"{seed}/{number}")
    steps = [Step(0, "page_view", _landing(random.Random(f"{seed}/{number}/landing")))]
    basket = _browse(dice, steps)
    buys = bool(basket)
    for chance, name, pause in (
        (1.0, "view_cart", 1.5),
        (BEGINS_CHECKOUT, "begin_checkout", 1.0),
        (GIVES_PAYMENT, "add_payment_info", 2.0),
    ):
        buys = buys and dice.random() < chance
        if buys:
            steps.append(Step(_pause(dice, pause), name, {"items": _items(basket)}))
    buys = buys and dice.random() < BUYS
    at_hand = random.Random(f"{seed}/{number}/browser")
    if at_hand.random() < IS_CRAWLER:
        return Visit(CRAWLER, [step for step in steps if step.name in LOOKS], None, refunded=False)
    return Visit(at_hand.choice(BROWSERS), steps, _order(dice, basket) if buys else None, dice.random() < WANTS_REFUND)


async def walk(shop: Shop, visit: Visit, name: str, *, haste: float) -> None:
    """Do what was planned.

    Args:
        name: of the visitor and, at the end, of the order.
        haste: divides the pauses.
    """
    for step in visit.steps:
        await asyncio.sleep(step.pause_seconds / haste)
        shop.event(step.name, name, visit.browser, **step.data)
    if visit.order is None:
        return
    await asyncio.sleep(1.0 / haste)
    placed = await shop.order({"orderId": name, "visitorId": name, **visit.order})
    await shop.pay(name)
    if visit.refunded:
        await asyncio.sleep(3.0 / haste)
        goods = Decimal(placed["gross"]) - Decimal(placed["discounts"])
        await shop.refund(name, (goods / 2).quantize(CENT))


def _landing(dice: random.Random) -> dict[str, Any]:
    query, referrer = dice.choice(ARRIVALS)
    page = {"url": f"{SHOP_URL}/flash-sale{query}", "title": "Flash sale"}
    return page | ({"referrer": referrer} if referrer else {})


def _browse(dice: random.Random, steps: list[Step]) -> Basket:
    basket: Basket = []
    for _ in range(dice.choice((1, 1, 2, 2, 3, 4))):
        product = choose(dice)
        steps.append(Step(_pause(dice, 1.5), "view_item", {"items": _items([(product, 1)])}))
        if dice.random() < ADDS_TO_CART:
            row = (product, dice.choice((1, 1, 1, 2)))
            steps.append(Step(_pause(dice, 1.0), "add_to_cart", {"items": _items([row])}))
            basket.append(row)
    if len(basket) > 1 and dice.random() < REMOVES:
        steps.append(Step(_pause(dice, 1.0), "remove_from_cart", {"items": _items([basket.pop()])}))
    return basket


def _pause(dice: random.Random, seconds: float) -> float:
    return dice.uniform(0.3, 1.7) * seconds


def _order(dice: random.Random, basket: Basket) -> dict[str, Any]:
    return {
        "customerId": f"customer-{dice.randrange(RETURNING_CUSTOMERS)}",
        "currency": "USD",
        "country": dice.choice(COUNTRIES),
        "lines": [_line(product, quantity) for product, quantity in basket],
    }


def _items(basket: Basket) -> list[dict[str, Any]]:
    return [
        {
            "productId": product.id,
            "name": product.name,
            "category": product.category,
            "quantity": quantity,
            "price": product.price,
            "currency": "USD",
        }
        for product, quantity in basket
    ]


def _line(product: Product, quantity: int) -> dict[str, Any]:
    discount = (Decimal(product.price) * quantity * SALE_DISCOUNT).quantize(CENT)
    return {
        "productId": product.id,
        "name": product.name,
        "category": product.category,
        "quantity": quantity,
        "unitPrice": product.price,
        "discount": str(discount),
    }
