"""A small world for the readers: events folded by the real projections, and the plain sums that readers must give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx

from rushlight.events.catalogue import Line, OrderCancelled, OrderCreated, OrderPaid, OrderRefunded, RefundLine
from rushlight.events.envelope import Envelope
from rushlight.events.event import Event
from rushlight.events.ids import event_id, money_id, partition_of
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.keys import document_id
from rushlight.projections.money import Money
from rushlight.projections.projection import Projection
from rushlight.projections.state import State
from rushlight.settings import DEFAULT_SHOP, Settings
from rushlight.store.database import Database, Document

AMOUNTS = ("gross", "discounts", "refunds", "net", "tax", "shipping")


def moment(text: str) -> datetime:
    """A UTC moment from ``2026-11-27T10:00`` (or with an offset)."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def seal(event: Event, at: datetime, *, source: str = "orders", shop: str = DEFAULT_SHOP, number: int = 1) -> Envelope:
    """The event in an envelope, as if it had been received when it happened."""
    reference = next((getattr(event, f) for f in ("refund_id", "payment_id") if hasattr(event, f)), "")
    money = hasattr(event, "order_id")
    key = event.aggregate_id
    return event.seal(
        id=money_id(shop, source, key, event.event_name, reference)
        if money
        else event_id(shop, "trusted", source, f"{key}:{event.event_name}:{at.isoformat()}:{number}"),
        shop=shop,
        source=source,
        origin=f"o:{key}:{number}" if source == "orders" and money else f"w:test:{key}:{event.event_name}:{number}",
        occurred_at=at,
        received_at=at,
    )


def ordered(
    order_id: str,
    at: datetime,
    lines: Sequence[tuple[str, int, int, int]],
    *,
    currency: str = "USD",
    customer: str | None = None,
    tax: int = 0,
    shipping: int = 0,
    test: bool = False,
    **sealing: Any,
) -> Envelope:
    """An order of ``(product, quantity, amount, discount)`` lines, amounts in minor units."""
    gross, discounts = sum(line[2] for line in lines), sum(line[3] for line in lines)
    event = OrderCreated(
        order_id=order_id,
        currency=currency,
        lines=[Line(product_id=p, quantity=q, amount=a, discount=d, name=f"Product {p}") for p, q, a, d in lines],
        gross=gross,
        discounts=discounts,
        tax=tax,
        shipping=shipping,
        total=gross - discounts + tax + shipping,
        customer_id=customer,
        test=test,
    )
    return seal(event, at, **sealing)


def refunded(
    order_id: str,
    refund_id: str,
    at: datetime,
    lines: Sequence[tuple[str, int]],
    *,
    currency: str = "USD",
    tax: int = 0,
) -> Envelope:
    """A refund of ``(product, amount)`` lines."""
    event = OrderRefunded(
        order_id=order_id,
        refund_id=refund_id,
        currency=currency,
        amount=sum(amount for _, amount in lines),
        lines=[RefundLine(product_id=product, amount=amount) for product, amount in lines],
        tax=tax,
    )
    return seal(event, at)


def cancelled(order_id: str, at: datetime) -> Envelope:
    """A cancellation."""
    return seal(OrderCancelled(order_id=order_id), at)


def paid(order_id: str, at: datetime, amount: int, currency: str = "USD") -> Envelope:
    """A payment."""
    return seal(OrderPaid(order_id=order_id, payment_id="p1", currency=currency, amount=amount), at)


async def store(database: Database, settings: Settings, events: Iterable[Envelope], *, generation: int = 1) -> None:
    """Replace all figures by those that the projections fold from these events."""
    by_partition: dict[int, list[Envelope]] = {}
    for event in events:
        by_partition.setdefault(partition_of(event.shop, event.aggregate_id, settings.partitions), []).append(event)
    for projection in (Money(), Behaviour()):
        collection = database.projection(projection.name)
        await collection.delete_many({})
        documents = [
            document
            for partition, some in by_partition.items()
            for document in folded(projection, some, partition, generation)
        ]
        if documents:
            await collection.insert_many(documents)


def folded(projection: Projection, events: Sequence[Envelope], partition: int, generation: int = 1) -> list[Document]:
    """The documents of one partition."""
    state = State()
    for seq, event in enumerate(events, 1):
        if projection.wants(event):
            state.seq = seq
            projection.fold(state, event)
    return [
        {"_id": document_id(generation, partition, key), **content, "p": partition, "seq": len(events)}
        for key, content in state.result().items()
    ]


def client(app: Any) -> httpx.AsyncClient:
    """An HTTP client of an application, in the test's own loop."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")
