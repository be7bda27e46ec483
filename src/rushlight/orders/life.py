"""An order's state is a fold of its operations, so an answer can be given again exactly as it was given first.

Status: ``created`` → ``paid`` → ``partially_refunded`` → ``refunded``, or ``created`` → ``cancelled``.

The document (collection ``orders``): what was ordered, which never changes; ``operations``, one entry for each payment,
failed payment, cancellation and refund; ``request``, the fingerprint by which a repeated creation is known; ``status``,
``paid`` and ``refunded`` as they are now; and the outbox's fields. Amounts are minor units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from rushlight.events.money import digits
from rushlight.store.database import Document

CREATED = "created"
PAID = "paid"
PARTIALLY_REFUNDED = "partially_refunded"
REFUNDED = "refunded"
CANCELLED = "cancelled"

PAY = "pay"
FAIL = "fail"
CANCEL = "cancel"
REFUND = "refund"

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Life:
    """What an order has come to: its status, and what of it has not been refunded yet (minor units, pieces)."""

    status: str
    paid: int
    refunded: int
    goods: list[int]
    pieces: list[int]
    tax: int
    shipping: int

    @property
    def left(self) -> int:
        """What could still be refunded."""
        return sum(self.goods) + self.tax + self.shipping if self.paid else 0


def life_of(order: Document, operations: int | None = None) -> Life:
    """Fold an order's operations, all of them or the first so many."""
    life = Life(
        status=CREATED,
        paid=0,
        refunded=0,
        goods=[line["amount"] - line.get("discount", 0) for line in order["lines"]],
        pieces=[line["quantity"] for line in order["lines"]],
        tax=order["tax"],
        shipping=order["shipping"],
    )
    for operation in order["operations"][:operations]:
        apply(life, operation)
    return life


def apply(life: Life, operation: Document) -> None:
    """Fold one operation."""
    match operation["kind"]:
        case "pay":
            life.status = PAID
            life.paid += operation["amount"]
        case "cancel":
            life.status = CANCELLED
        case "refund":
            _refund(life, operation)


def _refund(life: Life, operation: Document) -> None:
    for part in operation["lines"]:
        life.goods[part["line"]] -= part["amount"]
        life.pieces[part["line"]] -= part["quantity"]
    life.tax -= operation["tax"]
    life.shipping -= operation["shipping"]
    life.refunded += operation["amount"] + operation["tax"] + operation["shipping"]
    life.status = REFUNDED if life.refunded == life.paid else PARTIALLY_REFUNDED


def view(order: Document, operations: int | None = None) -> bytes:
    """The order as JSON, as it is or as it was after its first so many operations.

    The same document and number always give the same bytes; amounts are decimal strings.
    """
    text = _texts(order["currency"])
    done = order["operations"][:operations]
    life = life_of(order, operations) if done else None
    answer: dict[str, Any] = {
        "orderId": order["_id"],
        "status": life.status if life else CREATED,
        "shop": order["shop"],
        "currency": order["currency"],
        "customerId": order.get("customerId"),
        "visitorId": order.get("visitorId"),
        "country": order.get("country"),
        "createdAt": order["createdAt"],
        "updatedAt": done[-1]["at"] if done else order["createdAt"],
        "lines": [_line(line, text) for line in order["lines"]],
        "gross": text(order["gross"]),
        "discounts": text(order["discounts"]),
        "tax": text(order["tax"]),
        "shipping": text(order["shipping"]),
        "total": text(order["total"]),
        "paid": text(life.paid if life else 0),
        "refunded": text(life.refunded if life else 0),
        "payments": [_payment(entry, text) for entry in done if entry["kind"] in {PAY, FAIL}],
        "refunds": [_refund_view(entry, order, text) for entry in done if entry["kind"] == REFUND],
    }
    if order.get("test"):
        answer["test"] = True
    for entry in done:
        if entry["kind"] == CANCEL:
            answer["cancelled"] = {"at": entry["at"], "reason": entry.get("reason")}
    return _encode(answer)


def _texts(currency: str) -> Callable[[int], str]:
    """What makes decimal strings of one currency's amounts, its digits looked up once an order."""
    places = digits(currency)
    if not places:
        return str
    form, scale = f"%d.%0{places}d", 10**places
    return lambda minor: form % divmod(minor, scale)


def _line(line: Document, text: Callable[[int], str]) -> Document:
    unit_price = line.get("unitPrice")
    return {
        "productId": line["productId"],
        "name": line.get("name"),
        "category": line.get("category"),
        "quantity": line["quantity"],
        "unitPrice": None if unit_price is None else text(unit_price),
        "amount": text(line["amount"]),
        "discount": text(line.get("discount", 0)),
    }


def _payment(entry: Document, text: Callable[[int], str]) -> Document:
    if entry["kind"] == FAIL:
        return {
            "paymentId": entry["paymentId"],
            "failed": True,
            "reason": entry.get("reason"),
            "at": entry["at"],
        }
    return {"paymentId": entry["paymentId"], "failed": False, "amount": text(entry["amount"]), "at": entry["at"]}


def _refund_view(entry: Document, order: Document, text: Callable[[int], str]) -> Document:
    return {
        "refundId": entry["refundId"],
        "amount": text(entry["amount"] + entry["tax"] + entry["shipping"]),
        "goods": text(entry["amount"]),
        "tax": text(entry["tax"]),
        "shipping": text(entry["shipping"]),
        "lines": [
            {
                "productId": order["lines"][part["line"]]["productId"],
                "quantity": part["quantity"],
                "amount": text(part["amount"]),
            }
            for part in entry["lines"]
        ],
        "at": entry["at"],
    }
