"""What a request holds at best, seen without reading it: views that find no room are refused before they cost much."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from rushlight.ingest.dialects.segment import PATHS
from rushlight.ingest.explain import UNREADABLE
from rushlight.ingest.ga4_payload import NAMES
from rushlight.ingest.log.priority import MONEY, VIEWS, priority_of
from rushlight.ingest.names import MONEY_OF, event_name
from rushlight.ingest.request import Request

PAGES = {"page": "page_view", "screen": "screen"}


class Glance(NamedTuple):
    """What was seen; nothing that the request holds is of a higher class.

    Attributes:
        events: how many there are. priority: as in `rushlight.ingest.log.priority`.
    """

    events: int = 1
    priority: int = MONEY


class _Message(msgspec.Struct, gc=False):
    type: str | None = None
    event: str | None = None


class _Batch(_Message, gc=False):
    batch: list[_Message] | None = None


class _Event(msgspec.Struct, gc=False):
    name: str


class _Events(msgspec.Struct, gc=False):
    events: list[_Event]


_read_batch = msgspec.json.Decoder(_Batch).decode
_read_events = msgspec.json.Decoder(_Events).decode
_read_cloud_event = msgspec.json.Decoder(_Message).decode
_read_cloud_events = msgspec.json.Decoder(list[_Message]).decode


def glance(dialect: str, request: Request) -> Glance:
    """Look at a request in a dialect; what is not understood may be anything."""
    try:
        priorities = [priority_of(MONEY_OF.get(name, name)) for name in _READERS[dialect](request)]
    except (*UNREADABLE, _Unclear):
        return Glance()
    return Glance(len(priorities), max(priorities)) if priorities else Glance()


class _Unclear(Exception):
    """An event may have any name."""


def _segment(request: Request) -> Iterable[str]:
    message = _read_batch(request.body)
    kind = PATHS[request.path]
    if kind is not None:
        return [_said(kind, message.event)]
    return [_said((each.type or "").lower(), each.event) for each in message.batch or ()]


def _said(kind: str, event: str | None) -> str:
    if kind == "track":
        return _named(event)
    if kind in PAGES:
        return PAGES[kind]
    raise _Unclear


def _ga4(request: Request) -> Iterable[str]:
    return [NAMES.get(each.name) or _named(each.name) for each in _read_events(request.body).events]


def _cloud_events(request: Request) -> Iterable[str]:
    if "ce-specversion" in request.headers:
        raise _Unclear
    several = request.body.lstrip()[:1] == b"["
    events = _read_cloud_events(request.body) if several else [_read_cloud_event(request.body)]
    names = [(each.type or "").rpartition(".")[2] for each in events]
    if VIEWS.issuperset(names):
        return names
    raise _Unclear


def _named(sent: str | None) -> str:
    if not sent:
        raise _Unclear
    return event_name(sent)


_READERS: dict[str, Callable[[Request], Iterable[str]]] = {
    "segment": _segment,
    "ga4": _ga4,
    "cloudevents": _cloud_events,
}
