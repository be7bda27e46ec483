"""The SDKs that shops use, unmodified, over a bad network: what they sent is stored once, and figures are right."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pymongo
import pytest
import redis
from playwright.sync_api import sync_playwright

import hatch_build
from rushlight.ingest.keys import Kind, create
from rushlight.local.instance import Instance
from rushlight.settings import Settings, Shop
from rushlight.store.database import Database
from tests.clients import measurement, story
from tests.clients.proxy import FAULTS, Proxy
from tests.conftest import Launched

HERE = Path(__file__).parent
BUNDLE = HERE / "node_modules" / "@segment" / "analytics-next" / "dist" / "umd"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# What a visitor's browser says of itself; a headless one says that it is, and is counted as a bot.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
DRIVE_SECONDS = 200.0
STORED_SECONDS = 60.0

pytestmark = pytest.mark.timeout(300)


class Client(NamedTuple):
    """An SDK and how it is driven.

    Attributes:
        kind: of its key. Servers tell of the orders, a page of what its visitors do.
    """

    name: str
    kind: Kind
    drive: Callable[[Proxy, str, Path], None]


def python(sdk: str, proxy: Proxy, key: str, told: Path) -> None:
    """Tell a story by one of the Python SDKs."""
    _run([sys.executable, str(HERE / "driving.py"), sdk, proxy.url, key, str(told)])


def node(sdk: str, proxy: Proxy, key: str, told: Path) -> None:
    """Tell a story by one of the Node SDKs."""
    _run([str(hatch_build.node_program()), str(HERE / "driving.mjs"), sdk, proxy.url, key, str(told)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=DRIVE_SECONDS, check=False, cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr


def browser(proxy: Proxy, key: str, told: Path) -> None:
    """Tell a story by analytics.js in a page of Chromium, which has another origin than what it sends to."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path is not None, "no Chromium: make install brings it"
    with _pages() as page_url, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = chromium.new_context(user_agent=AGENT).new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda sent: None if "//127.0.0.1:" in sent.url else errors.append(sent.url))
        page.set_default_timeout(DRIVE_SECONDS * 1000)
        page.goto(page_url)
        steps = json.loads(told.read_text("utf-8"))
        page.evaluate("([steps, key, url]) => tell(steps, key, url)", [steps, key, proxy.url])
        # What failed it sends again in its own time.
        deadline = time.monotonic() + DRIVE_SECONDS
        while len(proxy.delivered) < len(steps) and time.monotonic() < deadline:
            page.wait_for_timeout(100)
        chromium.close()
        assert errors == []


class _Pages(SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        return str(BUNDLE / path.removeprefix("/umd/") if path.startswith("/umd/") else HERE / "page.html")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base
        pass


@contextmanager
def _pages() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


CLIENTS = (
    Client("segment-python", "secret", partial(python, "segment")),
    Client("rudder-python", "secret", partial(python, "rudder")),
    Client("segment-node", "secret", partial(node, "segment")),
    Client("rudder-node", "secret", partial(node, "rudder")),
    Client("segment-browser", "public", browser),
)
SHOPS: dict[str, Kind] = {client.name: client.kind for client in CLIENTS} | {"ga4": "secret"}


class Served(NamedTuple):
    """A running instance, and a key of each shop."""

    instance: Instance
    keys: dict[str, str]

    @property
    def board(self) -> str:
        """Where everything is."""
        return self.instance.urls["board"]


@pytest.fixture(scope="module")
def served(servers: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Web and worker with a shop for each client, and GA4's, whose money is what its API reports."""
    with redis.Redis.from_url(servers.redis_url) as valkey:
        valkey.flushall()
    settings = Settings(
        data=str(tmp_path_factory.mktemp("clients") / "data"),
        port=0,
        redis_url=servers.redis_url,
        mongo_url=servers.mongo_url,
        database=f"test_{uuid.uuid4().hex[:12]}",
        shops={shop: Shop(source_of_record="api") for shop in SHOPS},
    )
    launched = Launched(settings, ("web", "worker"))
    try:
        instance = launched.ready()
        yield Served(instance, asyncio.run(_keys(instance.settings)))
    finally:
        if launched.process.code is None:
            launched.stop()
        with pymongo.MongoClient[dict[str, Any]](servers.mongo_url) as mongo:
            mongo.drop_database(settings.database)


async def _keys(settings: Settings) -> dict[str, str]:
    database = await Database.connect(settings, role="tests")
    try:
        return {shop: await create(database, kind, shop) for shop, kind in SHOPS.items()}
    finally:
        await database.close()


@pytest.mark.parametrize("client", CLIENTS, ids=[client.name for client in CLIENTS])
def test_a_story_told_by(client: Client, served: Served, tmp_path: Path) -> None:
    """Some requests are refused, some answers lost: what is stored is what was sent, once, and what it comes to."""
    trusted = client.kind == "secret"
    begin = _within_a_day(datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=40))
    steps = story.story(len(client.name), begin, trusted=trusted)
    assert len(steps) >= 300
    told = tmp_path / "story.json"
    told.write_text(json.dumps(steps), encoding="utf-8")
    with Proxy(served.board, seed=len(client.name)) as proxy:
        client.drive(proxy, served.keys[client.name], told)
    assert _spoken(proxy.messages.values()) == _spoken(steps)
    assert proxy.delivered == set(proxy.messages)
    assert proxy.injected.keys() == set(FAULTS)
    assert proxy.resent > 0
    expected = story.ids(proxy.messages.values(), client.name, trusted=trusted)
    assert Counter(row["_id"] for row in _rows(served, client.name, len(expected))) == Counter(expected)
    assert _told(served.board, client.name, begin) == story.figures(steps, client.name, trusted=trusted)
    _balanced(served.board)


def test_a_story_told_to_the_measurement_protocol(served: Served) -> None:
    """GA4 has no message ids, and a server that sends again when in doubt: stored is what was sent, once."""
    begin = _within_a_day(datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=40))
    steps = measurement.measured(story.story(4, begin, trusted=True))
    assert len(steps) >= 300
    with Proxy(served.board, seed=4, messages_in=measurement.messages) as proxy:
        measurement.send(proxy.url, served.keys["ga4"], steps)
    assert len(proxy.messages) == len(steps)
    assert proxy.delivered == set(proxy.messages)
    assert proxy.injected.keys() == set(FAULTS)
    assert proxy.resent > 0
    expected = measurement.stored(steps)
    rows = _rows(served, "ga4", expected.total())
    assert Counter((row["eventName"], row["aggregateId"], row["timestamp"]) for row in rows) == expected
    assert _told(served.board, "ga4", begin) == story.figures(steps, "ga4", trusted=True)
    _balanced(served.board)


