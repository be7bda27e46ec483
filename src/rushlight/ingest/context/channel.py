"""Where a visit came from: campaign, click id and channel, by the rules and names of GA4's default channel group.

The rules are asked in GA4's order, and the first that holds decides. What a link said about itself (UTM parameters)
counts for more than the click id that an advertiser appended, and that for more than the referring page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rushlight.events.context import CLICK_IDS, Campaign
from rushlight.ingest.context.pages import UTM, host_of, parameters
from rushlight.ingest.context.remembered import remembered
from rushlight.ingest.context.sources import kind_of, site_of
from rushlight.ingest.context.text import short

FIELDS = Campaign.__struct_fields__

_PAID = re.compile(r"(?:.*cp.*|ppc|retargeting|paid.*)\Z")
_SHOP = re.compile(r"(?:.*(?:(?:[^a-df-z]|\A)shop|shopping).*)\Z")
_VIDEO = re.compile(r".*video.*\Z")
_EMAIL = frozenset(("email", "e-mail", "e_mail", "e mail"))
_SOCIAL = frozenset(("social", "social-network", "social-media", "sm", "social network", "social media"))
_DISPLAY = frozenset(("display", "banner", "expandable", "interstitial", "cpm"))
_REFERRAL = frozenset(("referral", "app", "link"))


class _Signs(NamedTuple):
    source: str
    medium: str
    name: str

    @property
    def paid(self) -> bool:
        return bool(_PAID.match(self.medium))

    @property
    def kind(self) -> str | None:
        return kind_of(self.source)

    @property
    def shop(self) -> bool:
        return self.kind == "shopping" or bool(_SHOP.match(self.name))


_RULES: tuple[tuple[str, Callable[[_Signs], bool]], ...] = (
    ("cross_network", lambda it: "cross-network" in it.name),
    ("paid_shopping", lambda it: it.shop and it.paid),
    ("paid_search", lambda it: it.kind == "search" and it.paid),
    ("paid_social", lambda it: it.kind == "social" and it.paid),
    ("paid_video", lambda it: it.kind == "video" and it.paid),
    ("display", lambda it: it.medium in _DISPLAY),
    ("paid_other", lambda it: it.paid),
    ("organic_shopping", lambda it: it.shop),
    ("organic_social", lambda it: it.kind == "social" or it.medium in _SOCIAL),
    ("organic_video", lambda it: it.kind == "video" or bool(_VIDEO.match(it.medium))),
    ("organic_search", lambda it: it.kind == "search" or it.medium == "organic"),
    ("referral", lambda it: it.medium in _REFERRAL),
    ("email", lambda it: it.source in _EMAIL or it.medium in _EMAIL),
    ("affiliates", lambda it: it.medium in ("affiliate", "affiliates")),
    ("audio", lambda it: it.medium == "audio"),
    ("sms", lambda it: "sms" in (it.source, it.medium)),
    ("push", lambda it: it.medium.endswith("push") or "mobile" in it.medium or "notification" in it.medium
        or it.source == "firebase"),
)  # fmt: skip


class Arrival(NamedTuple):
    """How a visitor came to a page; without a channel the page was reached from within the shop, or nothing is known.

    Attributes:
        click_id: its kind. referrer: the host of the page before, also when it is the shop's own.
    """

    channel: str | None = None
    campaign: Campaign | None = None
    click_id: str | None = None
    referrer: str | None = None


@remembered
def channel_of(source: str | None, medium: str | None, name: str | None = None) -> str:
    """The channel of a source, a medium and a campaign's name; ``unassigned`` where no rule holds."""
    signs = _Signs(*(text.strip().lower() if text else "" for text in (source, medium, name)))
    if signs.source in ("", "direct", "(direct)") and signs.medium in ("", "none", "(none)", "(not set)"):
        return "direct" if not signs.name else _first(signs)
    return _first(signs)


def _first(signs: _Signs) -> str:
    return next((channel for channel, holds in _RULES if holds(signs)), "unassigned")


def arrival_of(url: str | None, referrer: str | None, campaign: Mapping[str, Any] | None = None) -> Arrival:
    """How a visitor came to a page.

    Args:
        url: of the page. referrer: the page before. campaign: what the sender says of it, by the fields of `Campaign`;
            it counts for more than what the URL says.
    """
    found = _arrival(url, referrer)
    told = _campaign({field: campaign.get(field) for field in FIELDS}) if campaign else None
    if told is None:
        return found
    return found._replace(campaign=told, channel=_channel_of(told, found.click_id))


def _arrival(url: str | None, referrer: str | None) -> Arrival:
    given = parameters(url)
    campaign = _campaign(dict(zip(_UTM_FIELDS, (given.get(name) for name in UTM), strict=True))) if given else None
    click_id = next((kind for kind in CLICK_IDS if given.get(kind)), None) if given else None
    before = host_of(referrer)
    if campaign is not None:
        return Arrival(_channel_of(campaign, click_id), campaign, click_id, before)
    if click_id is not None:
        return Arrival(channel_of(*CLICK_IDS[click_id]), None, click_id, before)
    if before is None or _is_own(url, before):
        return Arrival(referrer=before)
    return Arrival(channel_of(before, "referral"), None, None, before)


def _channel_of(campaign: Campaign, click_id: str | None) -> str:
    source, medium = campaign.source, campaign.medium
    if click_id is not None and medium is None:
        advertiser, medium = CLICK_IDS[click_id]
        source = source or advertiser
    return channel_of(source, medium, campaign.name)


def _is_own(url: str | None, before: str) -> bool:
    host = host_of(url)
    return host is not None and site_of(host) == site_of(before)


_UTM_FIELDS = ("source", "medium", "name", "term", "content", "id")


def _campaign(given: Mapping[str, Any]) -> Campaign | None:
    fields = {field: text for field, value in given.items() if (text := short(value))}
    return Campaign(**fields) if fields else None
