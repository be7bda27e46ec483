"""Why a request is refused as a whole, as the answer that says so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from rushlight.errors import Rejected, Unavailable
from rushlight.ingest.admission import TurnedAway
from rushlight.ingest.limits import MAX_BODY_BYTES, TooLarge
from rushlight.ingest.request import Answer, UnknownMediaType

CORS = (b"access-control-allow-origin", b"*")
# Pages may read when to come again.
EXPOSED = (
    b"access-control-expose-headers",
    b"retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset",
)
MAX_READY_BYTES = 256
COMMON = ((b"content-type", b"application/json"), CORS)


class Refused(Exception):
    """Ends a request; ``answer`` is what its sender is told."""

    def __init__(
        self, status: int, reason: str, *, code: str, field: str = "", headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(reason)
        self.code, self.field = code, field
        self.answer = Answer(status, _error(code, field, reason), headers)


@lru_cache(256)
def _error(code: str, field: str, reason: str) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "field": field, "message": reason}})


def unusable(error: Rejected) -> Refused:
    """A body that cannot be read, or is too much."""
    status = 413 if isinstance(error, TooLarge) else 415 if isinstance(error, UnknownMediaType) else 400
    return Refused(status, error.reason, code=error.code, field=error.field)


def unknown_key(text: str) -> Refused:
    """No key, or none of ours."""
    missing = "no write key: send it as Bearer KEY, X-Write-Key or the user name of Basic, or as writeKey or api_secret"
    return Refused(
        401,
        "this write key is not known: see `rushlight keys list`" if text else missing,
        code="key",
        headers=[(b"www-authenticate", b'Bearer realm="rushlight"')],
    )


def too_large() -> Refused:
    """More than a request may be."""
    # The rest of the body is not read: the connection cannot be used again.
    reason = f"a request may have {MAX_BODY_BYTES >> 10} KiB: send fewer events at once"
    return Refused(413, reason, code="too_large", headers=[(b"connection", b"close")])


def unavailable(error: Unavailable) -> Refused:
    """No room, or something is away; to be tried again."""
    retry_after = (b"retry-after", b"%d" % error.spread_seconds())
    return Refused(503, error.reason, code="unavailable", headers=[EXPOSED, retry_after])


def turned_away(away: TurnedAway) -> Refused:
    """Beyond a quota, or more than is taken; to be tried again."""
    return Refused(away.status, away.reason, code=away.code, headers=[EXPOSED, *away.headers])


def complete(answer: Answer) -> Answer:
    """With the headers that every answer has."""
    if not answer.headers and len(answer.body) <= MAX_READY_BYTES:
        return _ready(answer.status, answer.body)
    return answer._replace(headers=[*(COMMON if answer.body else COMMON[1:]), *answer.headers])


@lru_cache(256)
def _ready(status: int, body: bytes) -> Answer:
    return Answer(status, body, COMMON if body else COMMON[1:])
