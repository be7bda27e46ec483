"""What each product did in a range, summed inside MongoDB: a year of it never comes into this process's memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from rushlight.projections.keys import part
from rushlight.query.counters import Total
from rushlight.query.sales import totals
from rushlight.query.span import QUARTERS_A_DAY, Span
from rushlight.query.view import View, Wanted
from rushlight.store.database import Document

Sort = Literal["revenue", "units", "views", "adds"]
DAY_CHARACTERS = 10
CURRENCY_CHARACTERS = 3
MONEY_COUNTERS = ("u", "g", "d", "r")
BEHAVIOUR_COUNTERS = ("v", "a")


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
    pipeline = [
        *_money_rows(view, span),
        {"$unionWith": {"coll": view.collection("behaviour").name, "pipeline": _behaviour_rows(view, span)}},
        *_grouped(),
        {"$addFields": {"rank": await _rank(view, span, sort)}},
        {
            "$facet": {
                "page": [{"$sort": {"rank": -1, "_id": 1}}, {"$skip": offset}, {"$limit": limit}],
                "all": [{"$count": "products"}],
            }
        },
    ]
    rows = await view.collection("money").aggregate(pipeline, session=view.session, allowDiskUse=True)
    (answer,) = await rows.to_list()
    total = answer["all"][0]["products"] if answer["all"] else 0
    return ProductPage(total=total, products=[_product(row) for row in answer["page"]])


def _money_rows(view: View, span: Span) -> list[Document]:
    prefix = f"p/{part(view.source)}/"
    at = _place(view, "money", prefix) + DAY_CHARACTERS + 1
    currency = {"currency": {"$substrBytes": ["$_id", at, CURRENCY_CHARACTERS]}}
    return _rows(view, span, "money", prefix, MONEY_COUNTERS, currency)


def _behaviour_rows(view: View, span: Span) -> list[Document]:
    return _rows(view, span, "behaviour", "p/", BEHAVIOUR_COUNTERS, {})


def _place(view: View, projection: str, prefix: str) -> int:
    """Where in ``_id`` the day begins, in bytes."""
    return len(f"{view.prefixes(projection)[0]}{prefix}".encode())


def _rows(
    view: View, span: Span, projection: str, prefix: str, counters: Sequence[str], more: Document
) -> list[Document]:
    """One row a document: the product, its counters inside the range, and what it was called on that day."""
    stretches = list(span.quarters())
    wanted = Wanted(ranges=[(f"{prefix}{stretches[0].unit}/", f"{prefix}{stretches[-1].unit}0")])
    day = {"$substrBytes": ["$_id", _place(view, projection, prefix), DAY_CHARACTERS]}
    sums = {name: {"$sum": f"$cells.v.{name}"} for name in counters}
    names = {name: _dated(name) for name in ("name", "category")}
    return [
        {"$match": {"$or": wanted.conditions(view.prefixes(projection))}},
        {"$project": {"id": 1, "name": 1, "category": 1, "day": day, "cells": _cells(span, day)}},
        {"$project": {"_id": 0, "product": "$id", **names, **sums, **more}},
    ]


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


def _dated(field: str) -> Document:
    """What a product was called, with the day, so that the greatest of them is the latest."""
    return {"$cond": [{"$gt": [f"${field}", None]}, {"day": "$day", "text": f"${field}"}, None]}


def _grouped() -> list[Document]:
    """One row a product, with its currencies; those that come to nothing are left out."""
    described = {name: {"$max": f"${name}"} for name in ("name", "category")}
    counted = {name: {"$sum": f"${name}"} for name in (*MONEY_COUNTERS, *BEHAVIOUR_COUNTERS)}
    in_currency = {"currency": "$_id.currency", **{name: f"${name}" for name in MONEY_COUNTERS}}
    sold = {"$or": [{"$ne": [f"${name}", 0]} for name in MONEY_COUNTERS]}
    return [
        {"$group": {"_id": {"product": "$product", "currency": "$currency"}, **described, **counted}},
        {
            "$group": {
                "_id": "$_id.product",
                **described,
                **{name: {"$sum": f"${name}"} for name in BEHAVIOUR_COUNTERS},
                "sales": {"$push": {"$cond": [sold, in_currency, "$$REMOVE"]}},
            }
        },
        {"$match": {"$or": [{"sales": {"$ne": []}}, *({name: {"$ne": 0}} for name in BEHAVIOUR_COUNTERS)]}},
    ]


async def _rank(view: View, span: Span, sort: Sort) -> Any:
    if sort == "views":
        return "$v"
    if sort == "adds":
        return "$a"
    if sort == "units":
        return {"$sum": "$sales.u"}
    sums = await totals(view, span)
    main = max(sums, key=lambda currency: (sums[currency].orders, currency), default="")
    net = {"$subtract": [{"$subtract": ["$$this.g", "$$this.d"]}, "$$this.r"]}
    of_main = {"$cond": [{"$eq": ["$$this.currency", main]}, net, 0]}
    return {"$sum": {"$map": {"input": "$sales", "in": of_main}}}


def _product(row: Document) -> Product:
    sales: dict[str, ProductSales] = {}
    for sold in sorted(row["sales"], key=lambda each: str(each["currency"])):
        total = Total(sold["currency"])
        total.add(sold)
        sales[sold["currency"]] = ProductSales(
            units=total.units,
            gross=total.gross,
            discounts=total.discounts,
            refunds=total.refunds,
            net=total.net,
        )
    return Product(
        product_id=row["_id"],
        name=(row["name"] or {}).get("text"),
        category=(row["category"] or {}).get("text"),
        views=int(row["v"]),
        adds=int(row["a"]),
        currencies=sales,
    )
