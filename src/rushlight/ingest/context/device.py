"""On what an event happened: the kind of device, the browser and the operating system, by user agent and hints."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["desktop", "mobile", "tablet", "tv", "console", "other"]

MAX_CHARACTERS = 512
MAX_FAMILY_CHARACTERS = 64
STRANGERS_PER_SECOND = 300
_TV = re.compile(
    r"smart-?tv|hbbtv|apple ?tv|google ?tv|android ?tv|crkey|\broku|\baft[a-z]{1,4}\b|bravia|web0s|netcast|viera|vidaa"
    r"|philipstv|\btv safari|tizen.*\btv\b",
    re.IGNORECASE,
)
_CONSOLE = re.compile(r"playstation|xbox|nintendo", re.IGNORECASE)
_TABLET = re.compile(r"ipad|tablet(?! pc)|kindle|playbook|\bsilk/(?!.*mobile)", re.IGNORECASE)
_MOBILE = re.compile(
    r"mobi|iphone|ipod|dalvik/|windows phone|blackberry|\bbb10|opera mini|symbian|series60|iemobile", re.IGNORECASE
)
_DESKTOP = re.compile(r"windows nt|macintosh|x11|linux|cros|freebsd|openbsd", re.IGNORECASE)
# What mobile SDKs and GA4 call them.
_HINTS: Mapping[str, Kind] = {
    **dict.fromkeys(("ios", "android", "mobile", "phone", "smartphone", "handset"), "mobile"),
    **dict.fromkeys(("tablet", "ipad"), "tablet"),
    **dict.fromkeys(("desktop", "pc", "laptop", "computer"), "desktop"),
    **dict.fromkeys(("tv", "smarttv", "smart tv", "smart_tv"), "tv"),
    "console": "console",
}


class Device(NamedTuple):
    """``kind`` is None where nothing is known; ``spider`` says that the user agent is known for a crawler's."""

    kind: Kind | None = None
    browser: str | None = None
    os: str | None = None
    spider: bool = False


UNKNOWN = Device()


def device_of(user_agent: str | None, hint: str | None = None) -> Device:
    """The device of a user agent.

    Args:
        hint: what the sender says itself (``context.device.type`` of a mobile SDK); it counts for more than the user
            agent, except that phones and tablets are told apart by the latter.
    """
    found = parsed(user_agent[:MAX_CHARACTERS]) if user_agent else UNKNOWN
    said = _HINTS.get(hint.strip().lower()) if hint else None
    if said is None or said == found.kind or (said == "mobile" and found.kind == "tablet"):
        return found
    return found._replace(kind=said)


def hinted(found: Device, headers: Mapping[str, str]) -> Device:
    """The same with what the browser says beside its user agent (client hints)."""
    factors = headers.get("sec-ch-ua-form-factors", "").lower()
    if '"tablet"' in factors:
        return found._replace(kind="tablet")
    if '"mobile"' in factors or headers.get("sec-ch-ua-mobile") == "?1":
        return found if found.kind == "tablet" else found._replace(kind="mobile")
    return found


def parsed(user_agent: str) -> Device:
    """What a user agent says of itself; nothing while too many are asked about that were not seen before."""
    try:
        return examined(user_agent)
    except TooManyStrangers:
        return UNKNOWN


class TooManyStrangers(Exception):
    """Looking at one more user agent would take time from those who wait."""


class _Patience:
    """How many user agents may still be looked at: each takes a quarter of a millisecond, and a batch has 2,500."""

    def __init__(self) -> None:
        self._left = float(STRANGERS_PER_SECOND)
        self._at = time.monotonic()

    def spend(self) -> None:
        at = time.monotonic()
        self._left = min(STRANGERS_PER_SECOND, self._left + (at - self._at) * STRANGERS_PER_SECOND)
        self._at = at
        if self._left < 1:
            raise TooManyStrangers
        self._left -= 1


_patience = _Patience()


@lru_cache(maxsize=8192)
def examined(user_agent: str) -> Device:
    """The same.

    Raises:
        TooManyStrangers: it was not seen before, and too many such were within this second.
    """
    import ua_parser  # its rules are large, and most commands need none of them

    _patience.spend()
    result = ua_parser.parse(user_agent)
    browser = result.user_agent.family if result.user_agent else None
    system = result.os.family if result.os else None
    spider = result.device is not None and result.device.family == "Spider"
    return Device(_kind(user_agent), _family(browser), _family(system), spider)


def warm() -> None:
    """Compile the rules, which takes a moment, before somebody waits for them."""
    parsed("Mozilla/5.0")


def _kind(user_agent: str) -> Kind:
    rules: tuple[tuple[re.Pattern[str], Kind], ...] = ((_TV, "tv"), (_CONSOLE, "console"), (_TABLET, "tablet"))
    for pattern, kind in rules:
        if pattern.search(user_agent):
            return kind
    if _MOBILE.search(user_agent):
        return "mobile"
    if "android" in user_agent.lower():
        return "tablet"  # a phone says Mobile
    return "desktop" if _DESKTOP.search(user_agent) else "other"


def _family(name: str | None) -> str | None:
    return name[:MAX_FAMILY_CHARACTERS] if name else None
