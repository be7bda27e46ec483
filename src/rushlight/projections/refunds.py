"""What went back of an order, product by product: as it was reported, or the whole rest where no amount was.

A refund of the rest takes what no other refund of the order accounts for, whenever those happened and whichever was
reported first: a function of the order's whole life.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rushlight.events.money import allocate
from rushlight.projections.state import Content


def refunds(life: Content) -> Sequence[Content]:
    """An order's refunds, each with its amounts ``r t s``.

    A refund of the rest is in the order's currency, and nothing while the order is not known; of several the earliest
    takes all.
    """
    reported: list[Content] = life.get("r", [])
    whole = [refund for refund in reported if "r" not in refund]
    if not whole:
        return reported
    stated = [refund for refund in reported if "r" in refund]
    ordered = life.get("c")
    if ordered is None:
        return stated
    return [*stated, _rest(min(whole, key=lambda refund: (refund["at"], refund["id"])), stated, ordered)]


def shares(refund: Content, ordered: Content | None) -> Iterator[tuple[str, int]]:
    """The goods' part of a refund by product: as reported, else in proportion to what was paid for the lines."""
    if refund["lines"] or ordered is None:
        return ((product, amount) for product, _, amount in refund["lines"])
    lines = ordered["lines"]
    return zip((line[0] for line in lines), allocate(refund["r"], _paid(ordered)), strict=True)


def _rest(whole: Content, stated: Sequence[Content], ordered: Content) -> Content:
    others = [refund for refund in stated if refund["cur"] == ordered["cur"]]
    left = {
        name: max(0, amount - sum(refund[name] for refund in others))
        for name, amount in (("r", ordered["g"] - ordered["d"]), ("t", ordered["t"]), ("s", ordered["s"]))
    }
    products: Counter[str] = Counter()
    for line, paid in zip(ordered["lines"], _paid(ordered), strict=True):
        products[line[0]] += paid
    for refund in others:
        for product, amount in shares(refund, ordered):
            if product in products:
                products[product] -= amount
    parts = allocate(left["r"], [max(0, amount) for amount in products.values()])
    lines = [[product, 0, part] for product, part in zip(products, parts, strict=True)]
    return {**whole, **left, "cur": ordered["cur"], "lines": lines}


def _paid(ordered: Content) -> list[int]:
    return [max(0, amount - discount) for _, _, amount, discount in ordered["lines"]]
