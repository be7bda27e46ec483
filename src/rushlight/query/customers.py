"""One customer's historic lifetime value, from all partitions and per currency."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rushlight.projections.keys import part
from rushlight.query.counters import Total
from rushlight.query.view import View, Wanted


class CustomerSales(msgspec.Struct, rename="camel", kw_only=True):
    """What a customer bought in one currency; the lifetime value is ``net``."""

    orders: int
    gross: str
    discounts: str
    refunds: str
    net: str


class Customer(msgspec.Struct, kw_only=True):
    """A customer's orders as a whole."""

    first_order_at: datetime | None
    last_order_at: datetime | None
    currencies: dict[str, CustomerSales]


async def customer(view: View, customer_id: str) -> Customer | None:
    """What the shop's source of record knows of a customer, or None when it knows nothing."""
    firsts: list[datetime] = []
    lasts: list[datetime] = []
    sums: dict[str, Total] = {}
    prefix = f"c/{part(customer_id)}/{part(view.source)}/"
    async for key, document in view.documents("money", Wanted.under(prefix)):
        currency = key.removeprefix(prefix)
        sums.setdefault(currency, Total(currency)).add({name: document.get(name, 0) for name in "ogdr"})
        firsts += [document["first"]] if "first" in document else []
        lasts += [document["last"]] if "last" in document else []
    if not sums:
        return None
    return Customer(
        first_order_at=min(firsts, default=None),
        last_order_at=max(lasts, default=None),
        currencies={currency: sums[currency].told(CustomerSales) for currency in sorted(sums) if sums[currency]},
    )
