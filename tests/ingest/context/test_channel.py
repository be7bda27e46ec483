"""Channels by campaign, click id and referrer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushlight.events.context import CHANNELS, Campaign
from rushlight.ingest.context.channel import arrival_of, channel_of
from rushlight.ingest.context.sources import kind_of, site_of

PAGE = "https://shop.example/"


@pytest.mark.parametrize(
    ("source", "medium", "name", "channel"),
    [
        ("(direct)", "(none)", None, "direct"),
        (None, None, None, "direct"),
        ("google", "cpc", "Spring Cross-network", "cross_network"),
        ("google", "cpc", "Brand Shopping DE", "paid_shopping"),
        ("google", "cpc", "workshop tickets", "paid_search"),  # GA4's rule takes no letter but "e" before "shop"
        ("google", "cpc", "eshop", "paid_shopping"),
        ("amazon", "ppc", None, "paid_shopping"),
        ("google", "cpc", None, "paid_search"),
        ("Bing", "CPC", None, "paid_search"),
        ("duckduckgo.com", "paidsearch", None, "paid_search"),
        ("facebook", "paid_social", None, "paid_social"),
        ("ig", "retargeting", None, "paid_social"),
        ("youtube", "cpv", None, "paid_video"),
        ("youtube", "cpc", None, "paid_video"),
        ("partner", "banner", None, "display"),
        ("partner", "cpm", None, "display"),
        ("partner", "display", None, "display"),
        ("partner", "cpa", None, "paid_other"),
        ("idealo.de", "referral", None, "organic_shopping"),
        ("x.com", "referral", None, "organic_social"),
        ("blog", "social-media", None, "organic_social"),
        ("vimeo.com", "referral", None, "organic_video"),
        ("partner", "product_video", None, "organic_video"),
        ("google", "organic", None, "organic_search"),
        ("intranet", "organic", None, "organic_search"),
        ("blog.example", "referral", None, "referral"),
        ("ourapp", "app", None, "referral"),
        ("newsletter", "e-mail", None, "email"),
        ("email", "weekly", None, "email"),
        ("awin", "affiliate", None, "affiliates"),
        ("radio", "audio", None, "audio"),
        ("sms", "blast", None, "sms"),
        ("brevo", "sms", None, "sms"),
        ("app", "web-push", None, "push"),
        ("firebase", "x", None, "push"),
        ("flyer", "qr", None, "unassigned"),
    ],
)
def test_rules(source: str | None, medium: str | None, name: str | None, channel: str) -> None:
    """Each rule of GA4's default channel group, in its order."""
    assert channel_of(source, medium, name) == channel
    assert channel in CHANNELS


