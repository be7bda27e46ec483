"""The OpenAPI document says what the service does."""

from __future__ import annotations

from typing import Any

from tests.orders.client import Shop

SCHEMAS = "#/components/schemas/"


async def test_the_answers_are_as_described(shop: Shop) -> None:
    """Every field of a real order, at every depth, is in the document, and nothing required is missing."""
    document = (await shop.get("/openapi.json")).json
    schemas = document["components"]["schemas"]
    order_id = await shop.paid(customerId="c", tax="1.00")
    await shop.post(f"/orders/{order_id}/refund", {"amount": "5.00"})
    check(schemas, {"$ref": f"{SCHEMAS}OrderView"}, (await shop.get(f"/orders/{order_id}")).json)
    cancelled = (await shop.place()).json["orderId"]
    await shop.post(f"/orders/{cancelled}/pay", {"failed": True, "reason": "no"})
    check(schemas, {"$ref": f"{SCHEMAS}OrderView"}, (await shop.post(f"/orders/{cancelled}/cancel")).json)
    check(schemas, {"$ref": f"{SCHEMAS}ErrorBody"}, (await shop.get("/orders/nobody")).json)


async def test_every_route_is_described(shop: Shop) -> None:
    """Each described path answers with something other than 404 or 405 to its method."""
    document = (await shop.get("/openapi.json")).json
    order_id = (await shop.place()).json["orderId"]
    for path, methods in document["paths"].items():
        for method in methods:
            answer = await shop.send(method.upper(), path.replace("{orderId}", order_id))
            assert answer.status not in {404, 405}, (method, path)


def check(schemas: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Compare a value's fields with its schema's."""
    if "anyOf" in schema:
        if value is None:
            assert {"type": "null"} in schema["anyOf"]
            return
        schema = next(option for option in schema["anyOf"] if option != {"type": "null"})
    if "$ref" in schema:
        schema = schemas[schema["$ref"].removeprefix(SCHEMAS)]
    if schema["type"] == "object":
        assert set(schema["required"]) <= set(value) <= set(schema["properties"])
        for name, inner in value.items():
            check(schemas, schema["properties"][name], inner)
    elif schema["type"] == "array":
        for inner in value:
            check(schemas, schema["items"], inner)
