"""What a shop's last events say of its tracking: mistakes are found, and what is right is called so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rushlight.query.verdicts import STEPS, Seen, judge, nearest
from rushlight.store.rejected import Sample

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
TEA = [{"productId": "tea", "price": 399, "currency": "EUR"}]


def seen(name: str = "view_item", number: int = 1, **change: Any) -> Seen:
    """An event as it should be."""
    good = {"source": "web", "visitor_id": f"v{number}", "aggregate_id": f"v{number}", "items": TEA}
    times = {"occurred_at": NOW, "received_at": NOW, "context": {"dialect": "ga4"}}
    return Seen(name=name, **{**good, **times, **change})


def refused(code: str = "missing", shop: str = "default", **change: Any) -> Sample:
    """An event that was turned away."""
    told = {"field": "params.currency", "reason": "is required", "key": "pk_abc", "sample": "{}"}
    return Sample(shop=shop, at=NOW, source="web", dialect="ga4", code=code, **{**told, **change})


def order(order_id: str) -> Seen:
    """An order of a server's."""
    return seen("order_created", aggregate_id=order_id, source="api", visitor_id=None, items=None)


GOOD = [*(seen(name, number, transaction_id="o1") for number, name in enumerate(STEPS)), order("o1")]


def verdict(check: str, events: list[Seen], *away: Sample, repeats: int = 0) -> tuple[str, str]:
    """Verdict and detail of one check."""
    found = next(each for each in judge(events, repeats, away, "api") if each.id == check)
    return found.verdict, found.detail


def test_all_is_well() -> None:
    """A walk through the shop with an order gives no complaint."""
    assert {check.verdict for check in judge(GOOD, 1, [], "api")} == {"good"}


def test_nothing_yet() -> None:
    """Without an event nothing is called wrong, and the first thing to do is said."""
    checks = judge([], 0, [], "api")
    assert {check.verdict for check in checks} == {"look", "idle"}
    assert checks[0].id == "arriving"


def test_the_worst_comes_first() -> None:
    """What is wrong stands above what is worth a look, and that above the rest."""
    verdicts = [check.verdict for check in judge([seen("added_to_cart")], 0, [refused()], "api")]
    assert verdicts == sorted(verdicts, key=["bad", "look", "good", "idle"].index)


@pytest.mark.parametrize(
    ("check", "events", "away", "expected", "words"),
    [
        ("keys", [], [refused("key", "", key="sk_abcd…")], "bad", "It began with sk_abcd…"),
        ("keys", [], [refused("key", "", key="")], "bad", "missing"),
        ("rejected", GOOD, [refused()], "bad", "params.currency: is required"),
        ("public_money", GOOD, [refused("money_needs_secret_key")], "bad", "secret key"),
        ("orders", [seen("purchase", transaction_id="o1")], [], "bad", "no order"),
        ("orders", [order("o1"), seen("purchase", transaction_id="o2")], [], "look", "1 of these name no order"),
        ("orders", [order("o1"), seen("purchase")], [], "look", "transactionId"),
        ("orders", [*map(order, "123"), seen("purchase", transaction_id="1")], [], "look", "snippet"),
        ("names", [seen("added_to_cart", context={"original": "Added To Cart"})], [], "bad", "“Added To Cart” (1)"),
        ("names", [seen("newsletter_opened")], [], "good", "newsletter_opened (1)"),
        ("steps", [seen("view_item")], [], "look", "Not in the last half hour: add_to_cart, begin_checkout"),
        ("products", [seen(items=None), seen()], [], "bad", "1 of 2 have no items: view_item (1)"),
        ("products", [seen(items=[]), *[seen()] * 9], [], "look", "1 of 10"),
        ("prices", [seen(items=[{"productId": "tea"}])], [], "look", "1 of 1 products"),
        ("visitors", [seen()] * 20, [], "look", "All 20 events are of one visitor, v1"),
        ("ids", [seen(context={"noId": True})], [], "look", "1 of 1 events have no id"),
        ("clocks", [seen(occurred_at=NOW - timedelta(hours=3))], [], "look", "3 hours"),
        ("clocks", [seen(occurred_at=NOW - timedelta(days=90), context={}), seen()], [], "good", "just"),
        ("machines", [seen(context={"bot": True}), seen(context={"test": True})], [], "look", "1 as tests"),
    ],
)  # fmt: skip
def test_a_mistake_is_found(check: str, events: list[Seen], away: list[Sample], expected: str, words: str) -> None:
    """Each has its verdict and says what was seen."""
    found, detail = verdict(check, events, *away)
    assert (found, words in detail) == (expected, True), detail


def test_orders_of_another_source() -> None:
    """Orders that revenue does not count are told from those that it does."""
    found = next(check for check in judge(GOOD, 0, [], "orders") if check.id == "orders")
    assert (found.verdict, "api (1)" in found.detail) == ("bad", True)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("added_to_cart", "add_to_cart"),
        ("addtocart", "add_to_cart"),
        ("viewed_product", "view_item"),
        ("product_view", "view_item"),
        ("checkout_started", "begin_checkout"),
        ("order_completed", "purchase"),
        ("purchased", "purchase"),
        ("view-item", "view_item"),
        ("newsletter_opened", None),
        ("video_played", None),
        ("x", None),
    ],
)
def test_names_that_are_nearly_right(name: str, meant: str | None) -> None:
    """A name that somebody else's product has for a catalogue event is recognised; a name of the shop's own is not."""
    assert nearest(name) == meant
