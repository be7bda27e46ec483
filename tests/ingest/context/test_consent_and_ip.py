"""Consent in everybody's words, and addresses that are nobody's."""

from __future__ import annotations

from typing import Any

import pytest

from rushlight.ingest.context.consent import signalled, told
from rushlight.ingest.context.ip import networks, sender, truncated

ADS = {"ad_storage": "denied", "ad_user_data": "denied", "ad_personalization": "denied"}


@pytest.mark.parametrize(
    ("given", "consent"),
    [
        (None, {}),
        ({}, {}),
        ({"ad_user_data": "GRANTED", "ad_personalization": "DENIED"},
         {"ad_user_data": "granted", "ad_personalization": "denied"}),
        ({"analytics_storage": "denied", "functionality_storage": "granted", "x": 1}, {"analytics_storage": "denied"}),
        ({"categoryPreferences": {"Analytics": True, "Advertising": False, "Functional": True}},
         {"analytics_storage": "granted", **ADS}),
        ({"categoryPreferences": {"Analytics": True, "Performance": False}}, {"analytics_storage": "denied"}),
        ({"categoryPreferences": {"C0002": "false"}}, {"analytics_storage": "denied"}),
        ({"categoryPreferences": ["Analytics"], "ad_storage": {"a": 1}, "analytics_storage": None}, {}),
        ({"analytics_storage": False}, {"analytics_storage": "denied"}),
        ({"analytics_storage": 1}, {}),
    ],
)  # fmt: skip
def test_consent(given: dict[str, Any] | None, consent: dict[str, str]) -> None:
    """Google's purposes and Segment's categories become the same four words; what is unknown is left out."""
    assert told(given) == consent


def test_what_a_browser_says_of_its_own_accord() -> None:
    """Global Privacy Control denies advertising, Do Not Track analytics too; other values say nothing."""
    assert signalled({"sec-gpc": "1"}) == ADS
    assert signalled({"dnt": "1"}) == {"analytics_storage": "denied", **ADS}
    assert signalled({"dnt": "0", "sec-gpc": "?1"}) == {}


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("203.0.113.77:8080", "203.0.113.0"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("[2001:db8::1]:443", "2001:db8::"),
        ("fe80::1%eth0", "fe80::"),
        ("0.0.0.0", None),
        ("::", None),
        ("1.2.3", None),
        ("x" * 100, None),
        ("", None),
        (None, None),
    ],
)
def test_addresses(text: str | None, network: str | None) -> None:
    """IPv4 keeps 24 bits and IPv6 48."""
    assert truncated(text) == network


def test_behind_proxies() -> None:
    """Only proxies that are trusted are believed, hop by hop from our side; a forged beginning is not reached."""
    proxies = networks(["10.0.0.0/8", "2001:db8::1"])
    forwarded = "6.6.6.6, 203.0.113.7, 10.0.0.2"
    assert sender("10.0.0.1", forwarded, proxies) == "203.0.113.7"
    assert sender("198.51.100.1", forwarded, proxies) == "198.51.100.1"
    assert sender("10.0.0.1", forwarded, ()) == "10.0.0.1"
    assert sender("10.0.0.1", None, proxies) == "10.0.0.1"
    assert sender("2001:db8::1", "10.1.1.1, 10.0.0.2", proxies) == "10.1.1.1"
    assert sender("10.0.0.1", "6.6.6.6, nonsense, 10.0.0.2", proxies) is None
    assert sender(None, forwarded, proxies) is None
