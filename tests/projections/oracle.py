"""Figures told a second time, from all events at once and without any of the project's folds.

A figure is a number by (document key, dotted path); zeros are left out, since a missing number means zero.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from rushlight.events.envelope import Envelope

Figures = dict[tuple[str, str], int]
STEPS = {
    "view_item": 1,
    "add_to_cart": 2,
    "begin_checkout": 3,
    "add_shipping_info": 3,
    "add_payment_info": 4,
    "purchase": 5,
}
GAP = timedelta(minutes=30)


def unique(events: Iterable[Envelope]) -> list[Envelope]:
    """Each event once, by id."""
    return list({event.id: event for event in events}.values())


def money(events: Iterable[Envelope]) -> Figures:
    """Sales by minute, quarter-hour, product and customer."""
    figures: Counter[tuple[str, str]] = Counter()
    for (shop, source, _), reports in _orders(events).items():
        created = next((event for event in reports if event.name == "order_created"), None)
        if created is not None and _is_test(created):
            at = created.occurred_at
            figures[f"{shop}/x/{source}/{at:%Y-%m-%dT%H}", f"m.{at:%M}.n"] += 1
            continue
        if any(event.name == "order_cancelled" for event in reports):
            continue
        customer = created and created.customer_id
        if created is not None:
            _count_order(figures, shop, source, created)
        refunds = {event.payload["refundId"]: event for event in reports if _is_refund(event)}
        for refund in _definite(list(refunds.values()), created):
            _count_refund(figures, shop, source, refund, created, customer or refund.customer_id)
    return {place: number for place, number in figures.items() if number}


def _is_refund(event: Envelope) -> bool:
    return event.name == "order_refunded" and not _is_test(event)


def _is_test(event: Envelope) -> bool:
    return bool(event.payload.get("test") or (event.context or {}).get("test"))


def _orders(events: Iterable[Envelope]) -> dict[tuple[str, str, str], list[Envelope]]:
    orders = defaultdict(list)
    for event in unique(events):
        if event.name.startswith("order_"):
            orders[event.shop, event.source, event.aggregate_id].append(event)
    return orders


def _count_order(figures: Counter[tuple[str, str]], shop: str, source: str, created: Envelope) -> None:
    payload, at = created.payload, created.occurred_at
    lines = payload["lines"]
    sums = {
        "o": 1,
        "u": sum(line["quantity"] for line in lines),
        "g": payload["gross"],
        "d": payload.get("discounts", 0),
        "t": payload.get("tax", 0),
        "s": payload.get("shipping", 0),
    }
    _count(figures, shop, source, payload["currency"], at, sums, created.customer_id)
    for line in lines:
        key = _product(shop, source, payload["currency"], at, line["productId"])
        figures[key, f"q.{_quarter(at)}.u"] += line["quantity"]
        figures[key, f"q.{_quarter(at)}.g"] += line["amount"]
        figures[key, f"q.{_quarter(at)}.d"] += line.get("discount", 0)


def _definite(refunds: list[Envelope], created: Envelope | None) -> list[Envelope]:
    """The refunds with their amounts: the earliest that has none takes what is left, product by product."""
    stated = [refund for refund in refunds if "amount" in refund.payload]
    whole = sorted(
        (refund for refund in refunds if "amount" not in refund.payload),
        key=lambda refund: (refund.occurred_at, refund.payload["refundId"]),
    )
    if not whole or created is None:
        return stated
    order = created.payload
    others = [refund.payload for refund in stated if refund.payload["currency"] == order["currency"]]
    back = {name: sum(other.get(name, 0) for other in others) for name in ("amount", "tax", "shipping")}
    goods = max(0, order["gross"] - order.get("discounts", 0) - back["amount"])
    paid: dict[str, int] = {}
    for line in order["lines"]:
        paid[line["productId"]] = paid.get(line["productId"], 0) + max(0, line["amount"] - line.get("discount", 0))
    for other in others:
        parts = [(line["productId"], line["amount"]) for line in other.get("lines", [])]
        for product, amount in parts or in_proportion(other["amount"], order["lines"]):
            if product in paid:
                paid[product] -= amount
    weights = [{"productId": product, "amount": max(0, amount)} for product, amount in paid.items()]
    payload = {
        "refundId": whole[0].payload["refundId"],
        "currency": order["currency"],
        "amount": goods,
        "lines": [{"productId": product, "amount": amount} for product, amount in in_proportion(goods, weights)],
        "tax": max(0, order.get("tax", 0) - back["tax"]),
        "shipping": max(0, order.get("shipping", 0) - back["shipping"]),
    }
    return [*stated, msgspec.structs.replace(whole[0], payload=payload)]


def _count_refund(
    figures: Counter[tuple[str, str]],
    shop: str,
    source: str,
    refund: Envelope,
    created: Envelope | None,
    customer: str | None,
) -> None:
    payload, at = refund.payload, refund.occurred_at
    sums = {"r": payload["amount"], "t": -payload.get("tax", 0), "s": -payload.get("shipping", 0)}
    _count(figures, shop, source, payload["currency"], at, sums, customer)
    lines = payload.get("lines", [])
    parts = [(line["productId"], line["amount"]) for line in lines]
    if not lines and created is not None:
        parts = in_proportion(payload["amount"], created.payload["lines"])
    for product, amount in parts:
        figures[_product(shop, source, payload["currency"], at, product), f"q.{_quarter(at)}.r"] += amount


def in_proportion(amount: int, lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """By largest remainder: whole units first, then one each to the largest fractions, the earlier line first."""
    paid = [max(0, line["amount"] - line.get("discount", 0)) for line in lines]
    if not sum(paid):
        return [(line["productId"], amount if index == 0 else 0) for index, line in enumerate(lines)]
    parts = [amount * share // sum(paid) for share in paid]
    rest = sorted(range(len(lines)), key=lambda index: (-(amount * paid[index] % sum(paid)), index))
    for index in rest[: amount - sum(parts)]:
        parts[index] += 1
    return [(line["productId"], part) for line, part in zip(lines, parts, strict=True)]


def _count(
    figures: Counter[tuple[str, str]],
    shop: str,
    source: str,
    currency: str,
    at: datetime,
    sums: dict[str, int],
    customer: str | None,
) -> None:
    for name, number in sums.items():
        figures[f"{shop}/h/{source}/{currency}/{at:%Y-%m-%dT%H}", f"m.{at:%M}.{name}"] += number
        figures[f"{shop}/d/{source}/{currency}/{at:%Y-%m-%d}", f"q.{_quarter(at)}.{name}"] += number
        if customer is not None and name in "ogdr":
            figures[f"{shop}/c/{customer}/{source}/{currency}", name] += number


def _product(shop: str, source: str, currency: str, at: datetime, product: str) -> str:
    return f"{shop}/p/{source}/{at:%Y-%m-%d}/{currency}/{product}"


def _quarter(at: datetime) -> str:
    return f"{(at.hour * 60 + at.minute) // 15:02d}"


def latest_orders(events: Iterable[Envelope], shop: str, source: str, count: int = 20) -> list[dict[str, Any]]:
    """The latest orders by time, then id, with what became of them."""
    rows = []
    for (of_shop, of_source, order_id), reports in _orders(events).items():
        created = next((event for event in reports if event.name == "order_created"), None)
        if created is None or (of_shop, of_source) != (shop, source):
            continue
        payload = created.payload
        total = payload["gross"] - payload.get("discounts", 0) + payload.get("tax", 0) + payload.get("shipping", 0)
        names = {event.name for event in reports}
        refunds = {e.payload["refundId"]: e for e in reports if _is_refund(e)}
        definite = [e.payload for e in _definite(list(refunds.values()), created)]
        back = sum(r["amount"] + r.get("tax", 0) + r.get("shipping", 0) for r in definite)
        status = "paid" if "order_paid" in names else "created"
        status = "refunded" if back and back >= total else status
        rows.append(
            {
                "id": order_id,
                "at": created.occurred_at,
                "currency": payload["currency"],
                "total": total,
                "items": sum(line["quantity"] for line in payload["lines"]),
                "customer": created.customer_id,
                "country": payload.get("country"),
                "status": "test" if _is_test(created) else "cancelled" if "order_cancelled" in names else status,
            }
        )
    return sorted(rows, key=lambda row: (row["at"], row["id"]), reverse=True)[:count]


def behaviour(events: Iterable[Envelope]) -> Figures:
    """The funnel and sessions by what they were, products' views and adds, and what is counted apart."""
    figures: Counter[tuple[str, str]] = Counter()
    for (shop, _), story in visitors(events).items():
        for session in _sessions(story):
            _count_session(figures, shop, session)
        for event in story:
            _count_products(figures, event)
    for event in unique(events):
        letter = _apart(event)
        if letter and not event.name.startswith("order_"):
            place = (
                f"{event.shop}/{letter}/{event.occurred_at:%Y-%m-%d}",
                f"q.{_quarter(event.occurred_at)}.{event.name}",
            )
            figures[place] += 1
            if letter == "n":
                _count_products(figures, event)
    return {place: number for place, number in figures.items() if number}


