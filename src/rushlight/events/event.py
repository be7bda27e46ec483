"""Typed events: a class states a payload's fields once, for producers, for readers and for the checks at the door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, dataclass_transform

import msgspec

from rushlight.errors import Rejected
from rushlight.events.envelope import Envelope, millisecond, now

Payload = dict[str, Any]
Upcaster = Callable[[Payload], Payload]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class _EventMeta(msgspec.StructMeta):
    """Takes ``name``, ``aggregate`` and ``schema`` from the class statement and registers the class by name."""

    registry: ClassVar[dict[str, type[Event]]] = {}

    def __new__(
        mcls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        name: str | None = None,
        aggregate: str | None = None,
        schema: int = 1,
        upcasters: Mapping[int, Upcaster] | None = None,
        **options: Any,
    ) -> Any:
        cls: Any = super().__new__(mcls, class_name, bases, namespace, **options)
        if name is not None:
            cls.event_name, cls.schema, cls.upcasters = name, schema, dict(upcasters or {})
            if sorted(cls.upcasters) != list(range(1, schema)):
                needed = ", ".join(map(str, range(1, schema))) or "none"
                raise TypeError(f"{class_name}: schema {schema} needs upcasters from: {needed}")
            cls.aggregate = aggregate or getattr(cls, "aggregate", None) or cls.__struct_fields__[0]
            if cls.aggregate not in cls.__struct_fields__:
                raise TypeError(f"{class_name}: aggregate={cls.aggregate!r} is not one of its fields")
            mcls.registry[name] = cls
        return cls


class Event(msgspec.Struct, metaclass=_EventMeta, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of typed events.

    ``class Shipped(Event, name="order_shipped", aggregate="order_id")`` declares the payload of ``order_shipped``;
    ``aggregate`` names the field that says what the event is about (by default the first). Fields are snake_case in
    Python and camelCase on the wire.

    ``schema`` counts the versions of the payload's shape. What was stored in an older one is kept as it came and read
    through ``upcasters``: ``{1: from_1, 2: from_2}``, for each older schema a pure function that makes of its payload
    that of the next schema.
    """

    event_name: ClassVar[str]
    aggregate: ClassVar[str]
    schema: ClassVar[int]
    upcasters: ClassVar[dict[int, Upcaster]]

    if TYPE_CHECKING:  # the metaclass takes these; type checkers look for them here

        def __init_subclass__(
            cls,
            *,
            name: str | None = None,
            aggregate: str | None = None,
            schema: int = 1,
            upcasters: Mapping[int, Upcaster] | None = None,
            **options: Any,
        ) -> None: ...

    @property
    def aggregate_id(self) -> str:
        """What the event is about, and the key by which it is kept in order."""
        return str(getattr(self, self.aggregate))

    def check(self) -> None:
        """What the fields' types cannot say; for events to override.

        Raises:
            Rejected: naming the field.
        """

    def payload(self) -> dict[str, Any]:
        """The fields as plain JSON values with their wire names, the aggregate of behaviour apart."""
        payload: dict[str, Any] = msgspec.to_builtins(self)
        return payload

    def seal(  # noqa: PLR0913 - an envelope has that many fields, all given by name
        self,
        *,
        id: str,  # noqa: A002 - its name in the envelope
        shop: str,
        source: str,
        origin: str,
        occurred_at: datetime | None = None,
        received_at: datetime | None = None,
        version: int | None = None,
        visitor_id: str | None = None,
        customer_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        trace: str | None = None,
    ) -> Envelope:
        """Put the event into its envelope; times default to the present (UTC, milliseconds)."""
        received = received_at or now()
        return Envelope(
            id=id,
            name=self.event_name,
            aggregate_id=self.aggregate_id,
            payload=self.payload(),
            occurred_at=millisecond(occurred_at) if occurred_at else received,
            received_at=received,
            shop=shop,
            source=source,
            origin=origin,
            schema=self.schema,
            version=version,
            visitor_id=visitor_id or getattr(self, "visitor_id", None),
            customer_id=customer_id or getattr(self, "customer_id", None),
            correlation_id=correlation_id,
            causation_id=causation_id,
            trace=trace,
        )

    @classmethod
    def open(cls, envelope: Envelope) -> Self:
        """The typed event inside an envelope.

        Raises:
            Rejected: the payload does not have this event's fields, and the reason names the field; or its schema is
                newer than this code.
        """
        return validate(cls, cls.upcast(envelope.payload, envelope.schema))

    @classmethod
    def upcast(cls, payload: Payload, schema: int) -> Payload:
        """A payload of this or an older schema in the present one; the payload given is not changed.

        Raises:
            Rejected: the schema is newer than this code, or an upcaster fails on the payload.
        """
        if schema == cls.schema:
            return payload
        if schema > cls.schema:
            reason = f"schema {schema} of {cls.event_name} is newer than this code"
            raise Rejected(reason, field="schema", code="schema")
        payload = deepcopy(payload)
        for number in range(schema, cls.schema):
            try:
                payload = cls.upcasters[number](payload)
            except Exception as error:
                reason = f"schema {number} of {cls.event_name} has no way up: {type(error).__name__}: {error}"
                raise Rejected(reason, field="payload", code="schema") from error
        return payload


E = TypeVar("E", bound=Event)


def event_type(name: str) -> type[Event] | None:
    """The class that declares this event name, or None for a shop's own (custom) event."""
    return _EventMeta.registry.get(name)


def validate(cls: type[E], payload: dict[str, Any]) -> E:
    """Check a payload against its event's declaration.

    Raises:
        Rejected: naming the field, for example ``payload.lines[0].quantity: Expected `int`, got `str```.
    """
    try:
        event = msgspec.convert(payload, cls)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise Rejected(reason, field=f"payload{path.rstrip('`')}", code="payload") from error
    event.check()
    return event
