"""Orders and refunds as Segment's e-commerce events tell them, as data of ``order_created`` and ``order_refunded``.

The published formula: a line is ``price × quantity``; ``gross`` is their sum; ``discount`` is the order's whole
discount, spread over the lines, and where it is absent the products' own ``discount`` (of the whole line) count;
``total = gross - discounts + tax + shipping``. What a sender says of ``total``, ``subtotal`` and ``revenue`` is only
compared with that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rushlight.errors import Rejected
from rushlight.events.money import EXACT, allocate, exact, to_minor, to_text
from rushlight.events.pricing import check_currency
from rushlight.ingest.names import Properties, currency_of, described, first, identifier, product_id, products_of
from rushlight.ingest.names import quantity as pieces

DEFAULT_CURRENCY = "USD"
UNNAMED_PRODUCT = "unspecified"
REST = "rest"
GOODS_BACK = ("amount", "revenue", "value", "subtotal")

Data = dict[str, Any]
_Product = tuple[Mapping[str, Any], str]


def order_created(properties: Properties, place: str) -> tuple[Data, str | None]:
    """The data of an order, and a hint when a sum that the sender gave is another than the formula's.

    Products without any price share what ``subtotal``, ``total`` or ``revenue`` says that the goods cost, by quantity;
    an order without products is one line of `UNNAMED_PRODUCT`.

    Args:
        place: where the properties stand, for errors.

    Raises:
        Rejected: no order id, no amount at all, or one that is no number; names the field.
    """
    currency = _currency(properties, place)
    products = products_of(properties, place)
    tax, shipping, discount = (_amount(properties, name, place) for name in ("tax", "shipping", "discount"))
    if any(product.get("price") not in (None, "") for product, _ in products):
        lines, gross, own = _priced(products, with_discount=discount is None)
    else:
        goods = _goods(properties, place)
        lines, gross, own = (
            _shared(products, to_minor(goods, currency, field=f"{place}.products"), currency),
            goods,
            None,
        )
    data: Data = {"orderId": _order_id(properties, place), "currency": currency, "lines": lines}
    data |= {name: _written(value) for name, value in (("tax", tax), ("shipping", shipping)) if value is not None}
    if discount is not None:
        data["discount"] = _written(discount)
    less = discount if discount is not None else own or Decimal(0)
    return data, _hint(properties, gross, less, tax or Decimal(0), shipping or Decimal(0))


def order_refunded(properties: Properties, place: str, report: str) -> Data:
    """The data of a refund: of the ``products`` with prices, else of an amount, else of all that is left of the order.

    A ``total`` holds the ``tax`` and ``shipping`` that are named beside it; ``amount``, ``revenue``, ``value`` and
    ``subtotal`` do not.

    Args:
        place: as for `order_created`. report: tells one partial refund from another that has no ``refund_id``.

    Raises:
        Rejected: no order id, or products of which it is not known how much went back.
    """
    data: Data = {"orderId": _order_id(properties, place)}
    refund_id = identifier(first(properties, ("refund_id", "refundId")), f"{place}.refund_id")
    products = products_of(properties, place)
    tax, shipping = _amount(properties, "tax", place), _amount(properties, "shipping", place)
    amount = _goods_back(properties, place, (tax or Decimal(0)) + (shipping or Decimal(0)))
    priced = any(product.get("price") not in (None, "") for product, _ in products)
    if not priced and amount is None and tax is None and shipping is None:
        if products:
            reason = "is required, or the refund's amount: it says how much of the order went back"
            raise Rejected(reason, field=f"{products[0][1]}.price", code="missing")
        return data | {"refundId": refund_id or REST}
    currency = _currency(properties, place)
    data |= {"refundId": refund_id or report, "currency": currency}
    data |= {name: _written(value) for name, value in (("tax", tax), ("shipping", shipping)) if value is not None}
    if priced:
        discount = _amount(properties, "discount", place)
        return data | {"lines": _returned(products, discount, currency, place)}
    return data | ({} if amount is None else {"amount": _written(amount)})


def _priced(products: Sequence[_Product], *, with_discount: bool) -> tuple[list[Data], Decimal, Decimal]:
    """The lines, their sum and the sum of their own discounts."""
    lines, gross, discounts = [], Decimal(0), Decimal(0)
    for product, field in products:
        price = _price(product, field)
        line = _line(product, field)
        line["unitPrice"] = _written(price)
        off = _amount(product, "discount", field) if with_discount else None
        if off is not None:
            line["discount"] = _written(off)
            discounts += off
        gross += EXACT.multiply(price, line["quantity"])
        lines.append(line)
    return lines, gross, discounts


def _shared(products: Sequence[_Product], goods: int, currency: str) -> list[Data]:
    if not products:
        return [{"productId": UNNAMED_PRODUCT, "quantity": 1, "amount": to_text(goods, currency)}]
    lines = [_line(product, field) for product, field in products]
    parts = allocate(goods, [max(0, line["quantity"]) for line in lines])
    return [{**line, "amount": to_text(part, currency)} for line, part in zip(lines, parts, strict=True)]


def _line(product: Mapping[str, Any], field: str) -> Data:
    return {
        "productId": product_id(product, field),
        "quantity": pieces(product.get("quantity"), f"{field}.quantity"),
        **described(product),
    }


def _returned(products: Sequence[_Product], discount: Decimal | None, currency: str, place: str) -> list[Data]:
    """The lines of a refund, less the discount that the order as a whole had on them."""
    amounts = []
    for product, field in products:
        price = _price(product, field)
        count = pieces(product.get("quantity"), f"{field}.quantity")
        off = _amount(product, "discount", field) if discount is None else None
        goods = EXACT.multiply(price, count) - (off or 0)
        amounts.append(to_minor(goods, currency, field=f"{field}.price"))
    if discount is not None:
        less = to_minor(discount, currency, field=f"{place}.discount")
        amounts = [
            own - part for own, part in zip(amounts, allocate(less, [max(0, own) for own in amounts]), strict=True)
        ]
    lines = [_line(product, field) for product, field in products]
    return [
        {"productId": line["productId"], "quantity": line["quantity"], "amount": to_text(amount, currency)}
        for line, amount in zip(lines, amounts, strict=True)
    ]


def _price(product: Mapping[str, Any], field: str) -> Decimal:
    price = _amount(product, "price", field)
    if price is None:
        raise Rejected("is required where other products have one", field=f"{field}.price", code="missing")
    return price


def _goods(properties: Properties, place: str) -> Decimal:
    """What the goods cost before the discount, where no product has a price."""
    said = {name: _amount(properties, name, place) for name in ("subtotal", "total", "revenue")}
    discount = _amount(properties, "discount", place) or Decimal(0)
    if (subtotal := said["subtotal"]) is not None:
        return subtotal + discount
    if (total := said["total"]) is not None:
        return (
            total + discount - sum((_amount(properties, name, place) or 0 for name in ("tax", "shipping")), Decimal(0))
        )
    if (revenue := said["revenue"]) is not None:
        return revenue
    raise Rejected("is required: an order is what its products come to", field=f"{place}.products", code="missing")


def _goods_back(properties: Properties, place: str, beside: Decimal) -> Decimal | None:
    for name in GOODS_BACK:
        if (amount := _amount(properties, name, place)) is not None:
            return amount
    total = _amount(properties, "total", place)
    return None if total is None else total - beside


def _hint(properties: Properties, gross: Decimal, less: Decimal, tax: Decimal, shipping: Decimal) -> str | None:
    right = {
        "total": {gross - less + tax + shipping},
        "subtotal": {gross - less},
        "revenue": {gross, gross - less},
    }
    for name, sums in right.items():
        try:
            said = _amount(properties, name, "")
        except Rejected:
            return f"{name} is no number: the order counts as its products"
        if said is not None and said not in sums:
            shown = " or ".join(f"{each:f}" for each in sorted(sums))
            return f"{name} is {said:f}, where the products come to {shown}: the order counts as its products"
    return None


def _currency(properties: Properties, place: str) -> str:
    currency = currency_of(properties.get("currency"), DEFAULT_CURRENCY) or DEFAULT_CURRENCY
    check_currency(currency, f"{place}.currency")
    return currency


def _order_id(properties: Properties, place: str) -> str:
    names = ("order_id", "orderId", "transaction_id", "transactionId")
    order_id = identifier(first(properties, names), f"{place}.order_id")
    if order_id is None:
        raise Rejected("is required", field=f"{place}.order_id", code="missing")
    return order_id


def _amount(holder: Properties, name: str, place: str) -> Decimal | None:
    value = holder.get(name)
    if value is None or value == "":
        return None
    field = f"{place}.{name}".lstrip(".")
    if not isinstance(value, str | int | float):
        raise Rejected("must be a decimal number", field=field, code="amount")
    return exact(value, field=field)


def _written(amount: Decimal) -> str:
    return f"{amount:f}"
