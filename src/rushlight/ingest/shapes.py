"""What may be sent as the data of each catalogue event, and the typed event that it becomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import msgspec

from rushlight.errors import Rejected
from rushlight.events.catalogue import MAX_ITEMS, MONEY_EVENTS, Currency, Id
from rushlight.events.event import Event, event_type
from rushlight.ingest import amounts
from rushlight.ingest.explain import UNREADABLE, explained

_Items = Annotated[list[amounts.ItemReport], msgspec.Meta(max_length=MAX_ITEMS)]


class Shape(NamedTuple):
    """How one event's data is read: decoder and type, the field that the subject may stand in for, the constructor."""

    decoder: msgspec.json.Decoder[Any]
    type: Any
    key: str
    build: Callable[[str, Any], Event]


def shape_of(name: str) -> Shape | None:
    """The shape of a catalogue event's data, or None for a shop's own event."""
    shape = _shapes.get(name)
    if shape is None and (declared := event_type(name)) is not None:
        shape = _shapes[name] = _money_shape(declared) if name in MONEY_EVENTS else _behaviour_shape(declared)
    return shape


def read(shape: Shape, data: Any) -> Any:
    """Decode an event's data, which is JSON or plain values.

    Raises:
        Rejected: naming the field.
    """
    try:
        if isinstance(data, dict):
            return msgspec.convert(data, shape.type)
        return shape.decoder.decode(data or b"{}")
    except UNREADABLE as error:
        raise explained(error, inside="data") from error


def _money_shape(declared: type[Event]) -> Shape:
    reports: dict[str, tuple[Any, Callable[[str, Any], Event]]] = {
        "order_created": (amounts.OrderReport, amounts.order_created),
        "order_paid": (amounts.PaymentReport, amounts.order_paid),
        "order_refunded": (amounts.RefundReport, amounts.order_refunded),
    }
    request, build = reports.get(declared.event_name) or (_request(declared, forbid_unknown=True), _as_it_is(declared))
    return Shape(msgspec.json.Decoder(request), request, "order_id", build)


def _behaviour_shape(declared: type[Event]) -> Shape:
    request = _request(declared, forbid_unknown=False)
    has_items = "items" in declared.__struct_fields__
    build = (_with_items if has_items else _as_it_is)(declared)
    return Shape(msgspec.json.Decoder(request), request, declared.aggregate, build)


def _request(declared: type[Event], *, forbid_unknown: bool) -> Any:
    fields: list[Any] = []
    for field in msgspec.structs.fields(declared):
        if field.name == declared.aggregate:
            fields.append((field.name, Id | None, None))
        elif field.name == "items":
            fields.append((field.name, _Items, msgspec.field(default_factory=list)))
            fields.append(("currency", Currency | None, None))
        elif field.required:
            fields.append((field.name, field.type))
        else:
            fields.append((field.name, field.type, field.default))
    if not forbid_unknown:
        fields.append(("customer_id", Id | None, None))
    name = f"{declared.__name__}Report"
    return msgspec.defstruct(name, fields, kw_only=True, rename="camel", gc=False, forbid_unknown_fields=forbid_unknown)


def _as_it_is(declared: type[Event]) -> Callable[[str, Any], Event]:
    rest = [name for name in declared.__struct_fields__ if name != declared.aggregate]

    def build(key: str, report: Any) -> Event:
        return declared(**{declared.aggregate: key}, **{name: getattr(report, name) for name in rest})

    return build


def _with_items(declared: type[Event]) -> Callable[[str, Any], Event]:
    rest = [name for name in declared.__struct_fields__ if name not in {declared.aggregate, "items"}]

    def build(key: str, report: Any) -> Event:
        items = [amounts.item(item, report.currency, f"data.items[{index}]") for index, item in enumerate(report.items)]
        return declared(**{declared.aggregate: key}, items=items, **{name: getattr(report, name) for name in rest})

    return build


def key_of(shape: Shape, report: Any, subject: str | None) -> str:
    """What the event is about: its own field, else the subject.

    Raises:
        Rejected: neither is given.
    """
    key: str | None = getattr(report, shape.key) or subject
    if key is None:
        raise Rejected("is required, here or as the event's subject", field=f"data.{camel(shape.key)}", code="missing")
    return key


def camel(name: str) -> str:
    """A field's name on the wire."""
    head, *tail = name.split("_")
    return head + "".join(map(str.capitalize, tail))


_shapes: dict[str, Shape] = {}
