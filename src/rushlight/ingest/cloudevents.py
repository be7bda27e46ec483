"""CloudEvents 1.0, structured, in batches and in binary mode: ``source`` and ``id`` together are an event's identity.

``type`` is the event's name, bare (``view_item``) or behind a reversed domain (``io.rushlight.view_item``); ``data``
is its payload, amounts as decimals; ``subject`` stands in for the visitor's or order's id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, NamedTuple
from urllib.parse import unquote

import msgspec

from rushlight.errors import Rejected
from rushlight.events.envelope import Envelope
from rushlight.ingest.explain import explained
from rushlight.ingest.keys import Key
from rushlight.ingest.limits import MAX_EVENT_BYTES, MAX_EVENTS, TooLarge
from rushlight.ingest.reports import Report, seal

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
# A page's beacon sends text/plain, a hand-written request often application/json.
PLAIN = frozenset({"application/json", "text/plain", ""})
SPEC_VERSION = "1.0"
_VERSION_SUFFIX = re.compile(r"\.v\d+\Z")


class Rejection(msgspec.Struct, frozen=True):
    """Why one event of a request was turned away; ``code`` is the word it is counted by."""

    index: int
    field: str
    reason: str
    code: str


class Decoded(NamedTuple):
    """What a request holds: sealed events, how many of the sent ones they come from, and those turned away."""

    envelopes: list[Envelope]
    accepted: int
    rejected: list[Rejection]


class UnknownMediaType(Rejected):
    """The body is in no format that is understood here (HTTP 415)."""


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
_batch_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def decode(body: bytes, headers: Mapping[str, str], key: Key, received_at: datetime) -> Decoded:
    """Read a request: good events are kept, whatever their neighbours are like.

    Args:
        headers: ``content-type`` and, in binary mode, ``ce-…``; lower-case names.

    Raises:
        UnknownMediaType: another content type.
        TooLarge: more than 2,500 events.
        Rejected: the body as a whole cannot be read.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "ce-specversion" in headers and media_type not in (STRUCTURED, BATCH):
        if not _is_json(media_type):
            raise UnknownMediaType(f"data of {media_type} cannot be kept: send JSON", field="content-type")
        return _seal_all([_Binary(body, headers)], key, received_at)
    if media_type not in (STRUCTURED, BATCH) and media_type not in PLAIN:
        raise UnknownMediaType(f"send {STRUCTURED} or {BATCH}, not {media_type[:80]}", field="content-type")
    start = body.lstrip()[:1]
    if start == b"[" and media_type != STRUCTURED:
        return _seal_all(_split(body), key, received_at)
    if start != b"{":
        raise Rejected("the body is neither a JSON object nor, in a batch, an array", code="json")
    decoded = _seal_all([body], key, received_at)
    if decoded.rejected:
        _check_syntax(body)
    return decoded


class _Binary(NamedTuple):
    body: bytes
    headers: Mapping[str, str]


class _Broken(NamedTuple):
    value: object

    def mended(self) -> bytes:
        """The event's JSON, if it is not the one that broke the batch."""
        try:
            return json.dumps(self.value, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            reason = "holds a number that JSON cannot (NaN, Infinity) or text that is not UTF-8"
            raise Rejected(reason, code="json") from error


_Item = bytes | msgspec.Raw | _Binary | _Broken


def _split(body: bytes) -> list[msgspec.Raw] | list[_Broken]:
    items: list[msgspec.Raw] | list[_Broken]
    try:
        items = _batch_decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        items = _split_leniently(body, error)
    if len(items) > MAX_EVENTS:
        raise TooLarge(f"a batch may have {MAX_EVENTS} events, not {len(items)}", code="too_large")
    return items


def _split_leniently(body: bytes, error: Exception) -> list[_Broken]:
    """One event with NaN, half a surrogate pair or broken UTF-8 in it must not cost its neighbours."""
    try:
        items = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        raise Rejected(f"the body is not JSON: {error}", code="json") from error
    return [_Broken(item) for item in items]


def _check_syntax(body: bytes) -> None:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Rejected(f"the body is not JSON: {error}", code="json") from error


def _seal_all(items: Sequence[_Item], key: Key, received_at: datetime) -> Decoded:
    envelopes: list[Envelope] = []
    rejected: list[Rejection] = []
    for index, item in enumerate(items):
        try:
            envelopes += seal(_report(item), key, received_at)
        except Rejected as error:
            rejected.append(Rejection(index, error.field, error.reason, error.code))
    return Decoded(envelopes, len(items) - len(rejected), rejected)


def _report(item: _Item) -> Report:
    if isinstance(item, _Binary):
        return _of_headers(item)
    if isinstance(item, _Broken):
        item = item.mended()
    if len(memoryview(item)) > MAX_EVENT_BYTES:
        raise Rejected(f"is larger than {MAX_EVENT_BYTES >> 10} KiB", code="size")
    try:
        event = _decoder.decode(item)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
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
    if len(item.body) > MAX_EVENT_BYTES:
        raise Rejected(f"is larger than {MAX_EVENT_BYTES >> 10} KiB", code="size")
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
