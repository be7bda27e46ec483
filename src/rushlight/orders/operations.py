"""What pay, cancel and refund mean for an order in a given state: the operation to note and the event to tell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from rushlight.errors import Conflict, Rejected
from rushlight.events.catalogue import OrderCancelled, OrderPaid, OrderPaymentFailed, OrderRefunded
from rushlight.events.event import Event
from rushlight.events.money import to_text
from rushlight.events.pricing import positive
from rushlight.orders.life import CANCEL, CANCELLED, CREATED, FAIL, PAY, REFUND, REFUNDED, life_of
from rushlight.orders.refunds import by_amount, by_lines, event_lines, the_rest
from rushlight.orders.requests import Cancellation, Payment, Return
from rushlight.store.database import Document

MAX_OPERATIONS = 500


class Change(NamedTuple):
    """An operation as it is noted in the order, and the event that tells of it."""

    operation: Document
    event: Event


class Done(NamedTuple):
    """What was asked for had been done before, as the order's operation of this place."""

    place: int


# Decides from the order as it was read; `reference` names the operation where the request has no id of its own.
Decision = Callable[[Document, str, datetime], Change | Done]


def pay(request: Payment) -> Decision:
    """A payment, or the report of a failed one.

    The decision raises Rejected for a wrong amount, Conflict when the order is not waiting for a payment.
    """
    if request.failed and request.amount is not None:
        raise Rejected("a failed payment has no amount", field="amount")
    if request.reason is not None and not request.failed:
        raise Rejected("only a failed payment has a reason", field="reason")

    def decide(order: Document, reference: str, at: datetime) -> Change | Done:
        payment_id, kind = request.payment_id or reference, FAIL if request.failed else PAY
        for index, earlier in enumerate(order["operations"]):
            if earlier["kind"] == kind and earlier["paymentId"] == payment_id:
                return _same_payment(request, earlier, index)
        _room(order)
        status = life_of(order).status
        if status != CREATED:
            raise Conflict(f"the order is {_words(status)}; only a created order can be paid", code="state")
        return _failed(request, order, payment_id, at) if request.failed else _paid(request, order, payment_id, at)

    return decide


def cancel(request: Cancellation) -> Decision:
    """A cancellation. The decision raises Conflict once the order is paid or cancelled."""

    def decide(order: Document, _: str, at: datetime) -> Change:
        _room(order)
        status = life_of(order).status
        if status == CANCELLED:
            raise Conflict("the order is cancelled already", code="state")
        if status != CREATED:
            raise Conflict(f"the order is {_words(status)}: refund it instead", code="state")
        event = OrderCancelled(order_id=order["_id"], reason=request.reason)
        return Change(_note(CANCEL, at, reason=request.reason), event)

    return decide


def refund(request: Return) -> Decision:
    """A refund. The decision raises Rejected and Conflict as `refunds` does, and Conflict for an unpaid order."""
    if request.lines is not None and request.amount is not None:
        raise Rejected("give lines or an amount, not both", field="amount")

    def decide(order: Document, reference: str, at: datetime) -> Change:
        _room(order)
        life, currency = life_of(order), order["currency"]
        if life.status == CREATED:
            raise Conflict("the order is not paid: cancel it instead", code="state")
        if life.status in {CANCELLED, REFUNDED} or not life.left:
            raise Conflict(f"the order is {_words(life.status)}; nothing is left to refund", code="state")
        if request.lines is not None:
            split = by_lines(order, life, request.lines)
        elif request.amount is not None:
            split = by_amount(life, positive(request.amount, currency, "amount"), currency)
        else:
            split = the_rest(life)
        event = OrderRefunded(
            order_id=order["_id"],
            refund_id=reference,
            currency=currency,
            amount=split.goods,
            lines=event_lines(order, split),
            tax=split.tax,
            shipping=split.shipping,
            customer_id=order.get("customerId"),
        )
        parts = [part._asdict() for part in split.parts]
        operation = _note(
            REFUND,
            at,
            refundId=reference,
            amount=split.goods,
            tax=split.tax,
            shipping=split.shipping,
            lines=parts,
        )
        return Change(operation, event)

    return decide


def _paid(request: Payment, order: Document, payment_id: str, at: datetime) -> Change:
    total, currency = order["total"], order["currency"]
    if request.amount is not None and positive(request.amount, currency, "amount") != total:
        raise Rejected(f"must be the order's total, {to_text(total, currency)}", field="amount", code="amount")
    event = OrderPaid(order_id=order["_id"], payment_id=payment_id, currency=currency, amount=total)
    return Change(_note(PAY, at, paymentId=payment_id, amount=total), event)


def _failed(request: Payment, order: Document, payment_id: str, at: datetime) -> Change:
    event = OrderPaymentFailed(order_id=order["_id"], payment_id=payment_id, reason=request.reason)
    return Change(_note(FAIL, at, paymentId=payment_id, reason=request.reason), event)


def _same_payment(request: Payment, earlier: Document, index: int) -> Done:
    if request.failed and request.reason != earlier.get("reason"):
        raise Conflict(f"payment {earlier['paymentId']} has failed already, for another reason", code="payment")
    return Done(index)


def _room(order: Document) -> None:
    if len(order["operations"]) >= MAX_OPERATIONS:
        raise Conflict(f"an order takes at most {MAX_OPERATIONS} operations", code="operations")


def _note(kind: str, at: datetime, **fields: object) -> Document:
    return {"kind": kind, "at": at, **{name: value for name, value in fields.items() if value is not None}}


def _words(status: str) -> str:
    return status.replace("_", " ")
