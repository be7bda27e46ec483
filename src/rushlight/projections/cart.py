"""A visitor's cart, kept so that events may come in any order: what was added and removed since the last purchase."""

from __future__ import annotations

from typing import Any

MAX_CART_OPERATIONS = 100


def change_cart(cart: dict[str, Any], at_ms: int, changes: list[tuple[str, int]]) -> None:
    """Add (positive) or remove (negative) quantities by product; what happened before the last purchase is ignored."""
    if at_ms <= cart.get("cleared", 0):
        return
    operations: list[list[Any]] = cart.setdefault("operations", [])
    operations.extend([at_ms, product, quantity] for product, quantity in changes)
    operations.sort()
    if len(operations) > MAX_CART_OPERATIONS:
        cart["operations"] = _condense(operations)


def clear_cart(cart: dict[str, Any], at_ms: int) -> None:
    """A purchase empties the cart of all that happened up to it."""
    cart["cleared"] = max(at_ms, cart.get("cleared", 0))
    cart["operations"] = [row for row in cart.get("operations", []) if row[0] > cart["cleared"]]


def cart_seen_ms(cart: dict[str, Any]) -> int | None:
    """When the cart was last changed, or None while there is nothing in it."""
    operations = cart.get("operations", [])
    quantities: dict[str, int] = {}
    for _, product, quantity in operations:
        quantities[product] = quantities.get(product, 0) + quantity
    return int(operations[-1][0]) if any(left > 0 for left in quantities.values()) else None


def _condense(operations: list[list[Any]]) -> list[list[Any]]:
    """One row a product: its last time and its sum."""
    rows: dict[str, list[Any]] = {}
    for at_ms, product, quantity in operations:
        before = rows.get(product)
        rows[product] = [at_ms, product, quantity + (before[2] if before else 0)]
    return sorted(rows.values())[-MAX_CART_OPERATIONS:]
