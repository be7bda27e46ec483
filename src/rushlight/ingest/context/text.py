"""What names a person inside of texts, and how it is taken out."""

from __future__ import annotations

import re

from rushlight.ingest.context.remembered import remembered

MAX_CHARACTERS = 200
MAX_READ_CHARACTERS = 4096
# From the sign on, and then backwards: a pattern that begins with the name would look at each letter of a text for each
# other one, whatever a sender thinks of.
_AT = re.compile(r"(?:@|%40)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}", re.IGNORECASE)
_NAME_BACKWARDS = re.compile(r"[^\s/?#&=;:,<>()\"']{1,64}")
MAX_NAME_CHARACTERS = 64
PHONE = re.compile(r"(?:\+|%2B|\b00)[1-9][\d ().-]{6,16}\d|(?<![\d.,])0\d{2,4}[ /-]\d{5,9}\b", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def masked(text: str) -> str:
    """The text with e-mail addresses and telephone numbers replaced by ``:email`` and ``:phone``."""
    if "@" in text or "%40" in text:
        text = without_emails(text)
    return PHONE.sub(":phone", text)


def without_emails(text: str) -> str:
    """The text with e-mail addresses replaced; the same text when it has none."""
    parts: list[str] = []
    done = 0
    for found in _AT.finditer(text):
        sign = found.start()
        name = _NAME_BACKWARDS.match(text[max(0, sign - MAX_NAME_CHARACTERS) : sign][::-1])
        if name is None:
            continue
        start = sign - name.end()
        if not parts or start > done:
            parts += (text[done:start], ":email")
        done = found.end()
    return "".join([*parts, text[done:]]) if parts else text


def short(value: object, limit: int = MAX_CHARACTERS) -> str | None:
    """A sender's text on one line, masked and cut, or None for what is no text or an empty one."""
    return _short(value, limit) if isinstance(value, str) and len(value) <= MAX_READ_CHARACTERS else None


# Titles, campaigns and locales are few and come again and again.
@remembered
def _short(value: str, limit: int) -> str | None:
    return masked(CONTROL.sub(" ", value).strip()[: limit * 2])[:limit] or None
