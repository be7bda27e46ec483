"""Sessions, funnel and carts depend on what visitors did, not on the order in which it was heard."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rushlight.events.catalogue import AddToCart, Item, PageView, Purchase, RemoveFromCart, ViewItem
from rushlight.events.envelope import Envelope
from rushlight.projections import cart, points, session
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.state import Content
from tests.projections import oracle
from tests.projections.folding import fold
from tests.projections.making import BEGIN, did, placed, visits

TEA = Item(product_id="tea", name="Tea")


def figures(events: list[Envelope]) -> oracle.Figures:
    """Every number that the fold makes of the events, keys unescaped as the oracle writes them."""
    numbers = oracle.flat(fold(Behaviour(), events), "fpsubtn")
    return {(key.replace("%2F", "/"), path): number for (key, path), number in numbers.items()}


def visitor(documents: dict[str, Content], name: str = "v-1") -> Content:
    """The document of one visitor."""
    return documents[f"default/v/{name}"]


@given(visits)
def test_any_order_gives_the_funnel(events: list[Envelope]) -> None:
    """The funnel and products' views and adds are those of the whole story."""
    # Of two campaigns at one moment nobody can tell which was first; only that it is always the same.
    told = list({(event.visitor_id, event.occurred_at): event for event in events}.values())
    assert figures(told) == oracle.behaviour(told)


@given(visits, st.randoms())
def test_two_orders_of_hearing_are_equal(events: list[Envelope], random_: random.Random) -> None:
    """Sessions, carts, last seen and figures of one permutation are those of another."""
    documents, again = (fold(Behaviour(), some) for some in (events, random_.sample(events, len(events))))
    assert oracle.flat(documents, "fpsubtn") == oracle.flat(again, "fpsubtn")
    assert {key: value for key, value in documents.items() if "/v/" in key} == {
        key: value for key, value in again.items() if "/v/" in key
    }


@given(visits)
def test_who_is_here_and_whose_cart_is_open(events: list[Envelope]) -> None:
    """Last seen is the latest event; a cart is open while something was put in since the last purchase."""
    documents = fold(Behaviour(), events)
    for (_, name), story in oracle.visitors(events).items():
        document = visitor(documents, name.replace("/", "%2F"))
        assert document["shop"] == "default"
        assert document["seen"] == story[-1].occurred_at
        assert document.get("cartSeen") == oracle.cart_seen(story)


def sessions(events: list[Envelope]) -> int:
    """How many sessions the events make."""
    return sum(number for (key, path), number in figures(events).items() if "/s/" in key and path.endswith(".n"))


def test_thirty_minutes_make_a_session() -> None:
    """A pause of exactly thirty minutes belongs to the session, one millisecond more begins another."""
    pause = timedelta(minutes=30)
    first, second = (did(PageView(visitor_id="v-1"), at) for at in (BEGIN, BEGIN + pause))
    third = did(PageView(visitor_id="v-1"), BEGIN + 2 * pause + timedelta(milliseconds=1))
    assert sessions([third, first]) == 2
    assert sessions([third, first, second]) == 2
    assert sessions([first, second]) == 1


def seen(minutes: float, **context: Any) -> Envelope:
    """A page that the visitor saw so many minutes after the beginning."""
    return did(PageView(visitor_id="v-1"), BEGIN + timedelta(minutes=minutes), context=context or None)


def test_the_shop_s_midnight_ends_a_session() -> None:
    """Not UTC's; an event that does not know the shop's clock goes by the one before it."""
    assert sessions([seen(50, utcOffset=60), seen(70, utcOffset=60)]) == 2
    assert sessions([seen(110, utcOffset=60), seen(130, utcOffset=60)]) == 1
    assert sessions([seen(110), seen(130)]) == 2
    assert sessions([seen(130), seen(110, utcOffset=60)]) == 1


def test_another_campaign_begins_a_session() -> None:
    """The same one does not, nor one that is told a moment after the visitor came."""
    news, ads = {"campaign": {"source": "news", "medium": "email"}}, {"clickId": "gclid"}
    assert sessions([seen(0, **news), seen(5), seen(6, **news)]) == 1
    assert sessions([seen(0, **news), seen(5, **ads), seen(6)]) == 2
    assert sessions([seen(0), seen(5, **ads)]) == 2
    assert sessions([seen(0), seen(0.05, **ads)]) == 1
    # Heard last, the campaign still cuts what was one session.
    assert sessions([seen(0, **news), seen(9), seen(5, **ads)]) == 2


