"""A request as every dialect gets it, and what a dialect makes of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from rushlight.errors import Rejected
from rushlight.events.catalogue import Behaviour
from rushlight.events.envelope import Envelope


class Request(msgspec.Struct, kw_only=True, gc=False):
    """One request whose body has been read. Dialects only read it.

    Attributes:
        path: without the query. query: the raw query string. headers: by lower-case name.
        body: unpacked. received_at: when it came. client: the sender's address as its connection shows it.
        trusted: whether it came with a secret key; False while the key is not known.
        again: whether ``headers`` are those of earlier requests, the same object.
    """

    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    received_at: datetime
    client: str | None = None
    trusted: bool = False
    again: bool = False


class Given(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a sender says of an event's circumstances, not looked at yet.

    Attributes:
        original: the event's name as it was sent, where it is another than the report's.
        campaign: by the fields of `rushlight.events.context.Campaign`.
        consent: as it was sent, by purpose.
        no_id: nothing tells the event from a repeat of it.
    """

    library: str | None = None
    original: str | None = None
    user_agent: str | None = None
    ip: str | None = None
    url: str | None = None
    referrer: str | None = None
    campaign: Mapping[str, Any] | None = None
    device: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    consent: Mapping[str, Any] | None = None
    bot: bool = False
    test: bool = False
    no_id: bool = False


NOTHING = Given()
"""For a sender that says nothing of them."""


class Report(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event as a dialect understood it.

    Attributes:
        name: the event's name. sender, message_id: what a retry of the same report repeats.
        data: its payload: JSON, empty for none, or plain values, which spares a dialect that has them the way back.
        subject: whom or what it is about, where the payload does not say.
        occurred_at: the sender's time, if any, already corrected for the sender's clock.
        given: its circumstances. personal: what names a person, by the trait's name.
        visitor_id, customer_id: of an event of the shop's own; with a visitor here its payload is not asked.
        hint: what its sender should know of a report that was taken.
    """

    name: str
    sender: str
    message_id: str
    data: Any = b""
    subject: str | None = None
    occurred_at: datetime | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    trace: str | None = None
    given: Given = NOTHING
    personal: dict[str, Any] | None = None
    visitor_id: str | None = None
    customer_id: str | None = None
    hint: str | None = None


class Said:
    """What senders say of circumstances in the same words again and again.

    Attributes:
        given: what that is. title: of the page. contexts: the JSON of the contexts that were made of it, by manner.
    """

    __slots__ = ("contexts", "given", "title")

    def __init__(self, given: Given, title: str | None = None) -> None:
        self.given = given
        self.title = title
        self.contexts: dict[Hashable, msgspec.Raw] = {}


class Typed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a visitor did, read in one go: checked, and clean of what may not be kept.

    Ids are printable and have 1 to 256 characters; what is not told here is as in a `Report`.

    Attributes:
        payload: the catalogue's type, or what the shop says of an event of its own. schema: of its shape.
    """

    name: str
    payload: Behaviour | dict[str, Any]
    schema: int = 1
    sender: str
    message_id: str
    visitor_id: str
    customer_id: str | None
    occurred_at: datetime | None
    correlation_id: str | None = None
    said: Said


class Hint(msgspec.Struct, frozen=True):
    """What the sender of an event that was taken should know of it."""

    index: int
    reason: str


class Rejection(msgspec.Struct, frozen=True):
    """Why one event of a request was turned away; ``code`` is the word it is counted by."""

    index: int
    field: str
    reason: str
    code: str

    @classmethod
    def of(cls, index: int, error: Rejected) -> Rejection:
        """The same as an item of the answer."""
        return cls(index, error.field, error.reason, error.code)


class Decoded(NamedTuple):
    """What a request holds: sealed events, how many of the sent ones they come from, those turned away, and hints."""

    envelopes: list[Envelope]
    accepted: int
    rejected: list[Rejection]
    hints: Sequence[Hint] = ()


class Answer(NamedTuple):
    """A response's status, body and headers beside the usual ones."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()


class UnknownMediaType(Rejected):
    """The body is in no format that is understood here (HTTP 415)."""


class Dialect(Protocol):
    """One way of talking to the ingest. ``name`` is the word for it in an event's context."""

    name: str

    def key_in(self, request: Request, /) -> str:
        """The write key where only this dialect puts it (body, query), or an empty text."""

    def decode(self, request: Request, /) -> Iterable[Report | Typed | Rejection]:
        """The request's events in their order; one that cannot be read costs only itself.

        What is no list is read as it is asked for, so that others can be answered in between.

        Raises:
            TooLarge, UnknownMediaType, Rejected: the body as a whole is beyond the limits or cannot be read; not later
                than the first event is given.
        """

    def answer(self, request: Request, decoded: Decoded, /) -> Answer:
        """What this dialect's senders expect when the accepted events are on disk."""
