"""What the journal keeps of an event's circumstances, by key and dialect, and what consent takes away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from rushlight.events.catalogue import ViewItem
from rushlight.events.context import Context
from rushlight.events.envelope import Envelope, decode, encode
from rushlight.ingest.context.circumstances import Circumstances
from rushlight.ingest.context.surroundings import Surroundings
from rushlight.ingest.keys import Key
from rushlight.ingest.reports import seal_all
from rushlight.ingest.request import NOTHING, Given, Report, Request
from rushlight.settings import Shop

PUBLIC, SECRET = Key("public", "default", "pk_abc"), Key("secret", "default", "sk_abc")
RECEIVED = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
ORDER = {
    "orderId": "o1",
    "currency": "EUR",
    "visitorId": "v1",
    "customerId": "c1",
    "lines": [{"productId": "tea", "unitPrice": "3.99"}],
}


def sealed(
    *reports: Report,
    key: Key = PUBLIC,
    dialect: str = "cloudevents",
    headers: Mapping[str, str] | None = None,
    client: str | None = None,
    surroundings: Surroundings | None = None,
) -> list[Envelope]:
    """The events of a request with these reports."""
    request = Request(path="/", headers=headers or {}, received_at=RECEIVED, client=client)
    circumstances = Circumstances(request, dialect, key, surroundings or Surroundings())
    decoded = seal_all(reports, key, RECEIVED, circumstances)
    assert decoded.rejected == []
    envelopes = [decode(encode(each)) for each in decoded.envelopes]
    for envelope in envelopes:
        msgspec.convert(envelope.context, Context, strict=True)
    return envelopes


def report(name: str = "view_item", given: Given = NOTHING, **data: Any) -> Report:
    """What a dialect makes of an event."""
    return Report(name=name, sender="s", message_id="m", data={"visitorId": "v1", **data}, given=given)


def context(*reports: Report, **request: Any) -> dict[str, Any]:
    """The context of the one event."""
    (envelope,) = sealed(*reports, **request)
    assert envelope.context is not None
    return envelope.context


def test_a_page_in_a_browser() -> None:
    """A public key's CloudEvent takes device, page and network from its request, and the payload says no more."""
    headers = {"user-agent": CHROME, "referer": "https://shop.example/"}
    page = report(
        "page_view",
        url="https://shop.example/u/joe@x.example?utm_source=google&utm_medium=cpc&gclid=1&sid=2",
        referrer="https://www.google.com/search?q=joe",
        title="Tea",
    )
    (envelope,) = sealed(page, headers=headers, client="203.0.113.77")
    address = "https://shop.example/u/:email?utm_source=google&utm_medium=cpc"
    assert envelope.context == {
        "dialect": "cloudevents",
        "key": "pk_abc",
        "channel": "paid_search",
        "campaign": {"source": "google", "medium": "cpc"},
        "clickId": "gclid",
        "referrer": "google.com",
        "page": address,
        "device": "desktop",
        "browser": "Chrome",
        "os": "Windows",
        "ip": "203.0.113.0",
    }
    assert envelope.payload == {"visitorId": "v1", "url": address, "referrer": "google.com", "title": "Tea"}
    other = context(report(items=[]), headers=headers)
    assert (other["page"], other["device"], "channel" in other) == ("https://shop.example/", "desktop", False)


def test_what_a_server_says_of_a_visitor() -> None:
    """A secret key's request says nothing by itself; what its sender tells of the visitor counts."""
    headers = {"user-agent": GOOGLEBOT, "referer": "https://shop.example/", "dnt": "1"}
    plain = {"dialect": "segment", "key": "sk_abc"}
    assert context(report(), key=SECRET, dialect="segment", headers=headers, client="203.0.113.7") == plain
    given = Given(
        library="analytics-python/2.4",
        original="Product Viewed",
        user_agent=CHROME,
        ip="::ffff:198.51.100.9",
        url="https://shop.example/tea#x",
        referrer="https://www.facebook.com/",
        campaign={"source": "news", "medium": "email"},
        device="ios",
        locale="de-DE",
        time_zone="Europe/Berlin",
        consent={"ad_user_data": "GRANTED"},
        test=True,
    )
    assert context(report(given=given), key=SECRET, dialect="segment", headers=headers) == plain | {
        "library": "analytics-python/2.4",
        "original": "Product Viewed",
        "channel": "email",
        "campaign": {"source": "news", "medium": "email"},
        "referrer": "facebook.com",
        "page": "https://shop.example/tea",
        "device": "mobile",
        "browser": "Chrome",
        "os": "Windows",
        "test": True,
        "consent": {"ad_user_data": "granted"},
        "ip": "198.51.100.0",
        "locale": "de-DE",
        "timeZone": "Europe/Berlin",
    }


@pytest.mark.parametrize(
    ("key", "given", "user_agent", "bot"),
    [
        (PUBLIC, NOTHING, GOOGLEBOT, True),
        (PUBLIC, NOTHING, "curl/8.5.0", None),  # whoever sends by hand wants to see it
        (PUBLIC, NOTHING, "", None),
        (PUBLIC, Given(user_agent="curl/8.5.0"), CHROME, True),
        (SECRET, Given(user_agent="curl/8.5.0"), "", None),
        (SECRET, Given(user_agent=GOOGLEBOT), "", True),
        (SECRET, Given(bot=True), CHROME, True),
        (SECRET, NOTHING, GOOGLEBOT, None),
    ],
)
def test_bots(key: Key, given: Given, user_agent: str, bot: bool | None) -> None:
    """A machine is told by the visitor's user agent, or by its sender's word."""
    found = context(report(given=given), key=key, headers={"user-agent": user_agent})
    assert found.get("bot") is bot


