"""Sessions, funnel and carts depend on what visitors did, not on the order in which it was heard."""

from __future__ import annotations

import random
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from rushlight.events.catalogue import AddToCart, Item, PageView, Purchase, RemoveFromCart, ViewItem
from rushlight.events.envelope import Envelope
from rushlight.projections import session
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.state import Content
from tests.projections import oracle
from tests.projections.folding import fold
from tests.projections.making import BEGIN, did, placed, visits

TEA = Item(product_id="tea", name="Tea")


def visitor(documents: dict[str, Content], name: str = "v-1") -> Content:
    """The document of one visitor."""
    return documents[f"default/v/{name}"]


@given(visits)
def test_any_order_gives_the_funnel(events: list[Envelope]) -> None:
    """The funnel and products' views and adds are those of the whole story."""
    assert oracle.flat(fold(Behaviour(), events), "fp") == oracle.behaviour(events)


@given(visits, st.randoms())
def test_two_orders_of_hearing_are_equal(events: list[Envelope], random_: random.Random) -> None:
    """Sessions, carts, last seen and figures of one permutation are those of another."""
    documents, again = (fold(Behaviour(), some) for some in (events, random_.sample(events, len(events))))
    assert oracle.flat(documents, "fp") == oracle.flat(again, "fp")
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


def test_thirty_minutes_make_a_session() -> None:
    """A pause of exactly thirty minutes belongs to the session, one millisecond more begins another."""
    pause = timedelta(minutes=30)
    first, second = (did(PageView(visitor_id="v-1"), at) for at in (BEGIN, BEGIN + pause))
    third = did(PageView(visitor_id="v-1"), BEGIN + 2 * pause + timedelta(milliseconds=1))
    starts = [start for start, _, _ in visitor(fold(Behaviour(), [third, first, second]))["sessions"]]
    assert len(starts) == 2
    assert starts[1] - starts[0] == 3_600_001


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
    """Every session counts, but only the latest twenty are remembered, and a cart's history is condensed."""
    events = [did(ViewItem(visitor_id="v-1", items=[TEA]), BEGIN + timedelta(hours=n)) for n in range(100)]
    at = BEGIN + timedelta(hours=101)
    events += [
        did(AddToCart(visitor_id="v-1", items=[Item(product_id=f"p-{n % 7}")]), at + timedelta(seconds=n))
        for n in range(500)
    ]
    documents = fold(Behaviour(), events)
    assert sum(number for (_, path), number in oracle.flat(documents, "f").items() if path.endswith(".1")) == 101
    assert len(visitor(documents)["sessions"]) == session.MAX_SESSIONS
    assert len(visitor(documents)["cart"]["operations"]) <= session.MAX_CART_OPERATIONS
    assert visitor(documents)["cartSeen"] == at + timedelta(seconds=499)


def test_news_from_before_what_is_remembered() -> None:
    """An event older than all remembered sessions changes no session: its own is counted or out of reach."""
    events = [did(ViewItem(visitor_id="v-1", items=[TEA]), BEGIN + timedelta(hours=n)) for n in range(25)]
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
