"""The thin layer between ASGI and the service: bodies with a bound and a deadline, answers with one shape of error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from rushlight.errors import Conflict, Rejected, Retryable, RushlightError, Unavailable

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_BODY_BYTES = 128 * 1024
BODY_TIMEOUT_SECONDS = 10.0

_encode = msgspec.json.Encoder().encode
_COMMON: Headers = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class Refused(Rejected):
    """A request that is refused before its body is looked at, with a status of its own."""

    def __init__(self, status: int, code: str, reason: str, *, headers: Headers | None = None) -> None:
        super().__init__(reason, code=code)
        self.status = status
        self.headers = headers or []


class Disconnected(RushlightError):
    """The client left before its body was complete; nobody is there to be answered."""


class Head(NamedTuple):
    """The headers that matter here."""

    key: bytes | None
    has_json: bool
    length: int


def read_head(scope: Scope) -> Head:
    """Look through the headers once.

    Raises:
        Refused: the body is of another type, encoded, or too large, or a foreign web page sent the request.
    """
    key, kind, length, origin, host = None, None, 0, None, b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value
        elif name == b"content-length":
            length = int(value)
        elif name == b"idempotency-key":
            key = value.strip()
        elif name == b"host":
            host = value
        elif name == b"origin":
            origin = value
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise Refused(415, "encoding", "a body must not be compressed")
    if length > MAX_BODY_BYTES:
        raise _too_large()
    if origin is not None and origin.partition(b"://")[2] != host:
        raise Refused(403, "origin", "orders are not taken from other sites' pages")
    return Head(key, kind is not None and _is_json(kind), length)


class Bodies:
    """Reads bodies; one timer watches over all of them, since one for each would cost more than most bodies do."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.TimerHandle | None = None

    async def read(self, receive: Receive, head: Head) -> bytes:
        """The whole body.

        Raises:
            Refused: it is too large, too slow, or not declared as JSON.
            Disconnected: the client left.
        """
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("bodies are read in tasks")
        self._since[task] = self._loop.time()
        if self._watch is None:
            self._watch = self._loop.call_later(BODY_TIMEOUT_SECONDS / 10, self._expire)
        try:
            body = await _collect(receive)
        except asyncio.CancelledError as error:
            if task not in self._late:
                raise
            task.uncancel()
            raise Refused(408, "timeout", f"the body did not come within {BODY_TIMEOUT_SECONDS:.0f} s") from error
        finally:
            del self._since[task]
            self._late.discard(task)
        if body and not head.has_json:
            raise Refused(415, "content_type", "send the body as Content-Type: application/json")
        return body

    def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()

    def _expire(self) -> None:
        before = self._loop.time() - BODY_TIMEOUT_SECONDS
        for task, since in self._since.items():
            if since <= before and task not in self._late:
                self._late.add(task)
                task.cancel()
        again = bool(self._since)
        self._watch = self._loop.call_later(BODY_TIMEOUT_SECONDS / 10, self._expire) if again else None


async def answer(send: Send, status: int, body: bytes, headers: Headers | None = None) -> None:
    """Send a whole JSON answer."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*_COMMON, length, *(headers or ())]})
    await send({"type": "http.response.body", "body": body})


async def answer_error(send: Send, error: RushlightError) -> None:
    """Send ``{"error": {"code", "field", "message"}}`` with the status that the kind of error has."""
    status, code, field, headers = _classify(error)
    message = getattr(error, "reason", "") or str(error)
    body = {"error": {"code": code, "field": field, "message": message}}
    await answer(send, status, _encode(body), headers)


def _classify(error: RushlightError) -> tuple[int, str, str | None, Headers]:
    match error:
        case Refused():
            return error.status, error.code, None, error.headers
        case Rejected():
            return 404 if error.code == "not_found" else 400, error.code, error.field or None, []
        case Conflict():
            return 422 if error.code == "key_reuse" else 409, error.code, None, []
        case Retryable():
            retry_after = (b"retry-after", b"%d" % error.spread_seconds())
            code = "unavailable" if isinstance(error, Unavailable) else "unknown_outcome"
            return 503, code, None, [retry_after]
    return 500, "internal", None, []


async def _collect(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected("the client left")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return b"".join([*chunks, chunk]) if chunks else chunk
        chunks.append(chunk)


def _too_large() -> Refused:
    return Refused(413, "too_large", f"a body may have at most {MAX_BODY_BYTES} bytes")


def _is_json(kind: bytes) -> bool:
    if kind == b"application/json":
        return True
    media = kind.partition(b";")[0].strip().lower()
    return media == b"application/json" or (media.startswith(b"application/") and media.endswith(b"+json"))