def _apart(event: Envelope) -> str | None:
    context = event.context or {}
    return "b" if context.get("bot") else "t" if context.get("test") else "n" if context.get("consent") else None


def _count_products(figures: Counter[tuple[str, str]], event: Envelope) -> None:
    name = {"view_item": "v", "add_to_cart": "a"}.get(event.name)
    for item in event.payload.get("items", []) if name else []:
        key = f"{event.shop}/p/{event.occurred_at:%Y-%m-%d}/{item['productId']}"
        figures[key, f"q.{_quarter(event.occurred_at)}.{name}"] += 1


def visitors(events: Iterable[Envelope]) -> dict[tuple[str, str], list[Envelope]]:
    """What each visitor did who is measured, in the order in which it happened; of one moment what says most first."""
    stories = defaultdict(list)
    for event in sorted(unique(events), key=lambda event: (event.occurred_at, not _campaign(event))):
        if event.visitor_id is not None and event.visitor_id == event.aggregate_id and not _apart(event):
            stories[event.shop, event.visitor_id].append(event)
    return stories


def _campaign(event: Envelope) -> tuple[str, ...] | None:
    context = event.context or {}
    campaign = context.get("campaign")
    if campaign:
        return tuple(campaign.get(name, "").lower() for name in ("source", "medium", "name"))
    return (context["clickId"],) if "clickId" in context else None


