"""The catalogue: the order's life (money) and what visitors do (behaviour), under GA4's e-commerce names."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rushlight.errors import Rejected
from rushlight.events.event import Event
from rushlight.events.money import digits

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Text = Annotated[str, msgspec.Meta(max_length=512)]
Minor = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
MAX_QUANTITY = 10**9
Quantity = Annotated[int, msgspec.Meta(ge=0, le=MAX_QUANTITY)]
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$", max_length=3)]  # "$" alone would let a newline follow


MAX_ITEMS = 200


class Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One line of an order. ``amount`` is the line before discount, in minor units; a quantity of 0 is allowed."""

    product_id: Id
    quantity: Quantity
    amount: Minor
    discount: Minor = 0
    unit_price: Minor | None = None
    name: Text | None = None
    category: Text | None = None


class OrderCreated(Event, name="order_created", aggregate="order_id"):
    """An order was placed. ``gross = Σ amount``, ``total = gross - discounts + tax + shipping``; minor units.

    A ``test`` was only tried: it is counted as such, and in no figure.
    """

    order_id: Id
    currency: Currency
    lines: list[Line]
    gross: Minor
    discounts: Minor = 0
    tax: Minor = 0
    shipping: Minor = 0
    total: int = 0
    customer_id: Id | None = None
    visitor_id: Id | None = None
    country: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    test: bool = False

    def check(self) -> None:
        """The currency has minor units, and the lines add up: else products would not sum to sales."""
        _check_currency(self.currency)
        _check_sum(self.gross, sum([line.amount for line in self.lines]), "gross", "amounts")
        _check_sum(self.discounts, sum([line.discount for line in self.lines]), "discounts", "discounts")

    def purchase(self) -> Purchase | None:
        """What the order is in its visitor's story; None while no visitor is known, and of a test."""
        if self.visitor_id is None or self.test:
            return None
        items = [
            Item(
                product_id=line.product_id,
                quantity=line.quantity,
                name=line.name,
                category=line.category,
                price=line.unit_price,
                currency=None if line.unit_price is None else self.currency,
            )
            for line in self.lines[:MAX_ITEMS]
        ]
        return Purchase(visitor_id=self.visitor_id, transaction_id=self.order_id, items=items)


class OrderPaid(Event, name="order_paid", aggregate="order_id"):
    """A payment for the order succeeded."""

    order_id: Id
    payment_id: Id
    currency: Currency
    amount: Minor

    def check(self) -> None:
        """The currency has minor units."""
        _check_currency(self.currency)


class OrderPaymentFailed(Event, name="order_payment_failed", aggregate="order_id"):
    """A payment for the order was refused."""

    order_id: Id
    payment_id: Id
    reason: Text | None = None


class OrderUpdated(Event, name="order_updated", aggregate="order_id"):
    """Something about the order changed that no other event says; it moves no money."""

    order_id: Id
    revision: Id
    note: Text | None = None


class OrderShipped(Event, name="order_shipped", aggregate="order_id"):
    """A parcel of the order left."""

    order_id: Id
    shipment_id: Id


class OrderCancelled(Event, name="order_cancelled", aggregate="order_id"):
    """The order will not be fulfilled: it leaves every figure, whenever it had been counted."""

    order_id: Id
    reason: Text | None = None


class RefundLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The part of a refund that falls on one product; ``amount`` in minor units."""

    product_id: Id
    amount: Minor
    quantity: Quantity = 0


class OrderRefunded(Event, name="order_refunded", aggregate="order_id"):
    """Money went back. ``amount`` is the goods' part, and the sum of the lines if there are any.

    Without lines it falls on the order's lines in proportion to what was paid for them. Tax and shipping stand apart.
    Without an amount everything went back that no other refund of the order accounts for: goods, tax and shipping.
    """

    order_id: Id
    refund_id: Id
    currency: Currency | None = None
    amount: Minor | None = None
    lines: list[RefundLine] = msgspec.field(default_factory=list)
    tax: Minor = 0
    shipping: Minor = 0
    customer_id: Id | None = None

    def check(self) -> None:
        """The currency has minor units, and the lines add up; what is refunded whole has no amounts of its own."""
        if self.amount is None:
            if self.lines or self.tax or self.shipping:
                reason = "is required with lines, tax or shipping; without these all that is left goes back"
                raise Rejected(reason, field="payload.amount", code="missing")
            return
        if self.currency is None:
            raise Rejected("is required with an amount", field="payload.currency", code="missing")
        _check_currency(self.currency)
        if self.lines:
            _check_sum(self.amount, sum([line.amount for line in self.lines]), "amount", "amounts")


class Item(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A product as a visitor met it; ``price`` in minor units of ``currency``."""

    product_id: Id
    quantity: Quantity = 1
    name: Text | None = None
    category: Text | None = None
    price: Minor | None = None
    currency: Currency | None = None


