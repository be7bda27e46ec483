"""Items of a JSON array one by one, so that one that cannot be read does not cost its neighbours."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

from rushlight.errors import Rejected
from rushlight.ingest.explain import UNREADABLE
from rushlight.ingest.limits import MAX_BODY_BYTES, MAX_EVENT_BYTES, MAX_EVENTS, MAX_INFLATED_BYTES, TooLarge

ABSENT = msgspec.Raw(b"")
_raw_items = msgspec.json.Decoder(list[msgspec.Raw])
# As many items as a request may have, and one more; what lies behind them is passed over, and nothing made of it.
_first_items = msgspec.json.Decoder(
    msgspec.defstruct("Items", [(f"item_{n}", msgspec.Raw, ABSENT) for n in range(MAX_EVENTS + 1)], array_like=True)
)
# A string that does not end goes to the end of the text: each byte is looked at a few times at most, whatever a sender
# thinks of. Objects and arrays that hold at most one more level are passed over as a whole: most of an event is. Groups
# are atomic, not repeated possessively, which before Python 3.11.5 finds what is not there.
_STRING = rb'"(?>(?:[^"\\]++|\\.)*)"?'
_FLAT = rb'[^"\[\]{}]++|' + _STRING
_LEAF = rb"\{(?>(?:%b)*)\}|\[(?>(?:%b)*)\]" % (_FLAT, _FLAT)
_TWIG = rb"\{(?>(?:%b|%b)*)\}|\[(?>(?:%b|%b)*)\]" % (_FLAT, _LEAF, _FLAT, _LEAF)
_NEXT_SIGN = re.compile(rb"(?>(?:%b|%b)*)([\[\]{}])" % (_FLAT, _TWIG), re.DOTALL)
_NEXT_SIGN_OR_COMMA = re.compile(rb'(?>(?:[^"\[\]{},]++|%b|%b)*)([\[\]{},])' % (_STRING, _TWIG), re.DOTALL)
_MEMBER = re.compile(rb"\s*(" + _STRING + rb")\s*:\s*(.*)\Z", re.DOTALL)
# Text that JSON's own parser refuses is looked at in Python, so that only so much of it is; no SDK sends more at once.
MAX_LENIENT_BYTES = 512 << 10
MAX_SIGNS = 30_000
MAX_OPEN = 20_000
_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def split(body: bytes | msgspec.Raw) -> list[bytes | msgspec.Raw | Rejected]:
    """The JSON text of each item, or why it has none.

    Raises:
        TooLarge: more items than one request may have.
        Rejected: the body is not a JSON array.
    """
    items: list[bytes | msgspec.Raw | Rejected]
    try:
        if len(body) > MAX_EVENT_BYTES:
            items = [item for item in msgspec.structs.astuple(_first_items.decode(body)) if item]
        else:
            items = [*_raw_items.decode(body)]
    except UNREADABLE as error:
        items = [*_split_leniently(bytes(body), error)]
    if len(items) > MAX_EVENTS:
        raise TooLarge(f"a batch may have {MAX_EVENTS} events", code="too_large")
    return items


def split_member(body: bytes, name: str) -> tuple[bytes, list[bytes | msgspec.Raw | Rejected]]:
    """An object's JSON without one member, and the items of the array which that member is; none if it is absent.

    What stands beside the items is read with each of them: written out there it may be as much as a body unpacked.

    Raises:
        TooLarge: more items than one request may have, or too much beside so many.
        Rejected: the body is not a JSON object, or the member not an array.
    """
    items: bytes | msgspec.Raw | None
    try:
        if len(body) > MAX_EVENT_BYTES:
            _check_beside(len(body) - len(_only(name).decode(body).member))
        members = _raw_members.decode(body)
        items = members.pop(name, None)
        rest = msgspec.json.encode(members)
    except UNREADABLE as error:
        rest, items = _member_leniently(body, name, error)
    if items is None or bytes(items).strip() == b"null":
        return rest, []
    if bytes(items).lstrip()[:1] != b"[":
        raise Rejected("must be an array", field=name, code="json")
    found = split(items)
    if len(rest) * len(found) > MAX_INFLATED_BYTES:
        most = MAX_INFLATED_BYTES // len(found)
        raise TooLarge(f"{len(found)} events may have {most} bytes beside them, not {len(rest)}", code="too_large")
    return rest, found


@cache
def _only(name: str) -> msgspec.json.Decoder[Any]:
    """Reads one member of an object, and passes over the others."""
    only = msgspec.defstruct("Only", [("member", msgspec.Raw, ABSENT)], rename={"member": name})
    return msgspec.json.Decoder(only)


def _check_beside(size: int) -> None:
    if size > MAX_BODY_BYTES:  # of which as many members could be made as take everybody's time
        raise TooLarge(f"events may have {MAX_BODY_BYTES >> 10} KiB beside them", code="too_large")


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
    except UNREADABLE as error:
        raise Rejected(f"the body is not JSON: {error}", code="json") from error


def _split_leniently(body: bytes, error: Exception) -> list[bytes | Rejected]:
    """An item with NaN, half a surrogate pair, broken UTF-8 or ten thousand brackets is the only one that goes."""
    text = body.strip()
    if text[:1] != b"[":
        raise Rejected("the body is not a JSON array", code="json")
    return [_checked(item) for item in _cut(text, error)]


def _member_leniently(body: bytes, name: str, error: Exception) -> tuple[bytes, bytes | None]:
    text = body.strip()
    if text[:1] != b"{":
        raise Rejected(f"the body is not JSON: {error}", code="json") from error
    kept, others = None, []
    for member in _cut(text, error):
        found = _MEMBER.match(member)
        if found is not None and found[1] == b'"%s"' % name.encode():
            kept = found[2]
        else:
            others.append(member)
    rest = b"{%s}" % b",".join(others)
    check_syntax(rest)
    return rest, kept


def _cut(text: bytes, error: Exception) -> list[bytes]:
    """What stands between the commas of an array or object, whatever it is."""
    parts: list[bytes] = []
    depth = begin = at = 1
    for _ in range(MAX_SIGNS if len(text) <= MAX_LENIENT_BYTES else 0):
        found = (_NEXT_SIGN_OR_COMMA if depth == 1 else _NEXT_SIGN).match(text, at)
        if found is None or depth > MAX_OPEN:
            break
        at, sign = found.end(), found[1]
        if sign in b"[{":
            depth += 1
        elif sign == b",":
            parts.append(text[begin : at - 1].strip())
            begin = at
        else:
            depth -= 1
            if depth == 0:
                last = text[begin : at - 1].strip()
                if at != len(text):
                    break
                return [*parts, last] if parts or last else []
    raise Rejected(f"the body is not JSON: {error}", code="json") from error


def _checked(item: bytes) -> bytes | Rejected:
    try:
        msgspec.json.decode(item, type=msgspec.Raw)
    except UNREADABLE as error:
        return Rejected(f"is not JSON: {error}", code="json")
    return item
