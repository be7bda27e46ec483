"""Money counters of the projections, summed per currency, and as decimal strings with the currency's digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from rushlight.events.money import to_text

# Names in the documents: orders, units, gross, discounts, refunds, tax, shipping.
NAMES = ("o", "u", "g", "d", "r", "t", "s")
INDEX = {name: index for index, name in enumerate(NAMES)}


S = TypeVar("S", bound=msgspec.Struct)


class Total:
    """A sum of counters of one currency, in minor units."""

    __slots__ = ("currency", "values")

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.values = [0] * len(NAMES)

    def add(self, counters: Mapping[str, int]) -> None:
        """Add a document's counters; absent ones are 0, and other fields are passed over."""
        values = self.values
        for name, amount in counters.items():
            index = INDEX.get(name)
            if index is not None:
                values[index] += amount

    def told(self, shape: type[S], **others: Any) -> S:
        """A shape whose fields are figures of this sum, by their names.

        Args:
            others: the shape's fields that are no figures.
        """
        figures = {name: getattr(self, name) for name in shape.__struct_fields__ if name not in others}
        return shape(**figures, **others)

    def __bool__(self) -> bool:
        return any(self.values)

    def __getitem__(self, name: str) -> int:
        return self.values[INDEX[name]]

    @property
    def orders(self) -> int:
        """How many orders."""
        return self["o"]

    @property
    def units(self) -> int:
        """How many units of products."""
        return self["u"]

    @property
    def gross(self) -> str:
        """Goods before discounts."""
        return to_text(self["g"], self.currency)

    @property
    def discounts(self) -> str:
        """What was taken off."""
        return to_text(self["d"], self.currency)

    @property
    def refunds(self) -> str:
        """Goods' part of what was given back."""
        return to_text(self["r"], self.currency)

    @property
    def net_minor(self) -> int:
        """``gross - discounts - refunds`` in minor units."""
        return self["g"] - self["d"] - self["r"]

    @property
    def net(self) -> str:
        """``gross - discounts - refunds``."""
        return to_text(self.net_minor, self.currency)

    @property
    def tax(self) -> str:
        """Tax, less what was given back."""
        return to_text(self["t"], self.currency)

    @property
    def shipping(self) -> str:
        """Shipping, less what was given back."""
        return to_text(self["s"], self.currency)

    @property
    def aov(self) -> str:
        """Average order value ``(gross - discounts) / orders``, rounded half to even; empty without orders."""
        orders = self["o"]
        if orders <= 0:
            return ""
        quotient, remainder = divmod(self["g"] - self["d"], orders)
        if 2 * remainder > orders or (2 * remainder == orders and quotient % 2):
            quotient += 1
        return to_text(quotient, self.currency)
