"""What each product did in a range, summed inside MongoDB: a year of it never comes into this process's memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from rushlight.projections.keys import part
from rushlight.query.counters import Total
from rushlight.query.sales import totals, unescape
from rushlight.query.span import QUARTERS_A_DAY, Span
from rushlight.query.view import View, Wanted
from rushlight.store.database import Document

Sort = Literal["revenue", "units", "views", "adds"]
DAY_CHARACTERS = 10
CURRENCY_CHARACTERS = 3
MONEY_COUNTERS = ("u", "g", "d", "r")
# A page of more products comes as it is read, and its total is counted on its own.
MAX_PAGE_IN_ONE = 500


class ProductSales(msgspec.Struct, rename="camel", kw_only=True):
    """What was sold of a product in one currency."""

    units: int
    gross: str
    discounts: str
    refunds: str
    net: str


class Product(msgspec.Struct, rename="camel", kw_only=True):
    """A product's views, additions to carts, and sales by currency."""

    product_id: str
    name: str | None
    category: str | None
    views: int
    adds: int
    currencies: dict[str, ProductSales]


class ProductPage(msgspec.Struct, kw_only=True):
    """Some of the products, and how many there are in all."""

    total: int
    products: list[Product]


async def products(view: View, span: Span, *, sort: Sort = "revenue", limit: int = 50, offset: int = 0) -> ProductPage:
    """Products of a range of whole quarter-hours, the greatest first, then by id.

    Revenue is ``net`` in the currency in which most orders were placed in the range: amounts of different currencies
    are not compared.
    """
    currencies = await view.currencies(part(view.source))
    rank = await _rank(view, span, sort, currencies)
    page: list[Document] = [{"$sort": {"rank": -1, "_id": 1}}, {"$skip": offset}, {"$limit": limit}]
    grouped = [*_grouped(view, span, currencies), {"$addFields": {"rank": rank}}]
    count: list[Document] = [{"$count": "products"}]
    if limit <= MAX_PAGE_IN_ONE:
        (answer,) = await _run(view, [*grouped, {"$facet": {"page": page, "all": count}}])
        rows, counted = answer["page"], answer["all"]
    else:
        rows = await _run(view, [*grouped, *page])
        is_whole = not offset and len(rows) < limit
        counted = [{"products": len(rows)}] if is_whole else await _run(view, [*grouped, *count])
    total = counted[0]["products"] if counted else 0
    return ProductPage(total=total, products=[_product(row, currencies) for row in rows])


async def _run(view: View, pipeline: Sequence[Document]) -> list[Document]:
    rows = await view.collection("money").aggregate(pipeline, session=view.session, allowDiskUse=True)
    return [row async for row in rows]


def _grouped(view: View, span: Span, currencies: Sequence[str]) -> list[Document]:
    """One row a product, with its counters in each currency; those that come to nothing are left out."""
    money = _rows(view, span, "money", f"p/{part(view.source)}/", CURRENCY_CHARACTERS + 1)
    behaviour = _rows(view, span, "behaviour", "p/", 0)
    counters: Document = {name: {"$sum": {"$sum": f"$cells.v.{name}"}} for name in ("v", "a")}
    for currency in currencies:
        for name in MONEY_COUNTERS:
            amount: Document = {"$sum": f"$cells.v.{name}"}
            mine = {"$cond": [{"$eq": ["$currency", currency]}, amount, 0]} if len(currencies) > 1 else amount
            counters[f"{currency}_{name}"] = {"$sum": mine}
    names = {name: {"$max": f"${name}"} for name in ("name", "category")}
    return [
        *money,
        {"$unionWith": {"coll": view.collection("behaviour").name, "pipeline": behaviour}},
        {"$group": {"_id": "$product", **names, **counters}},
        {"$match": {"$or": [{name: {"$ne": 0}} for name in counters]}},
    ]


def _rows(view: View, span: Span, projection: str, prefix: str, skipped: int) -> list[Document]:
    """One row a document: its product, its cells inside the range, and what the product was called on which day.

    Args:
        skipped: bytes of the key between the day and the product: the currency.
    """
    stretches = list(span.quarters())
    wanted = Wanted(ranges=[(f"{prefix}{stretches[0].unit}/", f"{prefix}{stretches[-1].unit}0")])
    at = len(f"{view.prefixes(projection)[0]}{prefix}".encode())
    day = {"$substrBytes": ["$_id", at, DAY_CHARACTERS]}
    row: Document = {
        "product": {"$substrBytes": ["$_id", at + DAY_CHARACTERS + 1 + skipped, -1]},
        # With the day in front, the greatest is the latest.
        "name": {"$concat": [day, "$name"]},
        "category": {"$concat": [day, "$category"]},
        "cells": _cells(span, day),
    }
    if skipped:
        row["currency"] = {"$substrBytes": ["$_id", at + DAY_CHARACTERS + 1, CURRENCY_CHARACTERS]}
    return [{"$match": {"$or": wanted.conditions(view.prefixes(projection))}}, {"$project": {"_id": 0, **row}}]


def _cells(span: Span, day: Document) -> Document:
    """A document's quarter-hours that lie inside: all of them, but on the days at the edges."""
    cells: Document = {"$objectToArray": {"$ifNull": ["$q", {}]}}
    branches = [
        {
            "case": {"$eq": [day, stretch.unit]},
            "then": {"$filter": {"input": cells, "cond": {"$and": _inside(stretch.low, stretch.high)}}},
        }
        for stretch in span.quarters()
        if (stretch.low, stretch.high) != (0, QUARTERS_A_DAY)
    ]
    return {"$switch": {"branches": branches, "default": cells}} if branches else cells


def _inside(low: int, high: int) -> list[Document]:
    return [{"$gte": ["$$this.k", f"{low:02d}"]}, {"$lt": ["$$this.k", f"{high:02d}"]}]


async def _rank(view: View, span: Span, sort: Sort, currencies: Sequence[str]) -> Any:
    if sort == "views":
        return "$v"
    if sort == "adds":
        return "$a"
    if sort == "units":
        return {"$add": [0, *(f"${currency}_u" for currency in currencies)]}
    sums = await totals(view, span)
    if not sums:
        return {"$literal": 0}
    main = max(sums, key=lambda currency: (sums[currency].orders, currency))
    return {"$subtract": [{"$subtract": [f"${main}_g", f"${main}_d"]}, f"${main}_r"]}


def _product(row: Document, currencies: Sequence[str]) -> Product:
    sales: dict[str, ProductSales] = {}
    for currency in currencies:
        total = Total(currency)
        total.add({name: row[f"{currency}_{name}"] for name in MONEY_COUNTERS})
        if total:
            sales[currency] = total.told(ProductSales)
    return Product(
        product_id=unescape(row["_id"]),
        name=_undated(row["name"]),
        category=_undated(row["category"]),
        views=int(row["v"]),
        adds=int(row["a"]),
        currencies=sales,
    )


def _undated(text: str | None) -> str | None:
    return text[DAY_CHARACTERS:] if text else None
