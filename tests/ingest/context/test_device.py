"""Devices and bots by user agent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushlight.ingest.context import device
from rushlight.ingest.context.bots import is_bot
from rushlight.ingest.context.device import UNKNOWN, device_of, hinted

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/126.0.0.0 Safari/537.36"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1 Version/17.5 Mobile/15E Safari/604.1"
TABLET = f"Mozilla/5.0 (Linux; Android 12; SM-T870) {WEBKIT} Chrome/120.0.0.0 Safari/537.36"


@pytest.mark.parametrize(
    ("user_agent", "kind", "browser", "system"),
    [
        (WINDOWS, "desktop", "Chrome", "Windows"),
        (IPHONE, "mobile", "Mobile Safari", "iOS"),
        ("Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1 Version/17.5 Mobile/1 Safari/604.1", "tablet",
         "Mobile Safari", "iOS"),
        (TABLET, "tablet", "Chrome", "Android"),
        (f"Mozilla/5.0 (Linux; Android 14; SM-S918B) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36", "mobile",
         "Chrome Mobile", "Android"),
        ("Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/X)", "mobile", "Android", "Android"),
        (f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) {WEBKIT} 76.0/6.0 TV Safari/537.36", "tv", "Safari", "Tizen"),
        ("Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 Safari/605", "console", "Safari", None),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "desktop", "Firefox", "Linux"),
        ("Amiga", "other", None, None),
    ],
)  # fmt: skip
def test_devices(user_agent: str, kind: str, browser: str | None, system: str | None) -> None:
    """Kind, browser and operating system of well-known user agents."""
    found = device_of(user_agent)
    assert (found.kind, found.browser, found.os) == (kind, browser, system)


def test_hints() -> None:
    """A mobile SDK's own word counts for more than the user agent, and tells no tablets; so do a browser's hints."""
    assert device_of(None) == UNKNOWN
    assert device_of(None, "ios").kind == "mobile"
    assert device_of(WINDOWS, "Tablet").kind == "tablet"
    assert device_of(TABLET, "android").kind == "tablet"
    assert device_of(WINDOWS, "toaster").kind == "desktop"
    assert hinted(device_of(WINDOWS), {"sec-ch-ua-mobile": "?1"}).kind == "mobile"
    assert hinted(device_of(TABLET), {"sec-ch-ua-mobile": "?1"}).kind == "tablet"
    assert hinted(device_of(WINDOWS), {"sec-ch-ua-form-factors": '"Desktop", "Tablet"'}).kind == "tablet"
    assert hinted(device_of(WINDOWS), {}).kind == "desktop"


@pytest.mark.parametrize(
    "user_agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0) Chrome/116.0 Safari/537.36",
        f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/126.0.0.0 Safari/537.36",
        "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        "facebookexternalhit/1.1",
        "GPTBot/1.2",
        "WhatsApp/2.23.20.0",
        f"Mozilla/5.0 (Linux; Android 7.0) {WEBKIT} Chrome/126.0 Mobile Safari/537.36 Chrome-Lighthouse",
    ],
)
def test_bots(user_agent: str) -> None:
    """Crawlers, browsers without a screen, monitors and link previews."""
    assert is_bot(user_agent)


@pytest.mark.parametrize(
    "user_agent",
    [
        WINDOWS,
        IPHONE,
        TABLET,
        "",
        None,
        f"Mozilla/5.0 (Linux; Android 6.0; CUBOT MAX) {WEBKIT} Chrome/72.0 Mobile Safari/537.36",
        f"Mozilla/5.0 (Linux; Android 7.0; M bot 54) {WEBKIT} Chrome/78.0 Mobile Safari/537.36",
        "MyShop/3 CFNetwork/1494 Darwin/23.4.0",
        "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/X)",
    ],
)
def test_people(user_agent: str | None) -> None:
    """Browsers, apps, telephones whose name sounds like a robot's, and nobody known."""
    assert not is_bot(user_agent, scripts=True)


def test_scripts() -> None:
    """What fetches as it is told is a machine only where a visitor's user agent was expected."""
    for user_agent in ("curl/8.5.0", "python-requests/2.32.3", "Go-http-client/2.0"):
        assert is_bot(user_agent, scripts=True)
        assert not is_bot(user_agent)


@given(st.text(max_size=600))
def test_nothing_breaks_it(text: str) -> None:
    """Any text is somebody's user agent."""
    device_of(text, text)
    is_bot(text, scripts=True)


def test_thousands_of_user_agents_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one request with ever new ones only some are looked at; the others are unknown, and for this once only."""
    device.examined.cache_clear()
    monkeypatch.setattr(device, "STRANGERS_PER_SECOND", 3)
    monkeypatch.setattr(device, "_patience", device._Patience())
    agents = [f"Mozilla/5.0 (Windows NT 10.0) {WEBKIT} Chrome/{number}.0 Safari/1" for number in range(2500)]
    looked_at = [each for each in map(device_of, agents) if each != UNKNOWN]
    assert 3 <= len(looked_at) < 2500
    assert device_of(agents[0]).browser == "Chrome"
    monkeypatch.setattr(device, "_patience", device._Patience())
    assert device_of(agents[-1]).browser == "Chrome"
