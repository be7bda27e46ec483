"""Small worlds of orders and visitors for Hypothesis, made so that keys collide and buckets are shared."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from rushlight.events.catalogue import (
    AddPaymentInfo,
    AddToCart,
    BeginCheckout,
    Behaviour,
    Item,
    Line,
    OrderCancelled,
    OrderCreated,
    OrderPaid,
    OrderRefunded,
    OrderShipped,
    PageView,
    Purchase,
    RefundLine,
    RemoveFromCart,
    ViewItem,
)
from rushlight.events.envelope import Envelope
from rushlight.events.event import Event
from rushlight.events.ids import event_id, money_id

BEGIN = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)
PRODUCTS = ("tea", "cup", "pot")
REFERENCES = ("payment_id", "refund_id", "shipment_id")

# Three hours around midnight UTC, to the millisecond.
moments = st.integers(0, 3 * 3600 * 1000).map(lambda ms: BEGIN + timedelta(milliseconds=ms))
amounts = st.integers(0, 5000)
lines = st.builds(
    lambda product, quantity, amount, off: Line(
        product_id=product, quantity=quantity, amount=amount, discount=amount * off // 100, name=product.title()
    ),
    st.sampled_from(PRODUCTS),
    st.integers(0, 4),
    amounts,
    st.sampled_from([0, 0, 10, 33, 100]),
)


def sealed(event: Event, at: datetime, *, source: str = "orders", shop: str = "default", **more: Any) -> Envelope:
    """A money event in its envelope, with the id that its report always has."""
    reference = next((getattr(event, name) for name in REFERENCES if hasattr(event, name)), "")
    identifier = money_id(shop, source, event.aggregate_id, event.event_name, reference)
    return event.seal(id=identifier, shop=shop, source=source, origin=f"t:{identifier}", occurred_at=at, **more)


def placed(
    order_id: str, some: Sequence[Line], at: datetime, *, currency: str = "EUR", source: str = "orders", **more: Any
) -> Envelope:
    """An order of these lines."""
    gross, discounts = sum(line.amount for line in some), sum(line.discount for line in some)
    tax, shipping = more.pop("tax", 0), more.pop("shipping", 0)
    event = OrderCreated(
        order_id=order_id,
        currency=currency,
        lines=list(some),
        gross=gross,
        discounts=discounts,
        tax=tax,
        shipping=shipping,
        total=gross - discounts + tax + shipping,
        **more,
    )
    return sealed(event, at, source=source)


@st.composite
def order_lives(draw: st.DrawFn, *, always_created: bool = False) -> list[Envelope]:
    """What was reported of a few orders, in no particular order, some of it twice."""
    events: list[Envelope] = []
    for number in range(draw(st.integers(1, 4))):
        order_id = f"o-{number}"
        source = draw(st.sampled_from(["orders", "orders", "pos"]))
        currency = draw(st.sampled_from(["EUR", "JPY"]))
        customer = draw(st.sampled_from([None, "c-1", "c/2%"]))
        some = draw(st.lists(lines, min_size=1, max_size=4))
        if always_created or draw(st.integers(0, 5)):
            created = placed(
                order_id,
                some,
                draw(moments),
                currency=currency,
                source=source,
                customer_id=customer,
                tax=draw(amounts),
                shipping=draw(amounts),
                country=draw(st.sampled_from([None, "DE"])),
                test=draw(st.sampled_from([False, False, False, True])),
            )
            events.append(created)
        events += draw(st.lists(_later(order_id, currency, source, always_created), max_size=4))
        if not draw(st.integers(0, 4)):
            events.append(sealed(OrderCancelled(order_id=order_id), draw(moments), source=source))
    events += draw(st.lists(st.sampled_from(events), max_size=2)) if events else []
    return draw(st.permutations(events))


@st.composite
def _later(draw: st.DrawFn, order_id: str, currency: str, source: str, always_created: bool) -> Envelope:
    event: Event
    kind = draw(st.sampled_from(["paid", "refunded", "refunded", "whole", "shipped"]))
    if kind == "paid":
        event = OrderPaid(
            order_id=order_id, payment_id=draw(st.sampled_from("ab")), currency=currency, amount=draw(amounts)
        )
    elif kind == "shipped":
        event = OrderShipped(order_id=order_id, shipment_id="s")
    elif kind == "whole":
        event = OrderRefunded(order_id=order_id, refund_id=draw(st.sampled_from(["full", "w"])))
    else:
        refund_id = draw(st.sampled_from("ab"))
        # The same refund is always reported the same.
        share = {"a": 700, "b": 123}[refund_id]
        parts = [RefundLine(product_id="tea", amount=share, quantity=1), RefundLine(product_id="cup", amount=1)]
        event = OrderRefunded(
            order_id=order_id,
            refund_id=refund_id,
            currency=currency,
            amount=share + 1,
            lines=parts if refund_id == "a" else [],
            tax=share // 10,
            shipping=3,
            customer_id=None if always_created else "c-3",
        )
    hours = {"a": 1, "b": 2, "full": 1, "w": 3}.get(getattr(event, "refund_id", ""), 0)
    return sealed(event, BEGIN + timedelta(hours=hours, minutes=7), source=source)


_numbers = itertools.count(1)


def did(
    event: Behaviour,
    at: datetime,
    *,
    message: str = "",
    shop: str = "default",
    source: str = "web",
    context: dict[str, Any] | None = None,
) -> Envelope:
    """A visitor's event in its envelope; a new one unless the message id is given."""
    identifier = event_id(shop, "public", source, message or f"m {next(_numbers)}")
    envelope = event.seal(id=identifier, shop=shop, source=source, origin=f"t:{identifier}", occurred_at=at)
    envelope.context = context
    if context and context.get("consent"):
        envelope.aggregate_id, envelope.visitor_id = f"anonymous-{identifier[:2]}", None
    return envelope


