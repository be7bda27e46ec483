"""CloudEvents 1.0, structured, in batches and in binary mode: ``source`` and ``id`` together are an event's identity.

``type`` is the event's name, bare (``view_item``) or behind a reversed domain (``io.rushlight.view_item``); ``data``
is its payload, amounts as decimals; ``subject`` stands in for the visitor's or order's id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, NamedTuple
from urllib.parse import unquote

import msgspec

from rushlight.errors import Rejected
from rushlight.ingest.explain import UNREADABLE, explained
from rushlight.ingest.lenient import check_size, check_syntax, split
from rushlight.ingest.request import Answer, Decoded, Rejection, Report, Request, UnknownMediaType

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
# A page's beacon sends text/plain, a hand-written request often application/json.
PLAIN = frozenset({"application/json", "text/plain", ""})
SPEC_VERSION = "1.0"
ACCEPTED_ONE = b'{"accepted":1,"rejected":[]}'
_VERSION_SUFFIX = re.compile(r"\.v\d+\Z")


_Short = Annotated[str, msgspec.Meta(max_length=256)]


class _CloudEvent(msgspec.Struct, gc=False):
    id: str
    source: str
    type: str
    specversion: str
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None
    traceparent: _Short | None = None
    correlationid: _Short | None = None
    causationid: _Short | None = None


_decoder = msgspec.json.Decoder(_CloudEvent)


class CloudEvents:
    """The dialect."""

    name = "cloudevents"

    def key_in(self, _request: Request, /) -> str:
        """Nowhere but in the headers."""
        return ""

    def decode(self, request: Request, /) -> Iterable[Report | Rejection]:
        """Read a request.

        Raises:
            UnknownMediaType: another content type.
            TooLarge: more than 2,500 events.
            Rejected: the body as a whole cannot be read.
        """
        body, headers = request.body, request.headers
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if "ce-specversion" in headers and media_type not in (STRUCTURED, BATCH):
            if not _is_json(media_type):
                raise UnknownMediaType(f"data of {media_type} cannot be kept: send JSON", field="content-type")
            return [_read(0, _Binary(body, headers))]
        if media_type not in (STRUCTURED, BATCH) and media_type not in PLAIN:
            raise UnknownMediaType(f"send {STRUCTURED} or {BATCH}, not {media_type[:80]}", field="content-type")
        start = body.lstrip()[:1]
        if start == b"[" and media_type != STRUCTURED:
            return (_read(index, item) for index, item in enumerate(split(body)))
        if start != b"{":
            raise Rejected("the body is neither a JSON object nor, in a batch, an array", code="json")
        read = _read(0, body)
        if isinstance(read, Rejection):
            check_syntax(body)
        return [read]

    def answer(self, request: Request, decoded: Decoded, /) -> Answer:
        """202 when at least one event was taken; a batch is never refused for what it holds."""
        if decoded.accepted == 1 and not decoded.rejected:
            return Answer(202, ACCEPTED_ONE)
        # Its sender would drop the good with the bad.
        refused = 200 if request.body.lstrip()[:1] == b"[" else 400
        told = {"accepted": decoded.accepted, "rejected": decoded.rejected}
        return Answer(202 if decoded.accepted else refused, msgspec.json.encode(told))


class _Binary(NamedTuple):
    body: bytes
    headers: Mapping[str, str]


def _read(index: int, item: bytes | msgspec.Raw | _Binary | Rejected) -> Report | Rejection:
    try:
        if isinstance(item, Rejected):
            raise item
        return _of_headers(item) if isinstance(item, _Binary) else _of_text(item)
    except Rejected as error:
        return Rejection.of(index, error)


def _of_text(item: bytes | msgspec.Raw) -> Report:
    check_size(item)
    try:
        event = _decoder.decode(item)
    except UNREADABLE as error:
        raise explained(error) from error
    return _of(event)


def _of(event: _CloudEvent) -> Report:
    if event.specversion != SPEC_VERSION:
        raise Rejected(f"must be {SPEC_VERSION}", field="specversion", code="specversion")
    if event.data_base64 is not None or not _is_json(event.datacontenttype or ""):
        raise Rejected("send the payload as JSON in data", field="datacontenttype", code="media_type")
    data = bytes(event.data)
    return Report(
        name=_VERSION_SUFFIX.sub("", event.type).rpartition(".")[2],
        sender=event.source,
        message_id=event.id,
        data=b"" if data == b"null" else data,
        subject=event.subject,
        occurred_at=event.time,
        correlation_id=event.correlationid,
        causation_id=event.causationid,
        trace=event.traceparent,
    )


def _of_headers(item: _Binary) -> Report:
    given = {name.removeprefix("ce-"): unquote(value) for name, value in item.headers.items() if name[:3] == "ce-"}
    check_size(item.body)
    try:
        event = msgspec.convert({name: given[name] for name in given.keys() & _ATTRIBUTES}, _CloudEvent)
    except msgspec.ValidationError as error:
        raise explained(error) from error
    event.data = msgspec.Raw(item.body)
    return _of(event)


_ATTRIBUTES = frozenset(_CloudEvent.__struct_fields__) - {"data", "data_base64", "datacontenttype"}


def _is_json(media_type: str) -> bool:
    plain = media_type.partition(";")[0].strip().lower()
    return plain in PLAIN or plain.endswith(("+json", "/json"))