def test_who_did_not_agree_is_nobody() -> None:
    """Without consent to analytics an event keeps no visitor, no customer, no address and nothing personal."""
    given = Given(ip="203.0.113.7", locale="de", time_zone="Europe/Berlin", consent={"analytics_storage": "denied"})
    seen = msgspec.structs.replace(report(given=given, customerId="c1"), personal={"email": "joe@x.example"})
    own = msgspec.structs.replace(report("quiz_done", given=given, customerId="c1", score=7), message_id="other")
    payloads: tuple[dict[str, Any], ...] = ({"items": []}, {"score": 7})
    for envelope, payload in zip(sealed(seen, own, client="203.0.113.7"), payloads, strict=True):
        assert (envelope.visitor_id, envelope.customer_id, envelope.personal) == (None, None, None)
        assert envelope.aggregate_id == f"anonymous-{envelope.id[:2]}"
        assert envelope.payload.items() <= {**payload, "visitorId": envelope.aggregate_id}.items()
        assert envelope.context == {
            "dialect": "cloudevents",
            "key": "pk_abc",
            "consent": {"analytics_storage": "denied"},
        }
        assert "v1" not in str(envelope)
    assert ViewItem.open(sealed(seen)[0]).visitor_id.startswith("anonymous-")


def test_nothing_ties_events_of_nobody_together() -> None:
    """The cart, the trace and the order's number would lead from one event to the next, and to the customer."""
    given = Given(consent={"analytics_storage": "denied"})
    bought = report("purchase", given=given, transactionId="order-7", items=[])
    flow = msgspec.structs.replace(bought, correlation_id="cart-7", causation_id="cause-7", trace="trace-7")
    assert b"-7" not in encode(sealed(flow)[0])


def test_an_order_without_consent_is_an_order() -> None:
    """Its money and its customer stay, the link to what the visitor did goes."""
    given = Given(consent={"analytics_storage": "denied"})
    bought = Report(name="order_created", sender="s", message_id="m", data=ORDER, given=given)
    (money,) = sealed(bought, key=SECRET)
    assert (money.name, money.customer_id, money.visitor_id) == ("order_created", "c1", None)
    assert "visitorId" not in money.payload
    assert money.payload["gross"] == 399


def test_a_browser_may_say_no_by_itself() -> None:
    """Do Not Track counts for a public key unless the sender says otherwise, purpose by purpose."""
    headers = {"dnt": "1"}
    (quiet,) = sealed(report(), headers=headers)
    assert quiet.visitor_id is None
    (asked,) = sealed(report(given=Given(consent={"analytics_storage": "granted"})), headers=headers)
    assert asked.visitor_id == "v1"
    assert (asked.context or {})["consent"]["ad_storage"] == "denied"
    (limited,) = sealed(report(), headers={"sec-gpc": "1"})
    assert limited.visitor_id == "v1"


def test_tests() -> None:
    """An order is a test by its own word or its sender's; a test has no purchase in a visitor's story of its own."""
    told = Report(name="order_created", sender="s", message_id="m", data=ORDER | {"test": True})
    (money,) = sealed(told, key=SECRET)
    assert money.payload["test"] is True
    assert (money.context or {})["test"] is True
    given = Report(name="order_created", sender="s", message_id="m", data=ORDER, given=Given(test=True))
    assert [(each.context or {}).get("test") for each in sealed(given, key=SECRET)] == [True, True]
    plain = Report(name="order_created", sender="s", message_id="m", data=ORDER | {"test": False})
    money, purchase = sealed(plain, key=SECRET)
    assert "test" not in {**money.payload, **(money.context or {}), **(purchase.context or {})}


def test_the_shop_s_clock() -> None:
    """Events remember the shop's offset when they happened, also across a change of clocks; UTC needs none."""
    berlin = Surroundings({"default": Shop(time_zone="Europe/Berlin"), "other": Shop()})
    assert berlin.offset("default", datetime(2026, 10, 25, 0, 59, tzinfo=UTC)) == 120
    assert berlin.offset("default", datetime(2026, 10, 25, 1, 0, tzinfo=UTC)) == 60
    assert berlin.offset("other", RECEIVED) is None
    late = msgspec.structs.replace(report(), occurred_at=RECEIVED - timedelta(days=120))
    assert context(late, surroundings=berlin)["utcOffset"] == 120
    assert context(report(), surroundings=berlin)["utcOffset"] == 60
    london = Surroundings({"default": Shop(time_zone="Europe/London")})
    assert context(report(), surroundings=london)["utcOffset"] == 0


def test_behind_a_proxy() -> None:
    """The address before the trusted proxy is the sender's, cut."""
    proxied = Surroundings(trusted_proxies=("10.0.0.0/8",))
    headers = {"x-forwarded-for": "6.6.6.6, 203.0.113.77"}
    assert context(report(), headers=headers, client="10.0.0.1", surroundings=proxied)["ip"] == "203.0.113.0"
    assert context(report(), headers=headers, client="10.0.0.1")["ip"] == "10.0.0.0"