def _sessions(story: list[Envelope]) -> list[list[Envelope]]:
    """The events of each session."""
    sessions: list[list[Envelope]] = []
    days: list[date] = []
    offset = 0
    for event in story:
        offset = (event.context or {}).get("utcOffset", offset)
        day = (event.occurred_at + timedelta(minutes=offset)).date()
        if sessions and day == days[-1] and not _is_another(sessions[-1], event):
            sessions[-1].append(event)
        else:
            sessions.append([event])
            days.append(day)
    return sessions


def _is_another(session: list[Envelope], event: Envelope) -> bool:
    if event.occurred_at - session[-1].occurred_at > GAP:
        return True
    wanted = _campaign(event)
    before = next((found for each in session if (found := _campaign(each))), None)
    if wanted is None or wanted == before:
        return False
    return before is not None or event.occurred_at - session[0].occurred_at > timedelta(seconds=5)


def _count_session(figures: Counter[tuple[str, str]], shop: str, session: list[Envelope]) -> None:
    start = session[0].occurred_at
    day, quarter = f"{start:%Y-%m-%d}", f"q.{_quarter(start)}"
    step = max(STEPS.get(event.name, 0) for event in session)
    for reached in range(1, step + 1):
        figures[f"{shop}/f/{day}", f"{quarter}.{reached}"] += 1
    contexts = [event.context or {} for event in session]
    channel = next((context["channel"] for context in contexts if "channel" in context), "direct")
    device = next((context["device"] for context in contexts if "device" in context), "unknown")
    pages = sum(event.name == "page_view" for event in session)
    engaged = pages >= 2 or step == 5 or session[-1].occurred_at - start >= timedelta(seconds=10)
    kinds = f"{shop}/s/{day}"
    for path in ("n", f"c.{channel}", f"d.{device}", *(("e",) if engaged else ())):
        figures[kinds, f"{quarter}.{path}"] += 1
    brought = next((context for event, context in zip(session, contexts, strict=True) if _campaign(event)), None)
    if brought is not None:
        source = brought.get("campaign", {}).get("source") or ("google" if "clickId" in brought else "(not set)")
        figures[f"{shop}/u/{day}/{source.lower()}", f"{quarter}.n"] += 1


def cart_seen(story: list[Envelope]) -> datetime | None:
    """When the cart was last changed, or None when there is nothing in it."""
    cleared = max((e.occurred_at for e in story if e.name == "purchase"), default=datetime.min.replace(tzinfo=UTC))
    quantities: Counter[str] = Counter()
    seen = None
    for event in story:
        sign = {"add_to_cart": 1, "remove_from_cart": -1}.get(event.name, 0)
        for item in event.payload.get("items", []) if sign and event.occurred_at > cleared else []:
            quantities[item["productId"]] += sign * item.get("quantity", 1)
            seen = event.occurred_at
    return seen if any(number > 0 for number in quantities.values()) else None


def flat(documents: Mapping[str, Mapping[str, Any]], kinds: str) -> Figures:
    """The numbers of projection documents, by key and dotted path.

    Args:
        documents: content by key, the shop first. kinds: letters after the shop (``hdpc``, ``fp``) to look at.
    """
    figures: Counter[tuple[str, str]] = Counter()
    for key, content in documents.items():
        if key.split("/")[1] in kinds:
            for path, number in _numbers(content):
                figures[key, path] += number
    return {place: number for place, number in figures.items() if number}


def _numbers(content: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, int]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int) and name not in {"seq", "p"}:
            yield f"{prefix}{name}", value
