"""A visitor's sessions and cart, kept so that events may come in any order: both only depend on what has been seen.

Sessions are the connected runs of a visitor's events with gaps of at most 30 minutes, as ``[start, end, step]`` in
milliseconds, ``step`` being the furthest funnel step. The cart is what was added and removed since the last purchase.
"""

from __future__ import annotations

from typing import Any

SESSION_GAP_MS = 30 * 60 * 1000
MAX_SESSIONS = 20
MAX_CART_OPERATIONS = 100

Session = list[int]


def join(sessions: list[Session], at_ms: int, step: int) -> tuple[list[Session], list[Session], list[Session]]:
    """Add an event to a visitor's sessions.

    Args:
        sessions: ascending by start, disjoint. at_ms: when the event happened. step: its funnel step, 0 for none.

    Returns:
        The sessions afterwards (the latest 20), those that went, and those that came instead.
    """
    if len(sessions) >= MAX_SESSIONS and at_ms < sessions[0][0] - SESSION_GAP_MS:
        return sessions, [], []  # older than what is remembered: its session is counted already or out of reach
    near = [s for s in sessions if s[0] - SESSION_GAP_MS <= at_ms <= s[1] + SESSION_GAP_MS]
    joined = [
        min([at_ms, *(s[0] for s in near)]),
        max([at_ms, *(s[1] for s in near)]),
        max([step, *(s[2] for s in near)]),
    ]
    if near == [joined]:
        return sessions, [], []
    kept = sorted([*(s for s in sessions if s not in near), joined])
    return kept[-MAX_SESSIONS:], near, [joined]


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
