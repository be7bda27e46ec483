"""Makes one order's lines into its events: exact sums, rounded once an order, allocated so that lines add up to it.

An order goes as a whole: when one of its lines is wrong nothing of it is made, because an order that was imported
without a line could never be completed by importing the corrected file (its id says that it is here already).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from math import lcm
from typing import NamedTuple

import msgspec

from rushlight.errors import Rejected
from rushlight.events.catalogue import MAX_QUANTITY, OrderCreated, OrderRefunded, RefundLine
from rushlight.events.catalogue import Line as OrderLine
from rushlight.events.envelope import MAX_ENVELOPE_BYTES, MAX_ID_CHARACTERS, Envelope, encode, now
from rushlight.events.ids import money_id
from rushlight.events.money import MAX_MINOR_UNITS, allocate, digits, exact
from rushlight.ingest.history.stage import MAX_ORDER_LINES, Line, StagedOrder

CACHED_TEXTS = 1 << 16
MAX_LABEL_CHARACTERS = 512
MAX_COUNTRY_CHARACTERS = 64
MAX_DIGITS = 60
SURELY_SMALL_LINES = 40  # an order of so few lines fits an envelope however long its texts are
ENVELOPE_MARGIN_BYTES = 1024  # for what is added at the door
REFUND_ID_BYTES = 12
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Amount = int | Fraction
"""Minor units; a Fraction only where the file has more digits than the currency."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a row was not taken.

    Attributes:
        row: the line of a CSV or NDJSON file where the record begins (a CSV file's header is line 1), the number of
            the row of a Parquet file (the first is 1).
        field: which field is wrong, empty when the record is wrong as a whole.
        code: a stable word for the kind of fault.
    """

    row: int
    field: str
    reason: str
    code: str
    order_id: str | None = None

    def __str__(self) -> str:
        order = f" (order {self.order_id})" if self.order_id else ""
        return f"row {self.row}{order}: {self.field + ': ' if self.field else ''}{self.reason}"


class Totals(msgspec.Struct, kw_only=True):
    """What a file holds in one currency: counts, and integer minor units."""

    orders: int = 0
    units: int = 0
    gross: int = 0
    discounts: int = 0
    refunds: int = 0

    @property
    def net(self) -> int:
        """Gross without discounts and refunds."""
        return self.gross - self.discounts - self.refunds

    def add(self, other: Totals) -> None:
        """Add another part of the file."""
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


class Made(NamedTuple):
    """The events of one order, or the faults for which it was held back."""

    envelopes: list[Envelope]
    faults: list[Fault]
    currency: str
    totals: Totals


class _Item(msgspec.Struct, gc=False):
    """A line that was understood; every number is a magnitude."""

    micros: int
    customer_id: str | None
    product_id: str
    name: str | None
    category: str | None
    quantity: int
    unit_price: int | None
    amount: Amount
    discount: Amount
    country: str | None
    refund: bool


class OrderMaker:
    """Makes the events of one file's orders.

    Args:
        shop, source: the tenant, and the source that the money is reported by.
        currency: of rows that name none.
        discount_sign: -1 when the file writes discounts as negative numbers.
    """

    def __init__(self, *, shop: str, source: str, currency: str | None, discount_sign: int = 1) -> None:
        self.source = source
        self._shop = shop
        self._currency = currency
        self._discount_sign = discount_sign

    def make(self, order: StagedOrder) -> Made:
        """The order's ``order_created``, if it has sales, then one ``order_refunded`` for each time of its refunds."""
        faults: list[Fault] = []
        items: list[_Item] = []
        currency = ""
        for line in order.lines:
            try:
                currency = self._currency_of(line, currency)
                items.append(self._item(line, currency))
            except Rejected as error:
                faults.append(_fault(line[0], error, order.order_id))
        if not faults:
            try:
                return self._events(order, items, currency)
            except Rejected as error:
                faults.append(_fault(order.lines[0][0], error, order.order_id))
        return Made([], faults, currency, Totals())

    def _currency_of(self, line: Line, currency: str) -> str:
        named = line[12]
        code = named.upper() if named else self._currency
        if not code:
            raise Rejected("is empty, and no --currency was given", field="currency", code="currency")
        digits(code)
        if currency and code != currency:
            reason = f"is {code}, but the order's lines above are in {currency}"
            raise Rejected(reason, field="currency", code="currency")
        return code

    def _item(self, line: Line, currency: str) -> _Item:
        _, fault, micros, time, customer, product, name, category, quantity, price, amount, discount, _, country = line
        if fault is not None:
            raise Rejected(fault, code="record")
        if micros is None:
            reason = f"{time[:40]!r} is not a time such as 2024-05-31T18:30:00+02:00" if time else "is empty"
            raise Rejected(reason, field="occurred_at", code="time")
        _check_id(product or "", "product_id")
        if customer:
            _check_id(customer, "customer_id")
        if country and len(country) > MAX_COUNTRY_CHARACTERS:
            raise Rejected(f"has more than {MAX_COUNTRY_CHARACTERS} characters", field="country", code="length")
        pieces = _quantity(quantity) if quantity else None
        each = _minor(price, currency, "unit_price") if price else None
        signed = _amount(amount, currency, pieces, each)
        size = _magnitude(signed)
        pieces = 1 if pieces is None else pieces
        refund = pieces < 0 or signed < 0
        return _Item(
            micros,
            customer,
            product,
            name[:MAX_LABEL_CHARACTERS] if name else None,
            category[:MAX_LABEL_CHARACTERS] if category else None,
            abs(pieces),
            each if isinstance(each, int) and each >= 0 else None,
            size,
            self._discount(discount, currency, size, refund=refund) if discount else 0,
            country,
            refund,
        )

    def _discount(self, text: str, currency: str, amount: Amount, *, refund: bool) -> Amount:
        value = _minor(text, currency, "discount")
        if refund:  # its sign follows the line's in some files and not in others
            value = _magnitude(value)
            if value > amount:
                raise Rejected("is more than the amount that goes back", field="discount", code="discount")
            return value
        value = value * self._discount_sign
        if value < 0:
            raise Rejected("is negative, while other lines have it positive", field="discount", code="discount")
        return value

    def _events(self, order: StagedOrder, items: Sequence[_Item], currency: str) -> Made:
        _check_id(order.order_id, "order_id")
        if order.size > len(order.lines):
            raise Rejected(f"the order has {order.size} lines; at most {MAX_ORDER_LINES} fit", code="size")
        totals = Totals()
        envelopes = []
        customer = next((item.customer_id for item in items if item.customer_id), None)
        sales = [item for item in items if not item.refund]
        if sales:
            envelopes.append(self._created(order.order_id, sales, currency, customer, totals))
        refunds: dict[int, list[_Item]] = {}
        for item in items:
            if item.refund:
                refunds.setdefault(item.micros, []).append(item)
        for micros, lines in sorted(refunds.items()):
            envelopes.append(self._refunded(order.order_id, micros, lines, currency, customer, totals))
        return Made(envelopes, [], currency, totals)

    def _created(
        self, order_id: str, sales: Sequence[_Item], currency: str, customer: str | None, totals: Totals
    ) -> Envelope:
        gross, amounts = split([item.amount for item in sales])
        discounts, reductions = split([item.discount for item in sales])
        lines = [
            OrderLine(
                product_id=item.product_id,
                quantity=item.quantity,
                amount=amount,
                discount=discount,
                unit_price=item.unit_price,
                name=item.name,
                category=item.category,
            )
            for item, amount, discount in zip(sales, amounts, reductions, strict=True)
        ]
        event = OrderCreated(
            order_id=order_id,
            currency=currency,
            lines=lines,
            gross=gross,
            discounts=discounts,
            total=gross - discounts,
            customer_id=customer,
            country=next((item.country for item in sales if item.country), None),
        )
        totals.orders += 1
        totals.units += sum(item.quantity for item in sales)
        totals.gross += gross
        totals.discounts += discounts
        return self._sealed(event, min(item.micros for item in sales), "", len(lines))

    def _refunded(
        self, order_id: str, micros: int, items: Sequence[_Item], currency: str, customer: str | None, totals: Totals
    ) -> Envelope:
        backs = [item.amount - item.discount for item in items]
        amount, parts = split(backs)
        refund_id = _refund_id(order_id, micros, zip(items, backs, strict=True))
        event = OrderRefunded(
            order_id=order_id,
            refund_id=refund_id,
            currency=currency,
            amount=amount,
            lines=[
                RefundLine(product_id=item.product_id, quantity=item.quantity, amount=part)
                for item, part in zip(items, parts, strict=True)
            ],
            customer_id=customer,
        )
        totals.refunds += amount
        return self._sealed(event, micros, refund_id, len(items))

    def _sealed(self, event: OrderCreated | OrderRefunded, micros: int, reference: str, lines: int) -> Envelope:
        envelope = event.seal(
            id=money_id(self._shop, self.source, event.order_id, event.event_name, reference),
            shop=self._shop,
            source=self.source,
            origin="",  # the write-ahead log numbers it
            occurred_at=EPOCH + timedelta(microseconds=micros),
            received_at=now(),
        )
        if lines > SURELY_SMALL_LINES and len(encode(envelope)) > MAX_ENVELOPE_BYTES - ENVELOPE_MARGIN_BYTES:
            raise Rejected(f"the order's {lines} lines do not fit one event of {MAX_ENVELOPE_BYTES} bytes", code="size")
        return envelope


def split(values: Sequence[Amount]) -> tuple[int, list[int]]:
    """The exact sum rounded half to even, and its parts by largest remainder.

    Args:
        values: non-negative minor units.

    Raises:
        Rejected: the sum is beyond 2**53 - 1.
    """
    total: Amount = sum(values)
    if total > MAX_MINOR_UNITS:
        raise Rejected("the order's amount is too large", field="amount", code="amount")
    if isinstance(total, int):
        return total, [int(value) for value in values]
    scale = lcm(*(Fraction(value).denominator for value in values))
    rounded = round(total)
    return rounded, allocate(rounded, [int(value * scale) for value in values])


def _amount(text: str | None, currency: str, pieces: int | None, each: Amount | None) -> Amount:
    if text:
        return _minor(text, currency, "amount")
    if pieces is None or each is None:
        raise Rejected("is empty, and there are not both a quantity and a unit price", field="amount", code="amount")
    return pieces * each


def _magnitude(value: Amount) -> Amount:
    return -value if value < 0 else value


@lru_cache(CACHED_TEXTS)
def _minor(text: str, currency: str, field: str) -> Amount:
    value = exact(text, field=field)
    if len(value.as_tuple().digits) > MAX_DIGITS:
        raise Rejected(f"has more than {MAX_DIGITS} digits", field=field, code="amount")
    minor = Fraction(value) * 10 ** digits(currency)
    if abs(minor) > MAX_MINOR_UNITS:
        raise Rejected("the amount is too large", field=field, code="amount")
    return int(minor) if minor.denominator == 1 else minor


@lru_cache(CACHED_TEXTS)
def _quantity(text: str) -> int:
    value = exact(text, field="quantity")
    if value != value.to_integral_value() or abs(value) > MAX_QUANTITY:
        raise Rejected(f"{text[:40]!r} is not a whole number up to {MAX_QUANTITY}", field="quantity", code="quantity")
    return int(value)


def _check_id(text: str, field: str) -> None:
    if not 0 < len(text) <= MAX_ID_CHARACTERS:
        reason = f"has more than {MAX_ID_CHARACTERS} characters" if text else "is empty"
        raise Rejected(reason, field=field, code="id")


def _refund_id(order_id: str, micros: int, lines: Iterable[tuple[_Item, Amount]]) -> str:
    # Without the currency: a file that is imported again in another one changes nothing, as for the orders themselves.
    content = sorted((item.product_id, item.quantity, str(back)) for item, back in lines)
    told = msgspec.json.encode((order_id, micros, content))
    return blake2b(told, digest_size=REFUND_ID_BYTES).hexdigest()


def _fault(row: int, error: Rejected, order_id: str | None) -> Fault:
    return Fault(row=row, field=error.field, reason=error.reason, code=error.code, order_id=order_id)
