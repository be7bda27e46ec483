"""The OpenAPI document of the order service; its bodies are derived from the very types that check them."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from rushlight.orders.requests import Cancellation, NewOrder, Payment, Return

REF = "#/components/schemas/{name}"
_ID: dict[str, Any] = {
    "name": "orderId",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "maxLength": 128},
}
_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeat with the same key and body is answered as the first one was.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_ERRORS = {
    "400": "The body is wrong; `field` says where.",
    "403": "The request comes from another site's page.",
    "404": "There is no such order.",
    "408": "The body came too slowly.",
    "409": "The order exists already, or its state forbids this.",
    "413": "The body is too large.",
    "415": "The body is not declared as JSON.",
    "422": "The Idempotency-Key came before with another body.",
    "503": "The database does not answer in time; `code` says whether anything may have been stored.",
}


class ErrorDetail(msgspec.Struct):
    """What was wrong."""

    code: str
    field: str | None
    message: str


class ErrorBody(msgspec.Struct):
    """Every answer from 400 on."""

    error: ErrorDetail


class LineView(msgspec.Struct, rename="camel"):
    """One line; amounts are decimal strings with the currency's digits."""

    product_id: str
    name: str | None
    category: str | None
    quantity: int
    unit_price: str | None
    amount: str
    discount: str


class PaymentView(msgspec.Struct, rename="camel", omit_defaults=True):
    """A payment, or one that failed (then without an amount)."""

    payment_id: str
    failed: bool
    at: str
    amount: str | None = None
    reason: str | None = None


class RefundLineView(msgspec.Struct, rename="camel"):
    """The part of a refund on one line."""

    product_id: str
    quantity: int
    amount: str


class RefundView(msgspec.Struct, rename="camel"):
    """A refund: ``amount = goods + tax + shipping``, ``goods`` is the sum of its lines."""

    refund_id: str
    amount: str
    goods: str
    tax: str
    shipping: str
    lines: list[RefundLineView]
    at: str


class CancelledView(msgspec.Struct, rename="camel"):
    """When and why the order was cancelled."""

    at: str
    reason: str | None


class OrderView(msgspec.Struct, rename="camel", omit_defaults=True):
    """An order: ``gross = Σ amount``, ``total = gross - discounts + tax + shipping``."""

    order_id: str
    status: str
    shop: str
    currency: str
    customer_id: str | None
    visitor_id: str | None
    country: str | None
    created_at: str
    updated_at: str
    lines: list[LineView]
    gross: str
    discounts: str
    tax: str
    shipping: str
    total: str
    paid: str
    refunded: str
    payments: list[PaymentView]
    refunds: list[RefundView]
    test: bool = False
    cancelled: CancelledView | None = None


@cache
def document() -> bytes:
    """The document as JSON."""
    types = (NewOrder, Payment, Cancellation, Return, OrderView, ErrorBody)
    _, schemas = msgspec.json.schema_components(types, ref_template=REF)
    paths = {
        "/orders": {"post": _operation("Place an order", "NewOrder", 201, [_KEY], "409")},
        "/orders/{orderId}": {
            "get": {
                "summary": "The order as it is now",
                "parameters": [_ID],
                "responses": _responses(200, ("404", "503")),
            }
        },
    }
    changes = {
        "pay": ("Pay an order, or report that a payment failed", "Payment"),
        "cancel": ("Cancel an order that is not paid", "Cancellation"),
        "refund": ("Refund pieces, an amount, or all that is left", "Return"),
    }
    for name, (summary, body) in changes.items():
        paths[f"/orders/{{orderId}}/{name}"] = {
            "post": _operation(summary, body, 200, [_ID, _KEY], "404", "409", required=False)
        }
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Rushlight order service", "version": "1"},
            "paths": {**paths, **_health()},
            "components": {"schemas": schemas},
        }
    )


def _operation(
    summary: str, body: str, status: int, parameters: list[Any], *errors: str, required: bool = True
) -> dict[str, Any]:
    always = ("400", "403", "408", "413", "415", "422", "503")
    return {
        "summary": summary,
        "parameters": parameters,
        "requestBody": {
            "required": required,
            "content": {"application/json": {"schema": {"$ref": REF.format(name=body)}}},
        },
        "responses": _responses(status, (*errors, *always)),
    }


def _responses(status: int, errors: tuple[str, ...]) -> dict[str, Any]:
    answers: dict[str, Any] = {str(status): {"description": "The order.", "content": _json("OrderView")}}
    for code in sorted(errors):
        answers[code] = {"description": _ERRORS[code], "content": _json("ErrorBody")}
    return answers


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(name=name)}}}


def _health() -> dict[str, Any]:
    return {
        f"/health/{name}": {"get": {"summary": summary, "responses": {"200": {"description": "Yes."}, **more}}}
        for name, summary, more in (
            ("live", "Whether the process runs", {}),
            ("ready", "Whether the database answers", {"503": {"description": "No."}}),
        )
    }
