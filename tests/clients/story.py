"""A story of shoppers as calls of an SDK, and the events and ids that it must come to, told without the product's code.

Amounts are integer cents here and become decimals only in what is sent.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from rushlight.events.envelope import Envelope
from rushlight.events.ids import event_id, money_id
from tests.projections import oracle

Step = dict[str, Any]
Product = dict[str, Any]

SHOPPERS = 32
CENTS = {"tea": 399, "cup": 1250, "pot": 4999, "tin": 89}
NAMES = {
    "Products Searched": "search",
    "Product List Viewed": "view_item_list",
    "Product Viewed": "view_item",
    "Product Added": "add_to_cart",
    "Product Removed": "remove_from_cart",
    "Checkout Started": "begin_checkout",
    "Payment Info Entered": "add_payment_info",
    "Order Completed": "purchase",
    "Order Refunded": "refund",
    "Video Played": "video_played",
}
MONEY = {"o": "orders", "u": "units", "g": "gross", "d": "discounts", "r": "refunds", "t": "tax", "s": "shipping"}


def story(seed: int, begin: datetime, *, trusted: bool) -> list[Step]:
    """Calls in the order of their visitors.

    Args:
        begin: when the first visitor came; all is over within twenty minutes. trusted: a server tells of the orders,
            also of what became of them.
    """
    chance = random.Random(seed)
    steps: list[Step] = []
    for number in range(SHOPPERS):
        steps += _visit(chance, f"v-{number}", f"u-{number}", begin + timedelta(seconds=30 * number), trusted=trusted)
    return steps


def _visit(chance: random.Random, visitor: str, user: str, at: datetime, *, trusted: bool) -> list[Step]:
    steps: list[Step] = []

    def tell(kind: str, **fields: Any) -> None:
        moment = at + timedelta(seconds=3 * len(steps))
        who = {"anonymousId": visitor} | ({"userId": user} if _is_known(steps) else {})
        steps.append({"type": kind, **who, "timestamp": moment.isoformat(), **fields})

    def track(event: str, **properties: Any) -> None:
        tell("track", event=event, properties=properties)

    chosen = [_product(chance, sku) for sku in chance.sample(sorted(CENTS), 2)]
    tell("page", name="Home", properties={"url": "https://shop.example/", "title": "Tea & Cups"})
    track("Products Searched", query="tea")
    track("Product List Viewed", list_id="all", products=[_product(chance, sku) for sku in sorted(CENTS)])
    for product in chosen:
        track("Product Viewed", **product)
    track("Video Played", seconds=chance.randrange(99), **{"a.b": 1, "$set": {"x": None}})
    track("Product Added", cart_id=f"k-{visitor}", **chosen[0])
    if chance.random() < 0.3:
        track("Product Removed", **chosen[0])
    tell("identify", userId=user, traits={"email": f"{user}@shop.example", "name": "Ada"})
    if chance.random() < 0.5:
        steps.append({"type": "alias", "previousId": visitor, "userId": user, "timestamp": steps[-1]["timestamp"]})
    if chance.random() < 0.8:
        track("Checkout Started", products=chosen, cart_id=f"k-{visitor}")
        track("Payment Info Entered", checkout_id=f"k-{visitor}")
    if chance.random() < 0.8:
        _buy(chance, visitor, chosen, track, trusted=trusted)
    return steps


def _buy(chance: random.Random, visitor: str, chosen: list[Product], track: Any, *, trusted: bool) -> None:
    goods = sum(_cents(product["price"]) * product["quantity"] for product in chosen)
    discount, tax, shipping = chance.choice([0, 0, 250, 1]), goods * 19 // 119, chance.choice([0, 495])
    order = f"o-{visitor}"
    track(
        "Order Completed",
        order_id=order,
        currency="USD",
        products=chosen,
        total=(goods - discount + tax + shipping) / 100,
        tax=tax / 100,
        shipping=_decimal(shipping),
        **({"discount": discount / 100} if discount else {}),
    )
    after = chance.random()
    if after < 0.2:
        track("Order Refunded", order_id=order)
    elif after < 0.4 and trusted:
        track("Order Refunded", order_id=order, refund_id="r-1", currency="USD", products=chosen[:1])
    elif after < 0.6 and trusted:
        track("Order Refunded", order_id=order, refund_id="r-2", currency="USD", amount="1.00")
        track("Order Refunded", order_id=order)
    elif after < 0.7 and trusted:
        track("Order Cancelled", order_id=order)


def _is_known(steps: list[Step]) -> bool:
    return any(step["type"] == "identify" for step in steps)


def _product(chance: random.Random, sku: str) -> Product:
    quantity = chance.choice([1, 1, 2, 3])
    # As a number or as text: both are read exactly.
    price = chance.choice([CENTS[sku] / 100, _decimal(CENTS[sku])])
    return {"product_id": sku, "name": sku.title(), "category": "Tea", "price": price, "quantity": quantity}


def _decimal(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _cents(price: float | str) -> int:
    return round(float(price) * 100)


def ids(messages: Iterable[Mapping[str, Any]], shop: str, *, trusted: bool) -> set[str]:
    """The events that must be stored of these messages, as they went over the wire."""
    found = set[str]()
    for message in messages:
        event, message_id = message.get("event", ""), message["messageId"]
        properties = message.get("properties") or {}
        order = properties.get("order_id", "")
        if not trusted or not event.startswith("Order "):
            found.add(event_id(shop, "trusted" if trusted else "public", "segment", message_id))
        elif event == "Order Completed":
            found |= {money_id(shop, "api", order, name) for name in ("order_created", "purchase")}
        elif event == "Order Refunded":
            found.add(money_id(shop, "api", order, "order_refunded", properties.get("refund_id", "rest")))
        else:
            found.add(money_id(shop, "api", order, "order_cancelled", f"segment {message_id}"))
    return found


def figures(steps: list[Step], shop: str, *, trusted: bool) -> dict[str, Any]:
    """What the API must answer: ``summary`` in USD, ``funnel`` and ``products``, amounts in cents."""
    events = [event for number, step in enumerate(steps) for event in _events(number, step, shop, trusted=trusted)]
    summary: Counter[str] = Counter()
    products: dict[str, Counter[str]] = {sku: Counter() for sku in CENTS}
    for (key, path), amount in oracle.money(events).items():
        kind, counter = key.split("/")[1], MONEY.get(path.rpartition(".")[2], "")
        if kind == "d":
            summary[counter] += amount
        elif kind == "p":
            products[key.rpartition("/")[2]][counter] += amount
    funnel: Counter[int] = Counter()
    for (key, path), count in oracle.behaviour(events).items():
        kind, last = key.split("/")[1], path.rpartition(".")[2]
        if kind == "f":
            funnel[int(last)] += count
        elif kind == "p":
            products[key.rpartition("/")[2]][{"v": "views", "a": "adds"}[last]] += count
    return {
        "summary": {name: summary[name] for name in MONEY.values()},
        "funnel": [funnel[step] for step in range(1, 6)],
        "products": {sku: dict(+counts) for sku, counts in products.items() if +counts},
    }


def _events(number: int, step: Step, shop: str, *, trusted: bool) -> list[Envelope]:
    if step["type"] != "track":
        return []
    event, properties = step["event"], step["properties"]
    at = datetime.fromisoformat(step["timestamp"])
    visitor = step["anonymousId"]

    def envelope(name: str, about: str, payload: dict[str, Any]) -> Envelope:
        return Envelope(
            id=f"{number} {name}",
            name=name,
            aggregate_id=about,
            payload=payload,
            occurred_at=at,
            received_at=at,
            shop=shop,
            source="api" if trusted else "web",
            origin="",
            visitor_id=visitor,
        )

    order = properties.get("order_id", "")
    if not trusted or not event.startswith("Order "):
        listed = properties.get("products") or ([properties] if "product_id" in properties else [])
        return [envelope(NAMES[event], visitor, {"items": [_item(product) for product in listed]})]
    if event == "Order Completed":
        return [envelope("order_created", order, _order(properties)), envelope("purchase", visitor, {})]
    if event == "Order Cancelled":
        return [envelope("order_cancelled", order, {})]
    return [envelope("order_refunded", order, _refund(properties))]


def _item(product: Product) -> dict[str, Any]:
    return {"productId": product["product_id"], "quantity": product["quantity"]}


def _order(properties: Mapping[str, Any]) -> dict[str, Any]:
    lines: list[dict[str, Any]] = [_item(product) | {"amount": _goods(product)} for product in properties["products"]]
    discount = _cents(properties.get("discount", 0))
    for line, (_, part) in zip(lines, oracle.in_proportion(discount, lines), strict=True):
        line["discount"] = part
    return {
        "lines": lines,
        "currency": "USD",
        "gross": sum(line["amount"] for line in lines),
        "discounts": discount,
        "tax": _cents(properties["tax"]),
        "shipping": _cents(properties["shipping"]),
    }


def _refund(properties: Mapping[str, Any]) -> dict[str, Any]:
    refund: dict[str, Any] = {"refundId": properties.get("refund_id", "rest"), "currency": "USD"}
    if "amount" in properties:
        refund["amount"] = _cents(properties["amount"])
    elif "products" in properties:
        refund["lines"] = [_item(product) | {"amount": _goods(product)} for product in properties["products"]]
        refund["amount"] = sum(line["amount"] for line in refund["lines"])
    return refund


def _goods(product: Product) -> int:
    return _cents(product["price"]) * int(product["quantity"])
