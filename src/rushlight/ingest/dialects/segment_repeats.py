"""Segment's ``track`` messages whose content came before, read in one go; all others are left to be read in full."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.ingest.clock import FIRST_YEAR, LAST_YEAR
from rushlight.ingest.limits import MAX_EVENT_BYTES, MAX_EVENTS
from rushlight.ingest.names import MAX_ID_CHARACTERS
from rushlight.ingest.repeats import Again, Content
from rushlight.ingest.request import Rejection, Report

MAX_CONTENTS = 8192
MAX_CONTENT_BYTES = 2048
MAX_SEEN = 65_536

# Whether it came with a secret key; event, properties and context; and the context of the batch.
_What = tuple[bool, str, bytes, bytes, bytes]
ReadInFull = Callable[[int], Report | Rejection]


class _Track(msgspec.Struct, rename="camel", gc=False):
    type: str = ""
    event: str = ""
    message_id: str = ""
    user_id: str | None = None
    anonymous_id: str | None = None
    timestamp: str | None = None
    original_timestamp: str | None = None
    sent_at: str | None = None
    properties: msgspec.Raw = msgspec.Raw(b"")
    context: msgspec.Raw = msgspec.Raw(b"")


class _Batch(msgspec.Struct, rename="camel", gc=False):
    batch: list[_Track]
    context: msgspec.Raw = msgspec.Raw(b"")
    sent_at: str | None = None


class _Came(NamedTuple):
    """How the messages of a request came."""

    trusted: bool
    received_at: datetime
    context: bytes
    sent_at: str | None


_track_decoder = msgspec.json.Decoder(_Track)
_batch_decoder = msgspec.json.Decoder(_Batch)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeError)


class Repeats:
    """Contents that came before, of all keys: what a message says does not depend on who may say it."""

    def __init__(self) -> None:
        self._contents: dict[_What, Content] = {}
        self._older: dict[_What, Content] = {}  # what has not come since the others began to be remembered
        self._seen: set[int] = set()

    def one(
        self, body: bytes, received_at: datetime, in_full: ReadInFull, *, trusted: bool
    ) -> list[Report | Again | Rejection] | None:
        """The only message of a request to ``/v1/track``; None for a body that is no such message."""
        try:
            message = _track_decoder.decode(body)
        except _UNREADABLE:
            return None
        return [self._read(0, message, _Came(trusted, received_at, b"", None), in_full)]

    def batch(
        self, body: bytes, received_at: datetime, in_full: ReadInFull, *, trusted: bool
    ) -> list[Report | Again | Rejection] | None:
        """The messages of a batch; None for a body that has to be read in full."""
        if len(body) > MAX_EVENT_BYTES:  # each message would have to be measured
            return None
        try:
            read = _batch_decoder.decode(body)
        except _UNREADABLE:
            return None
        if not 0 < len(read.batch) <= MAX_EVENTS:
            return None
        came = _Came(trusted, received_at, bytes(read.context), read.sent_at)
        return [
            self._read(index, message, came, in_full) if message.type == "track" else in_full(index)
            for index, message in enumerate(read.batch)
        ]

    def _read(self, index: int, message: _Track, came: _Came, in_full: ReadInFull) -> Report | Again | Rejection:
        user, visitor, message_id = message.user_id, message.anonymous_id or message.user_id, message.message_id
        if (
            not visitor
            or not _is_id(visitor)
            or (user is not None and user is not visitor and not _is_id(user))
            or not 0 < len(message_id) <= MAX_ID_CHARACTERS
        ):
            return in_full(index)
        said = message.original_timestamp or message.timestamp
        try:
            at = _happened(said, message.sent_at or came.sent_at, came.received_at) if said else None
        except (OverflowError, ValueError):
            return in_full(index)
        what = (came.trusted, message.event, bytes(message.properties), bytes(message.context), came.context)
        content = self._contents.get(what) or self._recalled(what)
        if content is not None:
            return Again(content, message_id, visitor, user, at)
        report = in_full(index)
        if isinstance(report, Report):
            self._note(what, report)
        return report

    def _recalled(self, what: _What) -> Content | None:
        content = self._older.pop(what, None)
        if content is not None:
            self._remember(what, content)
        return content

    def _remember(self, what: _What, content: Content) -> None:
        if len(self._contents) >= MAX_CONTENTS:
            self._older, self._contents = self._contents, {}
        self._contents[what] = content

    def _note(self, what: _What, report: Report) -> None:
        """Remember a content when it comes for the second time: most that come once never come again."""
        if report.name in MONEY_EVENTS or report.personal is not None or report.hint is not None:
            return
        if sum([len(part) for part in what[1:]]) > MAX_CONTENT_BYTES:
            return
        mark = hash(what)
        if mark in self._seen:
            self._remember(what, Content(report))
        elif len(self._seen) < MAX_SEEN:
            self._seen.add(mark)
        else:
            self._seen = {mark}


def _is_id(value: str) -> bool:
    return 0 < len(value) <= MAX_ID_CHARACTERS and value.isprintable()


def _happened(said: str, sent: str | None, received_at: datetime) -> datetime:
    """As `rushlight.ingest.clock.corrected` of the usual: times in UTC that make sense.

    Raises:
        ValueError, OverflowError: they are not, and are left to it.
    """
    at = _utc(said)
    if sent:
        at = received_at - (_utc(sent) - at)
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise ValueError("no time at all")
    return min(at, received_at)


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not UTC or moment.year < FIRST_YEAR:
        raise ValueError("not UTC, or no time at all")
    return moment