def test_machines_tests_and_nobody() -> None:
    """They are counted by name, and are in no session, no cart and not among those who are here; products are looked
    at also by nobody.
    """
    item = AddToCart(visitor_id="v-1", items=[TEA])
    apart = ({"bot": True}, {"test": True}, {"consent": {"analytics_storage": "denied"}})
    events = [did(item, BEGIN, context=context) for context in apart]
    events.append(msgspec.structs.replace(events[0], id="x", name="no_such_name"))
    day = "2026-11-24"
    assert figures(events) == {
        (f"default/b/{day}", "q.88.add_to_cart"): 1,
        (f"default/b/{day}", "q.88.custom"): 1,
        (f"default/t/{day}", "q.88.add_to_cart"): 1,
        (f"default/n/{day}", "q.88.add_to_cart"): 1,
        (f"default/p/{day}/tea", "q.88.a"): 1,
    }
    assert not any("/v/" in key for key in fold(Behaviour(), events))


def test_a_late_event_joins_two_sessions() -> None:
    """Two sessions with an event between them become one: it began earlier and came as far as the further one."""
    early = did(ViewItem(visitor_id="v-1", items=[TEA]), BEGIN)
    late = did(AddToCart(visitor_id="v-1", items=[TEA]), BEGIN + timedelta(minutes=50))
    between = did(PageView(visitor_id="v-1"), BEGIN + timedelta(minutes=25))
    apart = oracle.flat(fold(Behaviour(), [early, late]), "f")
    joined = oracle.flat(fold(Behaviour(), [early, late, between]), "f")
    day = "default/f/2026-11-24"
    assert apart == {(day, "q.88.1"): 1, (day, "q.91.1"): 1, (day, "q.91.2"): 1}
    assert joined == {(day, "q.88.1"): 1, (day, "q.88.2"): 1}


def test_a_visitor_of_years_stays_small() -> None:
    """Every session counts, but only the latest points are remembered, and a cart's history is condensed."""
    events = [did(ViewItem(visitor_id="v-1", items=[TEA]), BEGIN + timedelta(hours=n)) for n in range(100)]
    at = BEGIN + timedelta(hours=101)
    events += [
        did(AddToCart(visitor_id="v-1", items=[Item(product_id=f"p-{n % 7}")]), at + timedelta(seconds=n))
        for n in range(500)
    ]
    documents = fold(Behaviour(), events)
    assert sum(number for (_, path), number in oracle.flat(documents, "f").items() if path.endswith(".1")) == 101
    assert len(visitor(documents)["points"]) == session.MAX_POINTS * points.SIZE
    assert len(visitor(documents)["cart"]["operations"]) <= cart.MAX_CART_OPERATIONS
    assert visitor(documents)["cartSeen"] == at + timedelta(seconds=499)


def test_news_from_before_what_is_remembered() -> None:
    """An event older than all that is remembered changes no session: its own is counted or out of reach."""
    events = [
        did(ViewItem(visitor_id="v-1", items=[TEA]), BEGIN + timedelta(hours=n)) for n in range(session.MAX_POINTS + 5)
    ]
    late = did(ViewItem(visitor_id="v-1", items=[TEA]), BEGIN)
    assert oracle.flat(fold(Behaviour(), [*events, late]), "f") == oracle.flat(fold(Behaviour(), events), "f")


def test_a_cart_is_emptied() -> None:
    """By taking out what was put in, and by a purchase, heard in any order; what follows a purchase is a new cart."""
    put, out = AddToCart(visitor_id="v-1", items=[TEA]), RemoveFromCart(visitor_id="v-1", items=[TEA])
    bought = Purchase(visitor_id="v-1", items=[TEA])
    times = [BEGIN + timedelta(minutes=n) for n in range(4)]
    assert "cartSeen" not in visitor(fold(Behaviour(), [did(out, times[1]), did(put, times[0])]))
    assert "cartSeen" not in visitor(fold(Behaviour(), [did(bought, times[2]), did(put, times[0])]))
    again = fold(Behaviour(), [did(put, times[3]), did(bought, times[2]), did(put, times[0])])
    assert visitor(again)["cartSeen"] == times[3]


def test_orders_are_not_behaviour() -> None:
    """An order is its own aggregate: it is no visit, even of a visitor who has the order's id."""
    order = placed("o-1", [], BEGIN, visitor_id="v-1")
    assert not Behaviour().wants(order)
    assert fold(Behaviour(), [order]) == {}
