"""The doors of the ingest as one raw ASGI app: a 2xx means on disk; bad input is told what is wrong, never a 5xx."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

from rushlight.errors import Rejected, Unavailable
from rushlight.ingest.admission import Admission, TurnedAway
from rushlight.ingest.asgi import Receive, Scope, Send, serve
from rushlight.ingest.context.circumstances import SOMEWHERE
from rushlight.ingest.context.surroundings import Surroundings
from rushlight.ingest.credentials import key_in
from rushlight.ingest.dialects.cloudevents import CloudEvents
from rushlight.ingest.dialects.ga4 import Ga4
from rushlight.ingest.dialects.ga4_debug import Ga4Debug
from rushlight.ingest.dialects.segment import PATHS, Segment
from rushlight.ingest.intake import Intake
from rushlight.ingest.keys import UNSURE, Key, Keyring
from rushlight.ingest.limits import GZIP_MAGIC, MAX_BODY_BYTES, inflate
from rushlight.ingest.origins import check_sender
from rushlight.ingest.refusals import (
    CORS,
    Refused,
    too_large,
    unavailable,
    unknown_key,
    unusable,
)
from rushlight.ingest.rejections import WHOLE, Rejections
from rushlight.ingest.reports import source_of
from rushlight.ingest.request import Answer, Dialect, Rejection, Request
from rushlight.ingest.segment_settings import SETTINGS, serve_settings
from rushlight.ingest.taking import Taking, answering, told, worded

logger = logging.getLogger(__name__)

ALLOWED_HEADERS = (
    *("authorization", "content-type", "content-encoding", "x-write-key", "x-retry-count", "traceparent"),
    *("ce-id", "ce-source", "ce-specversion", "ce-subject", "ce-time", "ce-type"),
)
# Unpacked it may be too much for one piece of work.
PACKED_BYTES = 8 << 10
PREFLIGHT = [
    CORS,
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", ", ".join(ALLOWED_HEADERS).encode()),
    (b"access-control-max-age", b"86400"),
]
DIALECTS: dict[str, Dialect] = {
    "/events": CloudEvents(),
    "/mp/collect": Ga4(),
    "/debug/mp/collect": Ga4Debug(),
    **dict.fromkeys(PATHS, Segment()),
}
# What is sent there is only looked at.
CHECKS = frozenset({"/debug/mp/collect"})


def is_door(path: str) -> bool:
    """Whether what is sent to a path is for the ingest."""
    return path in DIALECTS


class IngestApp:
    """Takes events in, in every dialect.

    Each dialect answers in its own way what it took and what not, with ``{"index", "field", "reason", "code"}`` for
    every event that was refused. 400, 408, 413 and 415 when the request as a whole is unusable, 401 without a valid
    key, 403 for a key that may not be used from there, 429 for one beyond its quota and 503 when there is no room, both
    with ``Retry-After``; these say why in ``{"error": {"code", "field", "message"}}``.

    A server calls `early` when it has a request's head, and `take` when it has the body; as an ASGI app it is served
    by any.

    Args:
        intake: where events go.
        keyring: who may send.
        admission: who is let in when not everybody can be.
        surroundings: what the settings say of proxies and shops.
        rejections: what was turned away is noted there.
    """

    def __init__(
        self,
        intake: Intake,
        keyring: Keyring,
        admission: Admission | None = None,
        surroundings: Surroundings = SOMEWHERE,
        rejections: Rejections | None = None,
    ) -> None:
        self._rejections = rejections
        self._keyring = keyring
        self.admission = admission or Admission(age_seconds=intake.age_seconds)
        self._taking = Taking(intake, self.admission, surroundings, rejections)
        self._verifying: set[asyncio.Task[None]] = set()

    def early(self, method: str, headers: Mapping[str, str], path: str = "") -> Answer | None:
        """The answer to a request whose body need not be read; None for all others."""
        try:
            if method == "OPTIONS":
                return Answer(204, b"", PREFLIGHT)
            if method != "POST":
                raise Refused(405, "use POST", code="method", headers=[(b"allow", b"POST, OPTIONS")])
            length = headers.get("content-length", "")
            if length.isdecimal() and (len(length) > 12 or int(length) > MAX_BODY_BYTES):
                raise self._whole(too_large(), key_in(headers), _name(path))
            if text := key_in(headers):
                key = self._keyring.known(text)
                if key is None:
                    raise self._whole(unknown_key(text), text, _name(path))
                if key is not UNSURE:
                    self._greet(key, headers, path)
        except Refused as refused:
            return told(refused, path)
        return None

    def take(self, request: Request, answer: Callable[[Answer], None]) -> None:
        """Take what a POST brings; ``answer`` is called once, at once or when what was accepted is on disk.

        Args:
            request: its body as it came, packed or not.
        """
        try:
            self._take(request, answer)
        except Refused as refused:
            answer(told(refused, request.path))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request to a path of `DIALECTS`, or for the settings of analytics.js, from any server."""
        if SETTINGS.match(scope["path"]):
            await serve_settings(self._keyring, scope, send)
        else:
            await serve(self, scope, receive, send)

    async def welcome(self, headers: Mapping[str, str], path: str = "") -> None:
        """Find out whose key the headers have, before a body is read that may be long.

        Raises:
            Refused: nobody's, or not now, or it cannot be found out now.
        """
        text = key_in(headers)
        if text and self._keyring.known(text) is UNSURE:
            try:
                self._greet(await self._verify(text), headers, path)
            except Refused as refused:
                refused.answer = worded(refused, path)
                raise

    async def _verify(self, text: str) -> Key:
        try:
            key = await self._keyring.verify(text)
        except Unavailable as error:
            raise unavailable(error) from error
        if key is None:
            raise self._whole(unknown_key(text), text)
        return key

    def _take(self, request: Request, answer: Callable[[Answer], None]) -> None:
        if len(request.body) > PACKED_BYTES and request.body.startswith(GZIP_MAGIC):
            text = key_in(request.headers)
            known = self._keyring.known(text)
            key = known if isinstance(known, Key) else None
            if key is not None:
                self._greet(key, request.headers, request.path)
            work = answering(self._unpacked(request, answer), request, answer)
            self._taking.hold(key, key.prefix if key else f"from {request.client}", len(request.body), work)
        else:
            self._take_whole(request, answer)

    def _unpacked(self, request: Request, answer: Callable[[Answer], None]) -> Iterator[None]:
        yield
        self._take_whole(request, answer)

    def _take_whole(self, request: Request, answer: Callable[[Answer], None]) -> None:
        dialect = DIALECTS[request.path]
        try:
            request.body = inflate(request.body)
        except Rejected as error:
            raise self._whole(unusable(error), key_in(request.headers), dialect.name) from error
        text = key_in(request.headers) or dialect.key_in(request)
        key = self._keyring.known(text)
        if key is UNSURE:
            verifying = asyncio.create_task(self._take_verified(request, dialect, text, answer))
            self._verifying.add(verifying)
            verifying.add_done_callback(self._verifying.discard)
        elif key is None:
            raise self._whole(unknown_key(text), text, dialect.name)
        else:
            self._take_from(key, request, dialect, answer)

    async def _take_verified(
        self, request: Request, dialect: Dialect, text: str, answer: Callable[[Answer], None]
    ) -> None:
        try:
            self._take_from(await self._verify(text), request, dialect, answer)
        except Refused as refused:
            answer(told(refused, request.path))
        except Exception:  # nobody awaits this: without an answer its client would wait for ever
            logger.exception("a request to %s failed", request.path)
            answer(told(Refused(500, "this is our mistake", code="internal"), request.path))

    def _take_from(self, key: Key, request: Request, dialect: Dialect, answer: Callable[[Answer], None]) -> None:
        self._greet(key, request.headers, request.path)
        request.trusted = key.kind == "secret"
        self._taking.take(key, request, dialect, answer, stored=request.path not in CHECKS)

    def _greet(self, key: Key, headers: Mapping[str, str], path: str) -> None:
        """Refuse what can be refused without its body."""
        try:
            check_sender(key, headers)
            self.admission.enter(key, path)
        except Rejected as error:
            self._taking.count(key, [Rejection.of(WHOLE, error)])
            raise Refused(403, error.reason, code=error.code, field=error.field) from error
        except TurnedAway as away:
            self._taking.turn_away(key, away, 1)

    def _whole(self, refused: Refused, text: str, dialect: str = "") -> Refused:
        """Note a request that is refused before its body is read or its sender is known."""
        if self._rejections is not None:
            key = self._keyring.known(text)
            found = Rejection(WHOLE, refused.field, str(refused), refused.code)
            if key is None or key is UNSURE:
                self._rejections.stranger(text, dialect, found)
            else:
                self._rejections.events(key, source_of(key), dialect, [found], b"")
        return refused


def _name(path: str) -> str:
    dialect = DIALECTS.get(path)
    return dialect.name if dialect else ""
