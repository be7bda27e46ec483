"""A decoder's complaint in a sender's words: which field, what is wrong with it, and a word to count it by."""

from __future__ import annotations

import re

import msgspec

from rushlight.errors import Rejected

UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeError)
"""What decoders raise over a sender's text."""

_MISPLACED = re.compile(r"Object (missing required|contains unknown) field `(.*?)`", re.DOTALL)
_TOO_LONG = re.compile(r"Expected `str` of length <= (\d+)")
MAX_REASON_CHARACTERS = 200


def explained(error: Exception, *, inside: str = "") -> Rejected:
    """The same as a Rejected.

    Args:
        error: msgspec's, whose message ends in the path of the field.
        inside: path of what was decoded (``data``), which the field's path is put behind.
    """
    reason, _, place = str(error).partition(" - at `$")
    path = f"{inside}{place.rstrip('`')}".lstrip(".")
    if misplaced := _MISPLACED.match(reason):
        missing, name = misplaced[1].startswith("missing"), misplaced[2][:80]
        return Rejected(
            "is required" if missing else "is not a field of this event",
            field=f"{path}.{name}" if path else name,
            code="missing" if missing else "unknown_field",
        )
    if too_long := _TOO_LONG.match(reason):
        reason = f"may have {too_long[1]} characters"
    return Rejected(reason[:MAX_REASON_CHARACTERS], field=path)
