"""The two sides of the comparison as rows: what the file says of each order, and what the journal holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from rushlight.events.envelope import Envelope
from rushlight.ingest.history.orders import Fault, OrderMaker
from rushlight.ingest.history.stage import Stage, StagedOrder
from rushlight.store.accounts import LOG_ORIGIN
from rushlight.store.database import Database, Document
from rushlight.store.outbox import ORIGIN as OUTBOX_ORIGIN
from rushlight.store.positions import Positions

Row = tuple[Any, ...]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FETCH_EVENTS = 1000
KINDS = {"order_created": "created", "order_refunded": "refunded", "order_cancelled": "cancelled"}
FIELDS = {"_id": 0, "eventName": 1, "aggregateId": 1, "payload": 1, "timestamp": 1, "source": 1, "origin": 1, "seq": 1}
FIELDS |= {"customerId": 1}


def reported(stage: Stage, maker: OrderMaker, faults: list[Fault], limit: int) -> Iterator[Row]:
    """The rows of ``reported``: one for each order of a file.

    Args:
        faults: takes the first faults, ``limit`` at most.
    """
    for order in stage.read(0):
        made = maker.make(order)
        faults.extend(made.faults[: max(0, limit - len(faults))])
        if made.faults:
            yield (order.order_id, str(made.faults[0]), _start(order), None, None, None, None, None, None, None)
        else:
            yield _order(order, made.envelopes)


def _start(order: StagedOrder) -> int | None:
    return min((line[2] for line in order.lines if line[2] is not None), default=None)


def _order(order: StagedOrder, envelopes: list[Envelope]) -> Row:
    units = gross = discounts = refunds = 0
    sale = False
    for envelope in envelopes:
        payload = envelope.payload
        if envelope.name == "order_created":
            sale = True
            units = sum(line["quantity"] for line in payload["lines"])
            gross, discounts = payload["gross"], payload.get("discounts", 0)
        else:
            refunds += payload["amount"]
    first = envelopes[0]
    counted = units if any(line[8] for line in order.lines) else None
    at, customer = _micros(first.occurred_at), first.payload.get("customerId")
    return (
        *(order.order_id, None, at, sale, first.payload["currency"]),
        *(counted, gross, discounts, refunds, customer),
    )


async def recorded(database: Database, shop: str) -> AsyncIterator[Row]:
    """The rows of ``reports``: a shop's sales, refunds and cancellations in the journal; those of tests are left out.

    Read up to where each partition stood at the beginning: the journal only grows, so that this is one moment.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    for partition, position in sorted((await Positions(database).all()).items()):
        match: Document = {"p": partition, "seq": {"$lte": position.seq}, "shop": shop, "eventName": {"$in": [*KINDS]}}
        tests = {"$or": [{"payload.test": True}, {"context.test": True}], "eventName": "order_created"}
        tried = database.journal.find(match | tests, {"_id": 0, "source": 1, "aggregateId": 1}, hint="place")
        left_out = {(document["source"], document["aggregateId"]) async for document in tried}
        found = database.journal.find(match, FIELDS, hint="place", batch_size=FETCH_EVENTS)
        async for document in found:
            if (document["source"], document["aggregateId"]) not in left_out:
                yield _report(document)


def _report(document: Document) -> Row:
    payload, kind = document["payload"], KINDS[document["eventName"]]
    customer = payload.get("customerId") or document.get("customerId")
    amounts: Row = (None, None, None, None)
    if kind == "created":
        units = sum(line["quantity"] for line in payload["lines"])
        amounts = (units, payload["gross"], payload.get("discounts", 0), 0)
    elif kind == "refunded":
        amounts = (0, 0, 0, payload.get("amount"))  # without one it is of the whole rest
    return (
        *(document["source"], document["aggregateId"], kind, payload.get("refundId", ""), document["seq"]),
        *(_road(document["origin"]), _micros(document["timestamp"]), payload.get("currency"), *amounts, customer),
    )


def _road(origin: str) -> str:
    if origin.startswith(OUTBOX_ORIGIN):
        return "outbox"
    return "log" if origin.startswith(LOG_ORIGIN) else "published"


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND
