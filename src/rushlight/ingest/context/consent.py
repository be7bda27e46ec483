"""What a visitor agreed to, by Google's four purposes, whoever's words it was said in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rushlight.events.context import Consent

ANALYTICS = "analytics_storage"
ADVERTISING = ("ad_storage", "ad_user_data", "ad_personalization")
PURPOSES = frozenset((ANALYTICS, *ADVERTISING))
MAX_CATEGORIES = 50
# How consent managers name the categories that Segment hands on; OneTrust numbers them.
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("analytics", "performance", "statistics", "measurement", "c0002"), (ANALYTICS,)),
    **dict.fromkeys(("advertising", "marketing", "targeting", "ads", "c0004"), ADVERTISING),
    **dict.fromkeys(("personalization", "personalisation"), ("ad_personalization",)),
}
ANSWERS: Mapping[Any, Consent] = {
    "granted": "granted",
    "denied": "denied",
    "true": "granted",
    "false": "denied",
    True: "granted",
    False: "denied",
}


def told(given: Mapping[str, Any] | None) -> dict[str, Consent]:
    """What a sender says: purposes by name (GA4, Google's consent mode), or Segment's ``categoryPreferences``.

    A purpose that several categories decide is granted only if all of them grant it.
    """
    found: dict[str, Consent] = {}
    if not given:
        return found
    categories = given.get("categoryPreferences")
    items = [*given.items(), *(categories.items() if isinstance(categories, Mapping) else ())]
    for name, value in items[:MAX_CATEGORIES]:
        answer = ANSWERS.get(value.lower() if isinstance(value, str) else value if isinstance(value, bool) else None)
        if answer is None:
            continue
        low = str(name).lower()
        for purpose in (low,) if low in PURPOSES else CATEGORIES.get(low, ()):
            if found.get(purpose) != "denied":
                found[purpose] = answer
    return found


def signalled(headers: Mapping[str, str]) -> dict[str, Consent]:
    """What a browser says of its own accord: Global Privacy Control denies advertising, Do Not Track analytics too."""
    denied: dict[str, Consent] = {}
    if headers.get("sec-gpc", "").strip() == "1":
        denied.update(dict.fromkeys(ADVERTISING, "denied"))
    if headers.get("dnt", "").strip() == "1":
        denied.update(dict.fromkeys((ANALYTICS, *ADVERTISING), "denied"))
    return denied