def _visited(name: str, visitor: str, item: Item) -> Behaviour:
    plain: dict[str, type[Behaviour]] = {"page_view": PageView}
    with_items = {
        cls.event_name: cls for cls in (ViewItem, AddToCart, RemoveFromCart, BeginCheckout, AddPaymentInfo, Purchase)
    }
    return plain[name](visitor_id=visitor) if name in plain else with_items[name](visitor_id=visitor, items=[item])


WHAT_VISITORS_DO = (
    *("page_view", "view_item", "add_to_cart", "add_to_cart", "remove_from_cart"),
    *("begin_checkout", "add_payment_info", "purchase"),
)
_ARRIVALS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"channel": "organic_search"},
    {"channel": "paid_search", "clickId": "gclid"},
    {"channel": "email", "campaign": {"source": "News", "medium": "email"}},
    {"channel": "email", "campaign": {"source": "News", "medium": "email", "name": "spring"}},
    {"channel": "unassigned", "campaign": {"name": "a/b"}},
)
_APART: tuple[dict[str, Any], ...] = (
    *({},) * 12,
    {"bot": True},
    {"test": True},
    {"consent": {"analytics_storage": "denied"}},
)
contexts = st.builds(
    lambda arrival, device, offset, apart: {**arrival, **device, **offset, **apart} or None,
    st.sampled_from(_ARRIVALS),
    st.sampled_from([{}, {"device": "mobile"}, {"device": "desktop"}]),
    st.sampled_from([{}, {"utcOffset": 60}, {"utcOffset": 60}, {"utcOffset": -60}]),
    st.sampled_from(_APART),
)
visits = st.lists(
    st.builds(
        lambda name, visitor, product, quantity, minutes, ms, context: did(
            _visited(name, visitor, Item(product_id=product, quantity=quantity, name=product.title())),
            BEGIN + timedelta(minutes=minutes, milliseconds=ms),
            context=context,
        ),
        st.sampled_from(WHAT_VISITORS_DO),
        st.sampled_from(["v-1", "v/2"]),
        st.sampled_from(PRODUCTS),
        st.integers(1, 3),
        st.sampled_from([0, 10, 29, 30, 59, 60, 61, 90, 91, 120, 150, 151, 240]),
        st.sampled_from([0, 0, 1, 4000, 5001, 10_001]),
        contexts,
    ),
    min_size=1,
    max_size=16,
)
