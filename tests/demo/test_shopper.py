"""The simulated shoppers: the same for the same seed, and plausible."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from rushlight.demo.sale import OPENING_SECONDS, QUIET_ARRIVALS_PER_SECOND, arrivals_per_second
from rushlight.demo.shopper import CRAWLER, LOOKS, Visit, plan
from rushlight.ingest.context.bots import is_bot
from rushlight.ingest.context.device import device_of

STEPS = ["view_item", "add_to_cart", "view_cart", "begin_checkout", "add_payment_info"]


def test_a_seed_gives_the_same_visits() -> None:
    """Two runs with one seed plan the same visits, another seed plans others."""
    assert [plan(7, number) for number in range(50)] == [plan(7, number) for number in range(50)]
    assert [plan(7, number) for number in range(50)] != [plan(8, number) for number in range(50)]


def test_the_funnel_narrows() -> None:
    """Of many shoppers each step is reached by fewer than the step before, and some do buy."""
    visits = [plan(1, number) for number in range(2000)]
    reached = [sum(1 for visit in visits if step in _names(visit)) for step in STEPS]
    buyers = sum(1 for visit in visits if visit.order is not None)
    assert reached == sorted(reached, reverse=True)
    assert 0 < buyers < reached[-1] < reached[0] <= len(visits)


def test_an_order_holds_what_is_in_the_cart() -> None:
    """What was added and not removed is ordered, at the sale's discount."""
    for number in range(200):
        visit = plan(3, number)
        if visit.order is None:
            continue
        cart: list[str] = []
        for step in visit.steps:
            products = [item["productId"] for item in step.data.get("items", ())]
            if step.name == "add_to_cart":
                cart += products
            if step.name == "remove_from_cart":
                cart.reverse()
                cart.remove(products[0])
                cart.reverse()
        assert [line["productId"] for line in visit.order["lines"]] == cart
        for line in visit.order["lines"]:
            assert Decimal(line["discount"]) < Decimal(line["unitPrice"]) * line["quantity"]


def test_shoppers_hold_phones_and_crawlers_buy_nothing() -> None:
    """Devices are told by the user agents, most are phones, and the few crawlers are bots that only look."""
    visits = [plan(1, number) for number in range(2000)]
    crawlers = [visit for visit in visits if is_bot(visit.browser)]
    assert 0 < len(crawlers) < 200
    assert all(visit.browser == CRAWLER and visit.order is None and _names(visit) <= LOOKS for visit in crawlers)
    kinds = Counter(device_of(visit.browser).kind for visit in visits if visit.browser != CRAWLER)
    assert [kind for kind, _ in kinds.most_common()] == ["mobile", "desktop", "tablet"]


def test_the_rush_comes_at_the_opening_and_ebbs() -> None:
    """Before the doors open few come; then many; a minute later fewer again."""
    before, rush, later = (arrivals_per_second(OPENING_SECONDS + after) for after in (-1, 15, 120))
    assert before == QUIET_ARRIVALS_PER_SECOND
    assert rush > later > before


def _names(visit: Visit) -> set[str]:
    return {step.name for step in visit.steps}
