"""The built board in a real browser: what it shows, what it says about itself, and what it never does."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.dashboard.gateway import BOARD, Gateway, counts, ledger, moment, sales

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One headless browser for the module."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path is not None, "no Chromium: make install brings it"
    assert (BOARD / "index.html").exists(), "the board is not built: make install does it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway that shows what the test wants."""
    with Gateway() as gateway:
        yield gateway


@pytest.fixture
def page(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    """A fresh page; any error in it, or any request beyond the host, fails the test."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 800})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if "//127.0.0.1:" in request.url else errors.append(request.url))
    yield page
    context.close()
    assert errors == []


def test_first_sight(page: Page, gateway: Gateway) -> None:
    """A snapshot fills the headline, the funnel, the audience and the ledger."""
    page.goto(gateway.url)
    expect(page.locator("#net")).to_have_text("$1,234.50")
    expect(page.locator("#visitors")).to_have_text("12")
    expect(page.locator("#steps li").nth(1)).to_contain_text("40.0% went on")
    expect(page.locator("#verdict")).to_contain_text("Balanced")
    expect(page.locator("#state-title")).to_have_text("Live")
    expect(page).to_have_title("$1,234.50 · Rushlight")
    expect(page.locator("#revenue canvas")).to_be_visible()


def test_money_keeps_every_digit(page: Page, gateway: Gateway) -> None:
    """An amount beyond what a float holds is shown to the cent."""
    gateway.shop(today={"from": moment(), "currencies": {"USD": sales("90071992547409.93")}})
    page.goto(gateway.url)
    expect(page.locator("#net")).to_have_text("$90,071,992,547,409.93")


def test_names_are_text(page: Page, gateway: Gateway) -> None:
    """Markup in names, ids, notices and sources is shown as it is and never runs."""
    sold = {"USD": {"units": 1, "net": "1.00"}}
    product = {"productId": HOSTILE, "name": HOSTILE, "category": HOSTILE, "views": 1, "adds": 1, "currencies": sold}
    order = {"orderId": HOSTILE, "at": moment(), "currency": "USD", "total": "1.00", "items": 1}
    gateway.shop(
        products=[product],
        orders=[order | {"country": HOSTILE, "customerId": None, "status": HOSTILE}],
        notices=[{"at": moment(), "text": HOSTILE, "kind": "info"}],
        warnings=[HOSTILE],
        ledger=ledger(counts(acknowledged=1, stored=1)) | {"sources": {HOSTILE: counts()}, "unreachable": [HOSTILE]},
    )
    page.goto(gateway.url)
    page.get_by_role("button", name="By source").click()
    expect(page.locator("#products .name")).to_have_text(HOSTILE)
    expect(page.locator("#latest .id")).to_have_text(HOSTILE)
    expect(page.locator("#account thead")).to_contain_text(HOSTILE)
    expect(page.locator("body img, body script")).to_have_count(0)


def test_an_order_of_another_day(page: Page, gateway: Gateway) -> None:
    """One that was imported, or waited, is among the latest with its day instead of a time that looks like today's."""
    order = {"at": "2026-01-05T10:00:00Z", "currency": "USD", "total": "1.00", "items": 1, "status": "created"}
    old = order | {"orderId": "H-1", "country": None, "customerId": None}
    gateway.shop(orders=[old | {"orderId": "A-1", "at": moment(-60)}, old])
    page.goto(gateway.url)
    expect(page.locator("#latest time").last).to_have_text("5 Jan 2026")
    expect(page.locator("#latest time").first).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))


def test_what_is_parked(page: Page, gateway: Gateway) -> None:
    """Nothing while nothing is parked; then how much, whose and why, in text that stays text; and nothing again."""
    page.goto(gateway.url)
    expect(page.locator("#verdict")).to_contain_text("Balanced")
    expect(page.locator("#parked")).to_be_hidden()
    waiting = {"aggregateId": HOSTILE, "events": 2, "since": moment(7500), "reason": HOSTILE}
    parked = {"events": 4, "more": False, "total": 3, "aggregates": [waiting], "unreadable": 1}
    gateway.send(parked=parked)
    expect(page.locator("#parked-count")).to_have_text("4 events of 3 orders or visitors, 1 record that cannot be read")
    expect(page.locator("#parked .id")).to_have_text(HOSTILE)
    expect(page.locator("#parked .what")).to_have_text("2 events, for 2 h 05 min")
    expect(page.locator("#parked .reason")).to_have_text(HOSTILE)
    expect(page.locator("#parked-rest")).to_have_text("and 2 more: rushlight parked list")
    expect(page.locator("body img, body script")).to_have_count(0)
    gateway.send(parked=parked | {"events": 20_000, "more": True, "unreadable": 0})
    expect(page.locator("#parked-count")).to_have_text("More than 20,000 events")
    gateway.send(parked=None)
    expect(page.locator("#parked")).to_be_hidden()


