"""One customer: the historic lifetime value, from all partitions and per currency, and the visitors they were."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rushlight.projections.keys import part
from rushlight.query.counters import Total
from rushlight.query.view import View, Wanted
from rushlight.store.subjects import Subjects


class CustomerSales(msgspec.Struct, rename="camel", kw_only=True):
    """What a customer bought in one currency; the lifetime value is ``net``."""

    orders: int
    gross: str
    discounts: str
    refunds: str
    net: str


class Customer(msgspec.Struct, kw_only=True):
    """A customer's orders as a whole, and what is known of who it is.

    Attributes:
        also: other ids of the same person, which have figures of their own.
        visitors: ids linked to any of them, the first thousand.
        first_seen: when the first trait or link was told.
    """

    also: list[str]
    visitors: list[str]
    first_seen: datetime | None
    first_order_at: datetime | None
    last_order_at: datetime | None
    currencies: dict[str, CustomerSales]


async def customer(view: View, customer_id: str) -> Customer | None:
    """What the shop's source of record knows of a customer, and who it is; None when nothing is known."""
    firsts: list[datetime] = []
    lasts: list[datetime] = []
    sums: dict[str, Total] = {}
    prefix = f"c/{part(customer_id)}/{part(view.source)}/"
    async for key, document in view.documents("money", Wanted.under(prefix)):
        currency = key.removeprefix(prefix)
        sums.setdefault(currency, Total(currency)).add({name: document.get(name, 0) for name in "ogdr"})
        firsts += [document["first"]] if "first" in document else []
        lasts += [document["last"]] if "last" in document else []
    person = await Subjects(view.database, view.scope.partitions, view.session).seen_as(view.scope.shop, customer_id)
    if not sums and person.first_seen is None and len(person.customers) == 1:
        return None
    return Customer(
        also=person.customers[1:],
        visitors=person.visitors,
        first_seen=person.first_seen,
        first_order_at=min(firsts, default=None),
        last_order_at=max(lasts, default=None),
        currencies={currency: sums[currency].told(CustomerSales) for currency in sorted(sums) if sums[currency]},
    )