def _within_a_day(begin: datetime) -> datetime:
    """The same, or earlier: a session ends at midnight, and clocks are corrected by moments."""
    end = begin + timedelta(minutes=25)
    return begin if end.date() == begin.date() else begin - timedelta(minutes=end.minute + 1)


def _spoken(messages: Any) -> Counter[tuple[str, Any]]:
    """How often each kind of message was sent, by event."""
    return Counter((message["type"], message.get("event")) for message in messages)


def _rows(served: Served, shop: str, count: int) -> list[dict[str, Any]]:
    """The shop's part of the journal, when there is as much as there must be, or no more comes."""
    deadline = time.monotonic() + STORED_SECONDS
    with pymongo.MongoClient[dict[str, Any]](served.instance.mongo_url, tz_aware=True) as mongo:
        journal = mongo[served.instance.database]["journal"]
        while journal.count_documents({"shop": shop}) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return [*journal.find({"shop": shop})]


def _told(board: str, shop: str, begin: datetime) -> dict[str, Any]:
    """What the API says of the hours around the story, in the shape of `story.figures`."""
    start = begin.replace(minute=0, second=0) - timedelta(hours=1)
    span = {"shop": shop, "from": start.isoformat(), "to": (start + timedelta(hours=4)).isoformat()}
    with httpx.Client(base_url=f"{board}/api/v1", timeout=60) as api:
        summary, funnel, products = (
            api.get(f"/{name}", params=span).json() for name in ("summary", "funnel", "products")
        )
    return {
        "summary": _cents(summary["currencies"].get("USD", {})),
        "funnel": [step["sessions"] for step in funnel["steps"]],
        "products": {
            product["productId"]: {
                name: count
                for name, count in {
                    "views": product["views"],
                    "adds": product["adds"],
                    **_cents(product["currencies"].get("USD", {})),
                }.items()
                if count
            }
            for product in products["products"]
        },
    }


def _cents(sales: dict[str, Any]) -> dict[str, int]:
    """Amounts in cents; what follows from the others is left out."""
    names = [name for name in story.MONEY.values() if not sales or name in sales]
    return {
        name: int(sales.get(name, 0) if name in ("orders", "units") else Decimal(sales.get(name, "0")) * 100)
        for name in names
    }


def _balanced(board: str) -> None:
    """Wait until every acknowledged event is settled and the books agree."""
    deadline = time.monotonic() + STORED_SECONDS
    ledger: dict[str, Any] = {}
    while not (ledger.get("balanced") and not ledger["total"]["pending"]):
        assert time.monotonic() < deadline, ledger
        ledger = httpx.get(f"{board}/api/v1/ledger", timeout=60).json()
    total = ledger["total"]
    assert (total["parked"], total["dropped"], total["rejected"]) == (0, 0, 0)
    assert total["duplicate"] > 0