@pytest.mark.parametrize(
    ("url", "referrer", "channel", "host"),
    [
        (PAGE, None, None, None),
        (PAGE, "", None, None),
        (PAGE, "https://www.google.com/", "organic_search", "google.com"),
        (PAGE, "HTTPS://WWW.GOOGLE.CO.UK:443/url?q=secret", "organic_search", "google.co.uk"),
        (PAGE, "https://de.search.yahoo.com/", "organic_search", "de.search.yahoo.com"),
        (PAGE, "https://mail.google.com/", "referral", "mail.google.com"),
        (PAGE, "https://google.evil.example/", "referral", "google.evil.example"),
        (PAGE, "https://notgoogle.com/", "referral", "notgoogle.com"),
        (PAGE, "https://m.facebook.com/story", "organic_social", "m.facebook.com"),
        (PAGE, "https://t.co/abc", "organic_social", "t.co"),
        (PAGE, "https://smile.amazon.co.uk", "referral", "smile.amazon.co.uk"),
        (PAGE, "https://www.amazon.co.uk", "organic_shopping", "amazon.co.uk"),
        (PAGE, "android-app://com.google.android.googlequicksearchbox/", "organic_search", None),
        (PAGE, "https://bücher.example/", "referral", "xn--bcher-kva.example"),
        (PAGE, "https://[broken", None, None),
        (PAGE, "::::", None, None),
        (PAGE, "mailto:joe@shop.example", None, None),
        (PAGE, "https://pay.shop.example/3ds", None, "pay.shop.example"),
        ("https://www.shop.co.uk/", "https://checkout.shop.co.uk/", None, "checkout.shop.co.uk"),
        ("https://a.myshopify.com/", "https://b.myshopify.com/", "referral", "b.myshopify.com"),
        (None, "https://shop.example/", "referral", "shop.example"),
        ("/relative", "https://www.bing.com/", "organic_search", "bing.com"),
        (f"{PAGE}?gclid=Cj0", "https://www.google.com/", "paid_search", "google.com"),
        (f"{PAGE}?wbraid=1", None, "paid_search", None),
        (f"{PAGE}?dclid=1", None, "display", None),
        (f"{PAGE}?FBCLID=1", "https://l.facebook.com/", "organic_social", "l.facebook.com"),
        (f"{PAGE}?ttclid=1", None, "paid_social", None),
        (f"{PAGE}?gclid=", None, None, None),
        (f"{PAGE}?utm_source=google&gclid=1", None, "paid_search", None),
        (f"{PAGE}?utm_campaign=spring&gclid=1", None, "paid_search", None),
        (f"{PAGE}?UTM_Source=News&utm_medium=Email", "https://mail.example/", "email", "mail.example"),
        (f"{PAGE}?utm_source=news&utm_medium=email&gclid=1", None, "email", None),
        (f"{PAGE}?utm_medium=%E0%A4%A", None, "unassigned", None),
        ("https://[broken?gclid=1", "https://www.google.com/", "organic_search", "google.com"),
    ],
)
def test_arrivals(url: str | None, referrer: str | None, channel: str | None, host: str | None) -> None:
    """A page and the one before: a campaign counts for more than a click id, and that for more than the referrer."""
    found = arrival_of(url, referrer)
    assert found.channel == channel
    if host or referrer is None:
        assert found.referrer == host


def test_what_a_sender_says_of_the_campaign() -> None:
    """It counts for more than the URL, is read leniently, and holds no e-mail address."""
    told: dict[str, Any] = {"source": " News ", "medium": "email", "term": "joe@example.org", "name": 7, "odd": "x"}
    found = arrival_of(f"{PAGE}?utm_source=google&utm_medium=cpc", None, told)
    assert found.campaign == Campaign(source="News", medium="email", term=":email")
    assert found.channel == "email"
    assert arrival_of(f"{PAGE}?gclid=1", None, {"name": ""}).channel == "paid_search"


def test_only_the_kind_of_a_click_id_is_kept() -> None:
    """Its value, which names one person's click, is nowhere."""
    found = arrival_of(f"{PAGE}?gclid=Cj0KCQ&utm_source=google", None)
    assert found.click_id == "gclid"
    assert "Cj0KCQ" not in repr(found)


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("shop.example", "shop.example"),
        ("a.b.shop.example", "shop.example"),
        ("a.shop.co.uk", "shop.co.uk"),
        ("x.myshopify.com", "x.myshopify.com"),
        ("localhost", "localhost"),
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_sites(host: str, site: str) -> None:
    """The part of a host that somebody registered."""
    assert site_of(host) == site


def test_every_kind_is_known_by_name_and_host() -> None:
    """The lists are read."""
    assert [kind_of(s) for s in ("google", "fb", "idealo.fr", "youtu.be", "", "nobody", "a.b.c.d")] == [
        *("search", "social", "shopping", "video"),
        *(None, None, None),
    ]


@given(st.text(max_size=80), st.text(max_size=80))
def test_nothing_breaks_it(url: str, referrer: str) -> None:
    """Any two texts have an arrival with a known channel or none."""
    found = arrival_of(f"https://{url}", referrer)
    assert found.channel is None or found.channel in CHANNELS
    arrival_of(url, f"http://{referrer}")
