"""Who is here: visitors of the last five minutes and carts that were touched in the last ten."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from rushlight.query.view import View

VISITOR_WINDOW = timedelta(minutes=5)
CART_WINDOW = timedelta(minutes=10)


class Presence(msgspec.Struct, frozen=True):
    """Live visitors and open carts."""

    visitors: int
    carts: int


async def presence(view: View) -> Presence:
    """Counted at the moment of the view; a filter on when each was last seen."""
    seen = {"seen": {"$gte": view.present - VISITOR_WINDOW}}
    cart = {"cartSeen": {"$gte": view.present - CART_WINDOW}}
    return Presence(
        visitors=await view.count("behaviour", "seen", seen), carts=await view.count("behaviour", "cart", cart)
    )