def test_what_is_left_out(page: Page, gateway: Gateway) -> None:
    """Nothing is said while nothing is left out; then how many bots and tests are in no figure."""
    page.goto(gateway.url)
    expect(page.locator("#visitors")).to_have_text("12")
    expect(page.locator("#left-out")).to_be_hidden()
    gateway.send(leftOut={"botEvents": 12, "testEvents": 0, "testOrders": 3, "unmeasuredEvents": 0})
    expect(page.locator("#left-out")).to_have_text("Not in today's figures: 12 events by bots, 3 test orders")


def test_deltas_and_a_gap(page: Page, gateway: Gateway) -> None:
    """The next delta changes its figures; a missing one makes the board ask for everything again."""
    page.goto(gateway.url)
    gateway.send(visitors=13)
    expect(page.locator("#visitors")).to_have_text("13")
    assert gateway.resyncs == 0
    gateway.skip(carts=9)
    gateway.send(visitors=14)
    expect(page.locator("#carts")).to_have_text("9")
    expect(page.locator("#visitors")).to_have_text("14")
    assert gateway.resyncs >= 1


def test_stale_tiles_say_so(page: Page, gateway: Gateway) -> None:
    """When behaviour is late only its tiles are stale, and they recover."""
    page.goto(gateway.url)
    expect(page.locator(".tile.stale")).to_have_count(0)
    expect(page.locator(".sales .fresh")).to_have_text(re.compile(r"complete to \d\d:\d\d:\d\d · 0\.\d s"))
    gateway.late["behaviour"] = 7.0
    expect(page.locator(".funnel.stale .badge")).to_contain_text("stale 7")
    expect(page.locator(".tile.stale")).to_have_count(3)
    expect(page.locator("#state-detail")).to_contain_text("orders up to date, visits 7.")
    gateway.late["behaviour"] = 0.1
    expect(page.locator(".tile.stale")).to_have_count(0)
    expect(page.locator("#state-title")).to_have_text("Live")


def test_lost_connection(page: Page, gateway: Gateway) -> None:
    """Without a connection every tile is stale and ageing; with a new one the board is live again."""
    page.goto(gateway.url)
    expect(page.locator("#state-title")).to_have_text("Live")
    gateway.drop_viewers()
    expect(page.locator("#announce")).to_have_text("No connection")
    expect(page.locator(".tile.stale")).to_have_count(page.locator(".tile").count())
    expect(page.locator(".sales .badge")).to_have_text(re.compile(r"stale ([2-9]|\d\d+)\.\d s"))
    gateway.figures["visitors"] = 77
    gateway.welcome_viewers()
    expect(page.locator("#visitors")).to_have_text("77")
    expect(page.locator(".tile.stale")).to_have_count(0)


def test_the_books(page: Page, gateway: Gateway) -> None:
    """Pending, parked and missing events are in sight, by source on demand."""
    page.goto(gateway.url)
    gateway.send(ledger=ledger(counts(acknowledged=1200, stored=1000, pending=200, rejected=3)))
    expect(page.locator("#verdict")).to_have_text("✓Balanced200 on the way")
    expect(page.locator("#account .acknowledged td")).to_have_text("1,200")
    gateway.send(ledger=ledger(counts(acknowledged=1200, stored=1197), balanced=False))
    expect(page.locator("#verdict")).to_have_text("≠Not balanced3 events missing")
    expect(page.locator("#books")).to_contain_text("≠ not balanced")
    page.get_by_role("button", name="By source").click()
    expect(page.locator("#account thead th")).to_have_text(["Total", "orders"])


def test_a_fault_is_announced(page: Page, gateway: Gateway) -> None:
    """A fault stands in the strip until it is healed, and a screen reader hears both."""
    page.goto(gateway.url)
    fault = {"at": moment(5), "text": "Valkey is frozen for 10 s", "kind": "fault"}
    gateway.send(notices=[fault])
    expect(page.locator("#notice")).to_contain_text("Valkey is frozen")
    expect(page.get_by_role("status")).to_have_text("Live. Valkey is frozen for 10 s")
    gateway.send(notices=[{"at": moment(), "text": "Valkey answers again", "kind": "healed"}, fault])
    expect(page.get_by_role("status")).to_have_text("Live. Valkey answers again")
    page.get_by_text("Log", exact=True).click()
    expect(page.locator("#log li")).to_have_count(2)


def test_an_empty_shop_is_helped(page: Page, gateway: Gateway) -> None:
    """Before the first event the board says how to send one; with it the figures appear."""
    gateway.shop(today={"from": moment(), "currencies": {}}, ledger=ledger(counts(rejected=2)))
    page.goto(gateway.url)
    expect(page.get_by_role("heading", name="Waiting for the first event")).to_be_visible()
    expect(page.locator("#welcome-rejected")).to_contain_text("2 messages were rejected")
    gateway.send(ledger=ledger(counts(acknowledged=1, stored=1)))
    expect(page.locator("#columns")).to_be_visible()
    expect(page.locator("#welcome")).to_be_hidden()


def test_currencies_are_never_mixed(page: Page, gateway: Gateway) -> None:
    """With several currencies each has its own figures, and the reader chooses."""
    today = {"USD": sales("100.00", orders=3), "JPY": sales("26400")}
    gateway.shop(today={"from": moment(), "currencies": today})
    page.goto(gateway.url)
    expect(page.locator("#net")).to_have_text("$100.00")
    page.get_by_role("button", name="JPY").click()
    expect(page.locator("#net")).to_have_text("¥26,400")
    expect(page.get_by_role("button", name="JPY")).to_have_attribute("aria-pressed", "true")


def test_the_keyboard_reads_the_chart(page: Page, gateway: Gateway) -> None:
    """Arrow keys walk over the minutes, and Escape leaves them."""
    now = moment()
    point = {"at": f"{now[:16]}:00+00:00", "orders": 4, "units": 4, "gross": "8.00", "net": "8.00"}
    points = [point | {"discounts": "0.00", "refunds": "0.00"}]
    gateway.shop(series={"step": "minute", "from": moment(3540), "currencies": {"USD": points}})
    page.goto(gateway.url)
    expect(page.locator("#orders canvas")).to_be_visible()
    page.locator("#orders").focus()
    page.keyboard.press("Home")
    expect(page.locator("#orders-readout")).to_have_text(re.compile(r"^\d\d:\d\d +0$"))
    page.keyboard.press("Escape")
    expect(page.locator("#orders")).to_have_attribute("aria-label", re.compile(r"Highest at \d\d:\d\d: 4\."))


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_no_screen_scrolls_sideways(page: Page, gateway: Gateway, width: int) -> None:
    """From a small phone to a wall the page fits its width."""
    gateway.shop(warnings=["Another source reports money: " + "shopify " * 12])
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(gateway.url)
    expect(page.locator("#net")).to_have_text("$1,234.50")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_is_my_tracking_right(page: Page, gateway: Gateway) -> None:
    """Opened from the board by keyboard: what arrives as it does, what is wrong with it, as text; and back again."""
    page.goto(gateway.url)
    expect(page.locator("#columns")).to_be_visible()
    page.locator("#tracking-open").press("Enter")
    expect(page.locator("#tracking")).to_be_focused()
    expect(page.locator("#columns")).to_be_hidden()
    expect(page.locator("#tracking-nothing")).to_be_visible()
    wrong = {"id": "keys", "title": "A write key is missing or wrong", "verdict": "bad", "detail": HOSTILE}
    taken = {"id": "w:1", "at": moment(), "state": "accepted", "name": HOSTILE, "visitor": HOSTILE, "library": HOSTILE}
    refused = {"id": "r1", "at": moment(), "state": "rejected", "name": "purchase", "field": "currency"}
    refused |= {"reason": HOSTILE, "sample": '{"name": "purchase"}'}
    gateway.tracking |= {"checks": [wrong], "events": [refused, taken], "names": {HOSTILE: 3}}
    expect(page.locator("#tracking-sum")).to_have_text("1 thing is wrong.")
    expect(page.locator("#tracking-checks p")).to_have_text(HOSTILE)
    expect(page.locator("#tracking-events .name")).to_have_text(["purchase", HOSTILE])
    expect(page.locator("#tracking-events .reason").first).to_have_text(f"currency: {HOSTILE}")
    page.locator("#tracking-events summary").first.click()
    expect(page.locator("#tracking-events pre").first).to_contain_text('"name": "purchase"')
    expect(page.locator("#tracking-names dd")).to_have_text("3")
    expect(page.locator("#tracking-since")).to_have_text("Taken since 12:04:58")
    expect(page.locator("body img, body script")).to_have_count(0)
    page.locator("#tracking-close").press("Enter")
    expect(page.locator("#columns")).to_be_visible()
    expect(page.locator("#tracking-open")).to_be_focused()
