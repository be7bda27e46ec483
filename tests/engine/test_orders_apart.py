"""Orders on a MongoDB of their own: neither server's trouble is the other's, and nothing is lost or hidden."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import NamedTuple

import msgspec
import pytest

from rushlight.bus.appender import Appender
from rushlight.events.catalogue import OrderPaid
from rushlight.query.freshness import NEVER, Freshness
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.ledger import LedgerReader, read
from rushlight.store.recount import verify
from tests.engine.audit import audit, eventually, settled
from tests.engine.conftest import working
from tests.engine.failing import OwnMongod, own_mongod
from tests.engine.shop import Shop
from tests.orders.client import Reply, insisted, serving
from tests.orders.client import Shop as OrderShop

pytestmark = pytest.mark.timeout(400)


class Apart(NamedTuple):
    """Two servers, and settings on them."""

    analytics: OwnMongod
    orders: OwnMongod
    settings: Settings


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OwnMongod, OwnMongod]]:
    """A MongoDB for the analytics and one for the orders."""
    with (
        own_mongod(tmp_path_factory.mktemp("analytics") / "d") as analytics,
        own_mongod(tmp_path_factory.mktemp("orders") / "d") as orders,
    ):
        yield analytics, orders


@pytest.fixture
async def apart(two: tuple[OwnMongod, OwnMongod], settings: Settings) -> AsyncIterator[Apart]:
    """Both at work, whatever the test leaves behind."""
    analytics, orders = two
    urls = {"mongo_url": analytics.url, "orders_mongo_url": orders.url}
    yield Apart(analytics, orders, msgspec.structs.replace(settings, lease_ttl_seconds=2.0, **urls))
    for mongod in two:
        mongod.child.signal(signal.SIGCONT)


async def gross(database: Database) -> int:
    """The figure of all orders."""
    found = database.projection("money").find({"_id": {"$regex": r"^1/\d\d/default/d/orders/"}})
    return sum([quarter.get("g", 0) async for document in found for quarter in document["q"].values()])


async def test_the_analytics_server_is_frozen(apart: Apart) -> None:
    """Orders and changes go on as if nothing were; later all of them arrive, and the recount agrees."""
    async with serving(apart.settings) as shop, working(apart.settings):
        assert (await shop.place(orderId="before")).status == 201
        apart.analytics.child.signal(signal.SIGSTOP)
        try:
            for n in range(0, 200, 20):
                answers = await asyncio.gather(*(_placed(shop, m) for m in range(n, n + 20)))
                assert {answer.status for answer in answers} == {201}
            for n in range(50):
                paid = await insisted(partial(shop.post, f"/orders/o{n}/pay", key="pay"))
                assert paid.status == 200
            assert (await shop.get("/health/ready")).status == 200
        finally:
            apart.analytics.child.signal(signal.SIGCONT)
        database = await Database.connect(apart.settings, role="test")
        await eventually(lambda: _all_settled(database, 1 + 200 * 2 + 50))
        assert await gross(database) == 201 * 2000
        recount = await verify(database)
        assert (recount.verified, recount.differences, recount.ledger.unreachable) == (True, [], [])
        await database.close()


async def _placed(shop: OrderShop, number: int) -> Reply:
    fields = {"orderId": f"o{number}", "visitorId": f"v{number % 9}"}
    return await insisted(partial(shop.place, key=f"k{number}", **fields))


async def _all_settled(database: Database, events: int) -> bool:
    total = (await read(database)).total
    return (total.acknowledged, total.stored, total.pending) == (events, events, 0)


async def test_the_orders_server_is_frozen(apart: Apart, appender: Appender) -> None:
    """Streams and new workers go on, ledger and freshness say what they cannot know, and later all is right.

    An order whose first event never came by the stream waits for its outbox; it does not go ahead of it.
    """
    database = await Database.connect(apart.settings, role="test")
    ledger, freshness = LedgerReader(database), Freshness(database)
    shop = Shop(database, appender, seed=21, loss=1.0)
    gap = (await shop.place(1))[0]
    shop.loss = 0.0
    await shop.report(OrderPaid(order_id=gap, payment_id="x", currency="EUR", amount=5))
    await shop.place(10)
    known = await freshness.read()
    apart.orders.child.signal(signal.SIGSTOP)
    try:
        async with working(apart.settings):
            await shop.visit(60)
            visits = {event.id for event in shop.acknowledged if event.source == "web"}
            await eventually(lambda: _stored(database, visits))
            assert await database.journal.count_documents({"aggregateId": gap, "source": "orders"}) == 0
            now = await ledger.read(wait=True)
            assert (now.balanced, now.unreachable) == (False, ["orders"])
            assert (await freshness.read()).money <= known.money
            assert (await Freshness(database).read()).money == NEVER
            apart.orders.child.signal(signal.SIGCONT)
            await shop.place(10)
            await settled(database, shop.acknowledged)
            await eventually(lambda: _reached(ledger))
    finally:
        apart.orders.child.signal(signal.SIGCONT)
    assert await audit(database, shop.acknowledged) == []
    assert (await freshness.read()).money >= known.money
    await database.close()


async def _stored(database: Database, event_ids: set[str]) -> bool:
    return await database.journal.count_documents({"_id": {"$in": list(event_ids)}}) == len(event_ids)


async def _reached(ledger: LedgerReader) -> bool:
    now = await ledger.read(wait=True)
    orders = now.sources["orders"]  # of the visits, which came without a log, nobody keeps books
    return not now.unreachable and orders.pending == 0 and orders.acknowledged == orders.stored
