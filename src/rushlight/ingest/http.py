"""The doors of the ingest as one raw ASGI app: a 2xx means on disk; bad input is told what is wrong, never a 5xx."""

from __future__ import annotations

import asyncio
import math
import random
from base64 import b64decode
from binascii import Error as BadBase64
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from rushlight.errors import Rejected, Unavailable
from rushlight.events.envelope import now
from rushlight.ingest.context.circumstances import Circumstances
from rushlight.ingest.dialects.cloudevents import CloudEvents
from rushlight.ingest.dialects.ga4 import Ga4
from rushlight.ingest.dialects.ga4_debug import Ga4Debug
from rushlight.ingest.intake import Intake
from rushlight.ingest.keys import Key, Keyring
from rushlight.ingest.limits import MAX_BODY_BYTES, TooLarge, inflate
from rushlight.ingest.reports import seal_all, source_of
from rushlight.ingest.request import Answer, Decoded, Dialect, Request, UnknownMediaType

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 10.0
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
DIALECTS: dict[str, Dialect] = {"/events": CloudEvents(), "/mp/collect": Ga4(), "/debug/mp/collect": Ga4Debug()}
# What is sent there is only looked at.
CHECKS = frozenset({"/debug/mp/collect"})


class _Refused(Exception):
    """Ends a request early."""

    def __init__(
        self, status: int, reason: str, *, code: str, field: str = "", headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(reason)
        body = msgspec.json.encode({"error": {"code": code, "field": field, "message": reason}})
        self.answer = Answer(status, body, headers)


class _Gone(Exception):
    """The client has left in mid-request."""


def dialect_of(path: str) -> Dialect | None:
    """Who reads what is sent to a path, or None for a path that is no door of the ingest."""
    return DIALECTS.get(path)


class IngestApp:
    """Takes events in, in every dialect.

    Each dialect answers in its own way what it took and what not, with ``{"index", "field", "reason", "code"}`` for
    every event that was refused. 400, 408, 413 and 415 when the request as a whole is unusable, 401 without a valid
    key, 503 with ``Retry-After`` when there is no room; these say why in ``{"error": {"code", "field", "message"}}``.

    Args:
        intake: where events go.
        keyring: who may send.
    """

    def __init__(self, intake: Intake, keyring: Keyring) -> None:
        self._intake = intake
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request to a path of `DIALECTS`."""
        try:
            answer = await self._handle(scope, receive)
            headers: list[tuple[bytes, bytes]] = [JSON, CORS, *answer.headers] if answer.body else PREFLIGHT
        except _Gone:
            return
        except _Refused as refused:
            answer = refused.answer
            headers = [JSON, CORS, *answer.headers]
        headers = [*headers, (b"content-length", b"%d" % len(answer.body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _handle(self, scope: Scope, receive: Receive) -> Answer:
        method = scope["method"]
        if method == "OPTIONS":
            return Answer(204, b"")
        dialect = DIALECTS[scope["path"]]
        if method != "POST":
            raise _Refused(405, "use POST", code="method", headers=[(b"allow", b"POST, OPTIONS")])
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = Request(
            path=scope["path"],
            query=scope.get("query_string", b"").decode("latin-1"),
            headers=headers,
            received_at=now(),
            client=(scope.get("client") or (None,))[0],
        )
        if key_text := _key_in(headers):
            key = await self._verify(key_text)
            request = replace(request, body=_inflate(await _read(headers, receive)))
        else:
            request = replace(request, body=_inflate(await _read(headers, receive)))
            key = await self._verify(dialect.key_in(request))
        request = replace(request, trusted=key.kind == "secret")
        decoded = self._decode(request, dialect, key)
        if request.path in CHECKS:
            return dialect.answer(request, decoded)
        try:
            await self._intake.accept(decoded.envelopes)
        except Unavailable as error:
            raise _unavailable(error) from error
        except Rejected as error:  # what is small on the wire can be large as an event
            raise _Refused(413, error.reason, code=error.code, field=error.field) from error
        if decoded.rejected:
            self._count(key, [rejection.code for rejection in decoded.rejected])
        return dialect.answer(request, decoded)

    async def _verify(self, text: str) -> Key:
        try:
            key = await self._keyring.verify(text) if text else None
        except Unavailable as error:
            raise _unavailable(error) from error
        if key is None:
            reason = "send a write key as Authorization: Bearer KEY, as the user name of Basic, or as X-Write-Key"
            raise _Refused(
                401,
                "this write key is not known" if text else reason,
                code="key",
                headers=[(b"www-authenticate", b'Bearer realm="rushlight"')],
            )
        return key

    def _decode(self, request: Request, dialect: Dialect, key: Key) -> Decoded:
        try:
            items = dialect.decode(request)
        except Rejected as error:
            self._count(key, [error.code])
            raise _unusable(error) from error
        return seal_all(items, key, request.received_at, Circumstances(request, dialect.name, key))

    def _count(self, key: Key, codes: list[str]) -> None:
        for code, count in Counter(codes).items():
            self._intake.reject(source_of(key), code, count)


def _inflate(body: bytes) -> bytes:
    try:
        return inflate(body)
    except Rejected as error:
        raise _unusable(error) from error


def _unusable(error: Rejected) -> _Refused:
    status = 413 if isinstance(error, TooLarge) else 415 if isinstance(error, UnknownMediaType) else 400
    return _Refused(status, error.reason, code=error.code, field=error.field)


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
            raise _Refused(408, "the body did not come in time", code="slow") from error
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


def _too_large() -> _Refused:
    # The rest of the body is not read: the connection cannot be used again.
    reason = f"a request may have {MAX_BODY_BYTES >> 10} KiB: send fewer events at once"
    return _Refused(413, reason, code="too_large", headers=[(b"connection", b"close")])


def _unavailable(error: Unavailable) -> _Refused:
    # Spread out: those who were refused together should not come back together.
    seconds = math.ceil(error.retry_after_seconds * random.uniform(1, 2))
    return _Refused(503, error.reason, code="unavailable", headers=[(b"retry-after", b"%d" % seconds)])
