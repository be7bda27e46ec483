"""``POST /events`` as a raw ASGI app: a 2xx means on disk; bad input is answered with what is wrong, never a 5xx."""

from __future__ import annotations

import asyncio
import math
import random
from base64 import b64decode
from binascii import Error as BadBase64
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from rushlight.errors import Rejected, Unavailable
from rushlight.events.envelope import now
from rushlight.ingest.cloudevents import Decoded, UnknownMediaType, decode
from rushlight.ingest.intake import Intake
from rushlight.ingest.keys import Key, Keyring
from rushlight.ingest.limits import MAX_BODY_BYTES, TooLarge, inflate
from rushlight.ingest.reports import source_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 10.0
HEADERS = frozenset({b"authorization", b"x-write-key", b"content-type", b"content-length"})
ALLOWED_HEADERS = (
    *("authorization", "content-type", "content-encoding", "x-write-key", "traceparent"),
    *("ce-id", "ce-source", "ce-specversion", "ce-subject", "ce-time", "ce-type"),
)
CORS = (b"access-control-allow-origin", b"*")
JSON = (b"content-type", b"application/json")
PREFLIGHT = [
    CORS,
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", ", ".join(ALLOWED_HEADERS).encode()),
    (b"access-control-max-age", b"86400"),
]
ACCEPTED_ONE = b'{"accepted":1,"rejected":[]}'


class _Answer(Exception):
    """Ends a request early."""

    def __init__(
        self, status: int, reason: str, *, code: str, field: str = "", headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.body = msgspec.json.encode({"error": {"code": code, "field": field, "message": reason}})
        self.headers = headers


class _Gone(Exception):
    """The client has left in mid-request."""


class IngestApp:
    """Takes CloudEvents in.

    Answers 202 when at least one event is on disk, 400 when the only one and 200 when a whole batch was refused, with
    ``{"accepted": n, "rejected": [{"index", "field", "reason", "code"}]}``; 400, 408, 413 and 415 when the request as a
    whole is unusable, 401 without a valid key, 503 with ``Retry-After`` when there is no room; these say why in
    ``{"error": {"code", "field", "message"}}``.

    Args:
        intake: where events go.
        keyring: who may send.
    """

    def __init__(self, intake: Intake, keyring: Keyring) -> None:
        self._intake = intake
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, whatever its path."""
        try:
            status, body = await self._handle(scope, receive)
            headers: list[tuple[bytes, bytes]] = [JSON, CORS] if body else PREFLIGHT
        except _Gone:
            return
        except _Answer as answer:
            status, body = answer.status, answer.body
            headers = [JSON, CORS, *answer.headers]
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _handle(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        method = scope["method"]
        if method == "OPTIONS":
            return 204, b""
        if method != "POST":
            raise _Answer(405, "use POST", code="method", headers=[(b"allow", b"POST, OPTIONS")])
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in HEADERS or name.startswith(b"ce-")
        }
        key = await self._authenticate(headers)
        body = await _read(headers, receive)
        decoded = self._decode(body, headers, key)
        try:
            await self._intake.accept(decoded.envelopes)
        except Unavailable as error:
            raise _unavailable(error) from error
        except Rejected as error:  # what is small on the wire can be large as an event
            raise _Answer(413, error.reason, code=error.code, field=error.field) from error
        if decoded.rejected:
            self._count(key, [rejection.code for rejection in decoded.rejected])
        elif decoded.accepted == 1:
            return 202, ACCEPTED_ONE
        answer = {"accepted": decoded.accepted, "rejected": decoded.rejected}
        # A batch is never refused for what it holds: its sender would drop the good with the bad.
        refused = 200 if body.lstrip()[:1] == b"[" else 400
        return 202 if decoded.accepted else refused, msgspec.json.encode(answer)

    async def _authenticate(self, headers: dict[str, str]) -> Key:
        text = _key_in(headers)
        try:
            key = await self._keyring.verify(text) if text else None
        except Unavailable as error:
            raise _unavailable(error) from error
        if key is None:
            reason = "send a write key as Authorization: Bearer KEY, as the user name of Basic, or as X-Write-Key"
            raise _Answer(
                401,
                "this write key is not known" if text else reason,
                code="key",
                headers=[(b"www-authenticate", b'Bearer realm="rushlight"')],
            )
        return key

    def _decode(self, body: bytes, headers: dict[str, str], key: Key) -> Decoded:
        try:
            return decode(inflate(body), headers, key, now())
        except Rejected as error:
            self._count(key, [error.code])
            status = 413 if isinstance(error, TooLarge) else 415 if isinstance(error, UnknownMediaType) else 400
            raise _Answer(status, error.reason, code=error.code, field=error.field) from error

    def _count(self, key: Key, codes: list[str]) -> None:
        for code, count in Counter(codes).items():
            self._intake.reject(source_of(key), code, count)


async def _read(headers: dict[str, str], receive: Receive) -> bytes:
    length = headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 12 or int(length) > MAX_BODY_BYTES):
        raise _too_large()
    message = await _next(receive)
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read_rest(body, receive)
        except TimeoutError as error:
            raise _Answer(408, "the body did not come in time", code="slow") from error
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


async def _read_rest(body: bytes, receive: Receive) -> bytes:
    parts = [body]
    size = len(body)
    more = True
    while more:
        message = await _next(receive)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise _too_large()
        more = message.get("more_body", False)
    return b"".join(parts)


async def _next(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Gone
    return message


def _key_in(headers: dict[str, str]) -> str:
    authorization = headers.get("authorization", "")
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return b64decode(credentials, validate=True).decode("latin-1").partition(":")[0]
        except (BadBase64, ValueError):
            return ""
    return headers.get("x-write-key", "").strip()


def _too_large() -> _Answer:
    # The rest of the body is not read: the connection cannot be used again.
    reason = f"a request may have {MAX_BODY_BYTES >> 10} KiB: send fewer events at once"
    return _Answer(413, reason, code="too_large", headers=[(b"connection", b"close")])


def _unavailable(error: Unavailable) -> _Answer:
    # Spread out: those who were refused together should not come back together.
    seconds = math.ceil(error.retry_after_seconds * random.uniform(1, 2))
    return _Answer(503, error.reason, code="unavailable", headers=[(b"retry-after", b"%d" % seconds)])
