"""Items of a JSON array one by one, so that one that cannot be read does not cost its neighbours."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from rushlight.errors import Rejected
from rushlight.ingest.limits import MAX_EVENT_BYTES, MAX_EVENTS, TooLarge

_raw_items = msgspec.json.Decoder(list[msgspec.Raw])
_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def split(body: bytes | msgspec.Raw) -> list[bytes | msgspec.Raw | Rejected]:
    """The JSON text of each item, or why it has none.

    Raises:
        TooLarge: more items than one request may have.
        Rejected: the body is not a JSON array.
    """
    items: list[bytes | msgspec.Raw | Rejected]
    try:
        items = [*_raw_items.decode(body)]
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        items = [*_split_leniently(bytes(body), error)]
    if len(items) > MAX_EVENTS:
        raise TooLarge(f"a batch may have {MAX_EVENTS} events, not {len(items)}", code="too_large")
    return items


def split_member(body: bytes, name: str) -> tuple[bytes, list[bytes | msgspec.Raw | Rejected]]:
    """An object's JSON without one member, and the items of the array which that member is; none if it is absent.

    Raises:
        TooLarge: more items than one request may have.
        Rejected: the body is not a JSON object, or the member not an array.
    """
    items: bytes | msgspec.Raw | None
    try:
        members = _raw_members.decode(body)
        items = members.pop(name, None)
        rest = msgspec.json.encode(members)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        rest, items = _member_leniently(body, name, error)
    if items is None or bytes(items).strip() == b"null":
        return rest, []
    if bytes(items).lstrip()[:1] != b"[":
        raise Rejected("must be an array", field=name, code="json")
    return rest, split(items)


def check_size(item: bytes | msgspec.Raw) -> None:
    """Refuse an event that is larger than one may be.

    Raises:
        Rejected: it is.
    """
    if len(memoryview(item)) > MAX_EVENT_BYTES:
        raise Rejected(f"is larger than {MAX_EVENT_BYTES >> 10} KiB", code="size")


def check_syntax(body: bytes) -> None:
    """Tell a body that is not JSON from one whose JSON says something wrong.

    Raises:
        Rejected: it is not JSON.
    """
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Rejected(f"the body is not JSON: {error}", code="json") from error


def _split_leniently(body: bytes, error: Exception) -> list[bytes | Rejected]:
    """An item with NaN, half a surrogate pair or broken UTF-8 in it is the only one that goes."""
    try:
        items = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        raise Rejected(f"the body is not JSON: {error}", code="json") from error
    if not isinstance(items, list):
        raise Rejected("the body is not a JSON array", code="json")
    return [_mended(item) for item in items]


def _member_leniently(body: bytes, name: str, error: Exception) -> tuple[bytes, bytes | None]:
    try:
        members = json.loads(body.decode("utf-8", "surrogateescape"))
        if not isinstance(members, dict):
            raise Rejected("the body is not a JSON object", code="json")
        items = members.pop(name, None)
        rest = json.dumps(members, ensure_ascii=False, allow_nan=False).encode()
        # What only an item cannot bear is found when the items are looked at one by one.
        kept = None if items is None else json.dumps(items).encode()
    except (ValueError, RecursionError):
        raise Rejected(f"the body is not JSON: {error}", code="json") from error
    return rest, kept


def _mended(item: Any) -> bytes | Rejected:
    try:
        return json.dumps(item, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return Rejected("holds a number that JSON cannot (NaN, Infinity) or text that is not UTF-8", code="json")
