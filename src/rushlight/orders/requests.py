"""What a checkout may send: every body is checked in full before anything is written, and an error names its field."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec

from rushlight.errors import Rejected
from rushlight.events.catalogue import Currency, Id, Text
from rushlight.settings import DEFAULT_SHOP, SHOP_ID

MAX_LINES = 500
MAX_KEY_CHARACTERS = 255
ORDER_ID = re.compile(r"[A-Za-z0-9._~:-]{1,128}\Z")

# A decimal string is exact; a JSON number is read by its shortest decimal form.
Amount = Annotated[str, msgspec.Meta(max_length=40)] | int | float
Country = Annotated[str, msgspec.Meta(max_length=64)]


class _Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """Unknown fields are refused: a misspelt ``discount`` must not be sold at the full price."""


class OrderLine(_Body):
    """One line: either ``unitPrice`` or ``amount`` (the whole line before discount), or both if they agree."""

    product_id: Id
    quantity: Annotated[int, msgspec.Meta(ge=1, le=10**9)]
    unit_price: Amount | None = None
    amount: Amount | None = None
    discount: Amount | None = None
    name: Text | None = None
    category: Text | None = None


class NewOrder(_Body):
    """``POST /orders``. An order-level ``discount`` is spread over the lines; the time is the server's; a ``test`` is
    counted as such, and in no figure.
    """

    currency: Currency
    lines: Annotated[list[OrderLine], msgspec.Meta(min_length=1, max_length=MAX_LINES)]
    order_id: str | None = None
    customer_id: Id | None = None
    visitor_id: Id | None = None
    shop: str = DEFAULT_SHOP
    discount: Amount | None = None
    tax: Amount | None = None
    shipping: Amount | None = None
    country: Country | None = None
    test: bool = False


class Payment(_Body):
    """``POST /orders/{id}/pay``: a payment of the whole total, or the report that one failed."""

    payment_id: Id | None = None
    amount: Amount | None = None
    failed: bool = False
    reason: Text | None = None


class Cancellation(_Body):
    """``POST /orders/{id}/cancel``."""

    reason: Text | None = None


class ReturnedLine(_Body):
    """How many pieces of a product come back."""

    product_id: Id
    quantity: Annotated[int, msgspec.Meta(ge=1, le=10**9)]


class Return(_Body):
    """``POST /orders/{id}/refund``: by lines, by amount, or (neither) everything that is left."""

    lines: Annotated[list[ReturnedLine], msgspec.Meta(min_length=1, max_length=MAX_LINES)] | None = None
    amount: Amount | None = None


B = TypeVar("B", bound=_Body)

_decoders: dict[type[_Body], msgspec.json.Decoder[Any]] = {
    cls: msgspec.json.Decoder(cls) for cls in (NewOrder, Payment, Cancellation, Return)
}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_NUL = re.compile("\x00")
_MISPLACED = re.compile(r"Object (missing required|contains unknown) field `(.*?)`", re.DOTALL)


def read(cls: type[B], body: bytes) -> B:
    """Decode and check a body; an empty one stands for ``{}``.

    Raises:
        Rejected: naming the field, with the code ``json``, ``missing``, ``unknown_field``, ``amount`` or ``invalid``.
    """
    try:
        request: B = _decoders[cls].decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(f"the body is not UTF-8 JSON: {error}", code="json") from error
    _check_text(request)
    return request


def read_order(body: bytes) -> NewOrder:
    """Decode and check the body of ``POST /orders``.

    Raises:
        Rejected: as `read`.
    """
    order = read(NewOrder, body)
    for index, line in enumerate(order.lines):
        _check_text(line, f"lines[{index}].")
    if order.order_id is not None and not ORDER_ID.match(order.order_id):
        raise Rejected("must be 1 to 128 letters, digits or . _ ~ : -", field="orderId")
    if order.shop != DEFAULT_SHOP and not SHOP_ID.match(order.shop):
        raise Rejected("must be lower-case letters, digits and hyphens, at most 63 of them", field="shop")
    return order


def read_key(header: bytes | None) -> str | None:
    """The ``Idempotency-Key``, or None when there was none.

    Raises:
        Rejected: it is empty, too long or not printable ASCII.
    """
    if header is None:
        return None
    try:
        key = header.decode("ascii")
    except UnicodeDecodeError:
        key = ""
    if not 0 < len(key) <= MAX_KEY_CHARACTERS or not key.isprintable():
        raise Rejected(
            f"must be 1 to {MAX_KEY_CHARACTERS} printable ASCII characters", field="Idempotency-Key", code="key"
        )
    return key


def _explained(message: str) -> Rejected:
    reason, _, place = message.partition(" - at `$")
    path = place.rstrip("`").lstrip(".")
    if misplaced := _MISPLACED.match(reason):
        missing, name = misplaced[1].startswith("missing"), misplaced[2][:80]
        field = f"{path}.{name}" if path else name
        return Rejected(
            "is required" if missing else "is not a field of this request",
            field=field,
            code="missing" if missing else "unknown_field",
        )
    return Rejected(reason, field=path)


def _check_text(body: _Body, prefix: str = "") -> None:
    # A control character in an id would stay invisible in every list; in a name only NUL is good for nothing.
    for field in body.__struct_fields__:
        value = getattr(body, field)
        if value.__class__ is str and not value.isprintable():
            forbidden = _CONTROL if field.endswith("_id") else _NUL
            if forbidden.search(value):
                raise Rejected("must not contain control characters", field=prefix + _wire_name(field))


def _wire_name(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(map(str.capitalize, rest))
