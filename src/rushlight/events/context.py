"""The circumstances of an event: how it came, from where and on what. They hold nothing that names a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Consent = Literal["granted", "denied"]

CHANNELS = (
    *("direct", "cross_network", "paid_shopping", "paid_search", "paid_social", "paid_video", "display", "paid_other"),
    *("organic_shopping", "organic_social", "organic_video", "organic_search", "referral", "email", "affiliates"),
    *("audio", "sms", "push", "unassigned"),
)
"""Those of GA4's default channel group, in its order."""
DEVICES = ("desktop", "mobile", "tablet", "tv", "console", "other")

CLICK_IDS: Mapping[str, tuple[str, str]] = {
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "dclid": ("google", "display"),
    "msclkid": ("bing", "cpc"),
    "ttclid": ("tiktok", "cpc"),
    "twclid": ("twitter", "cpc"),
    "li_fat_id": ("linkedin", "cpc"),
    "epik": ("pinterest", "cpc"),
    "rdt_cid": ("reddit", "cpc"),
    "sccid": ("snapchat", "cpc"),
    "yclid": ("yandex", "cpc"),
    "fbclid": ("facebook", "referral"),  # on every link that leaves Facebook
    "igshid": ("instagram", "referral"),
    "srsltid": ("google", "organic"),
}
"""Click ids with the advertiser whose they are and the medium that they stand for."""


class Campaign(msgspec.Struct, omit_defaults=True, gc=False):
    """The five UTM parameters and the campaign's id, as far as they were given."""

    source: str | None = None
    medium: str | None = None
    name: str | None = None
    term: str | None = None
    content: str | None = None
    id: str | None = None


class Context(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """What is known of an event's circumstances, as the journal keeps it; what is absent is not known.

    Attributes:
        dialect: ``segment``, ``ga4`` or ``cloudevents``. library: the sender's, as ``name/version``.
        key: the first characters of the write key. original: the event's name as it was sent, where it is another.
        channel: where the visit came from, by campaign, click id and referrer. campaign: what its link said.
        click_id: which advertiser's click id was there (``gclid``), never its value.
        referrer: the host of the page before. page: the page's address without personal data.
        device: ``desktop``, ``mobile``, ``tablet``, ``tv``, ``console`` or ``other``. browser, os: their families.
        bot: true when a machine did it: counted, and in no other figure.
        test: true when it was only tried: counted, and in no other figure.
        consent: what the visitor agreed to, by purpose. ip: cut to the network (IPv4 /24, IPv6 /48).
        no_id: true when nothing tells the event from a repeat of it.
        utc_offset: minutes from UTC to the shop's local time when it happened.
    """

    dialect: str | None = None
    library: str | None = None
    key: str | None = None
    original: str | None = None
    channel: str | None = None
    campaign: Campaign | None = None
    click_id: str | None = None
    referrer: str | None = None
    page: str | None = None
    device: str | None = None
    browser: str | None = None
    os: str | None = None
    bot: bool | None = None
    test: bool | None = None
    consent: dict[str, Consent] | None = None
    ip: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    utc_offset: int | None = None
    no_id: bool | None = None