Items = Annotated[list[Item], msgspec.Meta(max_length=MAX_ITEMS)]


class Behaviour(Event):
    """Base of what a visitor does: the visitor is the aggregate."""

    visitor_id: Id


class PageView(Behaviour, name="page_view"):
    """A page was seen."""

    url: Annotated[str, msgspec.Meta(max_length=2048)] | None = None
    title: Text | None = None
    referrer: Annotated[str, msgspec.Meta(max_length=2048)] | None = None
    name: Text | None = None
    category: Text | None = None


class Screen(Behaviour, name="screen"):
    """A screen of an app was seen."""

    name: Text | None = None
    category: Text | None = None


class Search(Behaviour, name="search"):
    """The shop was searched."""

    search_term: Text


class _WithItems(Behaviour):
    items: Items = msgspec.field(default_factory=list)


class ViewItem(_WithItems, name="view_item"):
    """A product's page was seen."""


class ViewItemList(_WithItems, name="view_item_list"):
    """A list of products was seen."""


class SelectItem(_WithItems, name="select_item"):
    """A product in a list was chosen."""


class AddToCart(_WithItems, name="add_to_cart"):
    """Products went into the cart."""


class RemoveFromCart(_WithItems, name="remove_from_cart"):
    """Products left the cart."""


class AddToWishlist(_WithItems, name="add_to_wishlist"):
    """Products were put aside for later."""


class ViewCart(_WithItems, name="view_cart"):
    """The cart was looked at."""


class BeginCheckout(_WithItems, name="begin_checkout"):
    """The checkout was entered."""


class AddShippingInfo(_WithItems, name="add_shipping_info"):
    """The checkout's shipping step was completed."""


class AddPaymentInfo(_WithItems, name="add_payment_info"):
    """The checkout's payment step was completed."""


class Purchase(_WithItems, name="purchase"):
    """A visitor's purchase: it completes the funnel and never makes revenue."""

    transaction_id: Id | None = None


class Refund(_WithItems, name="refund"):
    """A refund as a browser reports it: behaviour only."""

    transaction_id: Id | None = None


class _Promotion(_WithItems):
    promotion_id: Id | None = None
    promotion_name: Text | None = None
    creative_name: Text | None = None
    creative_slot: Text | None = None


class ViewPromotion(_Promotion, name="view_promotion"):
    """A promotion was seen."""


class SelectPromotion(_Promotion, name="select_promotion"):
    """A promotion was chosen."""


class Identify(Behaviour, name="identify"):
    """A visitor said who they are: the envelope's customer; what names them travels apart from the payload."""


class Alias(Behaviour, name="alias"):
    """Two ids are one person: ``previous_id`` is the same as the envelope's customer."""

    previous_id: Id


class Group(Behaviour, name="group"):
    """A visitor belongs to a company or another group."""

    group_id: Id
    name: Text | None = None


class Login(Behaviour, name="login"):
    """A visitor signed in."""

    method: Text | None = None


class SignUp(Behaviour, name="sign_up"):
    """A visitor opened an account."""

    method: Text | None = None


def _check_currency(currency: str) -> None:
    try:
        digits(currency)
    except Rejected as error:
        raise Rejected(error.reason, field="payload.currency", code=error.code) from error


def _check_sum(value: int, expected: int, field: str, what: str) -> None:
    if value != expected:
        raise Rejected(f"must be {expected}, the sum of the lines' {what}", field=f"payload.{field}", code="amount")


MONEY_EVENTS = frozenset(
    cls.event_name
    for cls in (OrderCreated, OrderPaid, OrderPaymentFailed, OrderUpdated, OrderShipped, OrderCancelled, OrderRefunded)
)
