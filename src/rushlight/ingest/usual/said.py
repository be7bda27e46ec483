"""What usual messages say of their circumstances, remembered: servers and pages say the same again and again."""

from __future__ import annotations

from functools import lru_cache

from rushlight.ingest.request import Given, Said
from rushlight.ingest.usual.fields import Came, Unusual, link_of, text_of
from rushlight.ingest.usual.shapes import NO_LIBRARY, NO_PAGE, Context, Message, read_context

MAX_SAID = 4096
MAX_SAID_BYTES = 2048
_ABSENT = (b"", b"null", b"{}")


def what_is_said(message: Message, came: Came, original: str | None, url: str | None, referrer: str | None) -> Said:
    """The circumstances of a message.

    Args:
        original, url, referrer: what the message says of them elsewhere.

    Raises:
        Unusual: they are told otherwise, or in two places.
    """
    context = bytes(message.context)
    if context in _ABSENT:
        context = came.context
    elif came.context not in _ABSENT:
        raise Unusual
    size = len(context) + len(original or "") + len(url or "") + len(referrer or "")
    read = _said if size <= MAX_SAID_BYTES else _read_said
    return read(context, original, url, referrer)


def _read_said(context: bytes, original: str | None, url: str | None, referrer: str | None) -> Said:
    """The circumstances, as `rushlight.ingest.segment_context.given` reads them."""
    told = read_context(context) if context not in _ABSENT else Context()
    page, library = told.page or NO_PAGE, told.library or NO_LIBRARY
    if page.name is not None or page.category is not None or page.cart_id is not None:
        raise Unusual
    name, version = text_of(library.name), text_of(library.version)
    consent = told.consent or {}
    preferences = consent.get("categoryPreferences")
    given = Given(
        library=f"{name}/{version}" if name and version else name,
        original=original,
        user_agent=link_of(told.user_agent),
        ip=text_of(told.ip),
        url=link_of(page.url or url),
        referrer=link_of(page.referrer or referrer),
        campaign=told.campaign or None,
        device=text_of(told.device.type) if told.device else None,
        locale=text_of(told.locale),
        time_zone=text_of(told.timezone),
        consent=(preferences if isinstance(preferences, dict) else {}) or consent or None,
        test=told.test is True,
    )
    return Said(given, text_of(page.title))


_said = lru_cache(MAX_SAID)(_read_said)
