"""How much a sender may put into one request, one event and one payload; beyond it is refused, never cut off."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from rushlight.errors import Rejected

MAX_BODY_BYTES = 1 << 20
MAX_INFLATED_BYTES = 4 << 20
MAX_EVENT_BYTES = 64 << 10
MAX_EVENTS = 2500
MAX_DEPTH = 12
MAX_KEYS = 400
MAX_KEY_CHARACTERS = 128
INT64 = 1 << 63
MAX_RATIO = 200
MAX_GZIP_PARTS = 16
GZIP_MAGIC = b"\x1f\x8b"


class TooLarge(Rejected):
    """The whole request is beyond what one request may be (HTTP 413)."""


def inflate(body: bytes) -> bytes:
    """The body, unpacked when it is gzip, however it was labelled.

    Raises:
        TooLarge: it would unpack to more than 4 MiB, or to 200 times its size and more than 1 MiB.
        Rejected: it begins like gzip and is not, or has too many parts.
    """
    if not body.startswith(GZIP_MAGIC):
        return body
    room = min(MAX_INFLATED_BYTES, max(MAX_BODY_BYTES, MAX_RATIO * len(body)))
    parts: list[bytes] = []
    rest = body
    while rest.startswith(GZIP_MAGIC) and len(parts) < MAX_GZIP_PARTS:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(rest, room + 1))
        except zlib.error as error:
            raise Rejected(f"the body is not gzip: {error}", code="gzip") from error
        room -= len(parts[-1])
        if room < 0:
            reason = f"the body unpacks to more than {MAX_INFLATED_BYTES >> 20} MiB or {MAX_RATIO} times its size"
            raise TooLarge(reason, code="too_large")
        if not unpacker.eof:
            raise Rejected("the gzip body is cut off", code="gzip")
        rest = unpacker.unused_data
    if rest.strip(b"\0"):
        raise Rejected("the gzip body is followed by something else", code="gzip")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def check_payload(value: Any, path: str) -> None:
    """Refuse what the journal could not hold or a reader could not bear.

    Raises:
        Rejected: too deep, too many keys, a key that is too long or has a NUL, an integer beyond 64 bits.
    """
    keys = 0
    level = list(_holding({"": value}, path))
    for _ in range(MAX_DEPTH):
        # Only what holds something has its place in words: of plain values there may be many thousands.
        below: list[tuple[str, Any]] = []
        for place, inner in level:
            if isinstance(inner, dict):
                keys += len(inner)
                if keys > MAX_KEYS:
                    raise Rejected(f"has more than {MAX_KEYS} keys", field=path, code="too_many_keys")
                for key in inner:
                    _check_key(key, place)
            below += _holding(inner, place)
        if not any(inner for _, inner in level):
            return
        level = below
    raise Rejected(f"is nested deeper than {MAX_DEPTH} levels", field=path, code="too_deep")


def _holding(inner: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The objects and arrays directly in one, with their places; its integers are checked."""
    for key, child in inner.items() if isinstance(inner, dict) else enumerate(inner):
        if isinstance(child, dict | list):
            yield _place(place, key), child
        elif isinstance(child, int) and not -INT64 <= child < INT64:
            reason = "is beyond 64 bits; send it as a string"
            raise Rejected(reason, field=_place(place, key)[:200], code="number")


def _place(place: str, key: str | int) -> str:
    return f"{place}[{key}]" if isinstance(key, int) else f"{place}.{key}" if key else place


def check_text(value: str | None, field: str) -> None:
    """Refuse an id that cannot be seen in a list.

    Raises:
        Rejected: it has control characters.
    """
    if value is not None and not value.isprintable():
        raise Rejected("must not contain control characters", field=field, code="text")


def _check_key(key: str, place: str) -> None:
    if len(key) > MAX_KEY_CHARACTERS or "\0" in key:
        reason = f"has a key that is longer than {MAX_KEY_CHARACTERS} characters or contains a NUL"
        raise Rejected(reason, field=place[:200], code="key")
