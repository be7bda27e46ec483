"""Requests that are answered without an ASGI scope and without a task: heads that are known, answers that are ready."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple, Protocol
from urllib.parse import unquote

import httptools

from rushlight.ingest.admission import Admission
from rushlight.ingest.limits import MAX_BODY_BYTES
from rushlight.ingest.request import Answer, Request

MAX_REMEMBERED_HEADS = 2048
MAX_REMEMBERED_BYTES = 2048
MAX_READY_BYTES = 256
_LENGTH = re.compile(rb"\r\ncontent-length: ?(\d{1,9})(?=\r\n)", re.IGNORECASE)


class Door(Protocol):
    """What answers such requests."""

    admission: Admission

    def early(self, method: str, headers: Mapping[str, str], path: str, /) -> Answer | None:
        """The answer to a request whose body need not be read; None for all others."""

    def take(self, request: Request, answer: Callable[[Answer], None], /) -> None:
        """Take a request; ``answer`` is called once."""


class Direct(NamedTuple):
    """A door, the paths that lead to it, and who counts its answers (status, seconds)."""

    door: Door
    serves: Callable[[str], bool]
    counted: Callable[[int, float], None]


class Head(NamedTuple):
    """A request's line and headers, read.

    Attributes:
        length: of the body, when it is known.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    keep_alive: bool
    length: int | None

    @property
    def is_plain(self) -> bool:
        """Whether the same bytes again need no parser: a body of known length and nothing else asked for."""
        short = self.length is not None and self.length <= MAX_BODY_BYTES
        return short and self.method == "POST" and "expect" not in self.headers


def path_of(url: bytes) -> tuple[str, str]:
    """Path and query of a request's target."""
    parsed = httptools.parse_url(url)
    path = (parsed.path or b"").decode("ascii")
    return unquote(path) if "%" in path else path, (parsed.query or b"").decode("latin-1")


def read_head(parser: httptools.HttpRequestParser, url: bytes, fields: Sequence[tuple[bytes, bytes]]) -> Head:
    """What the parser has just read."""
    path, query = path_of(url)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
    if "x-forwarded-for" in headers:  # each proxy may write one of its own
        hops = [value.decode("latin-1") for name, value in fields if name == b"x-forwarded-for"]
        headers["x-forwarded-for"] = ", ".join(hops)
    length = headers.get("content-length", "" if "transfer-encoding" in headers else "0")
    return Head(
        method=parser.get_method().decode("ascii"),
        path=path,
        query=query,
        headers=headers,
        keep_alive=parser.get_http_version() == "1.1" and parser.should_keep_alive(),
        length=int(length) if length.isdecimal() and len(length) < 10 else None,
    )


def declined(parser: httptools.HttpRequestParser, url: bytes, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The head that the parser has just read, without the offer to speak another protocol: as if it were ignored."""
    line = b"%b %b HTTP/%b" % (parser.get_method(), url, parser.get_http_version().encode())
    kept = [b"%b: %b" % field for field in fields if field[0] not in (b"upgrade", b"http2-settings")]
    return b"\r\n".join([line, *kept, b"", b""])


class Heads:
    """Heads by their bytes: a client repeats its own for each request, but for the body's length.

    Heads that differ in it alone share their headers, without it.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self._models: dict[tuple[bytes, bytes], Head] = {}  # by what stands before and behind the length's digits
        self.get = self._known.get

    def learn(self, text: bytes, head: Head) -> None:
        """Remember a head that the parser has accepted."""
        if len(text) > MAX_REMEMBERED_BYTES or not head.is_plain:
            return
        length = _LENGTH.search(text)
        # With the word a second time in it, it would not be sure that these are the digits that the parser read.
        if length and text.lower().count(b"content-length") == 1 and "transfer-encoding" not in head.headers:
            headers = {name: value for name, value in head.headers.items() if name != "content-length"}
            head = head._replace(headers=headers)
            if len(self._models) >= MAX_REMEMBERED_HEADS:
                self._models.clear()
            self._models[text[: length.start(1)], text[length.end(1) :]] = head
        self._remember(text, head)

    def like(self, text: bytes) -> Head | None:
        """A head that is not known, from one that differs in the body's length alone."""
        length = _LENGTH.search(text)
        model = self._models.get((text[: length.start(1)], text[length.end(1) :])) if length else None
        if length is None or model is None:
            return None
        head = model._replace(length=int(length[1]))
        if not head.is_plain:
            return None
        self._remember(text, head)
        return head

    def _remember(self, text: bytes, head: Head) -> None:
        if len(self._known) >= MAX_REMEMBERED_HEADS:
            self._known.clear()
        self._known[text] = head


def rendered(answer: Answer, *, keep_alive: bool) -> bytes:
    """The bytes of an answer."""
    if len(answer.body) <= MAX_READY_BYTES:
        return _ready(answer.status, answer.body, tuple(answer.headers), keep_alive)
    return _rendered(answer.status, answer.body, tuple(answer.headers), keep_alive)


def _rendered(status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...], keep_alive: bool) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
    lines += [b"%b: %b" % header for header in headers]
    if status != HTTPStatus.NO_CONTENT:
        lines.append(b"content-length: %d" % len(body))
    if not keep_alive and (b"connection", b"close") not in headers:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", body])


_ready = lru_cache(512)(_rendered)
