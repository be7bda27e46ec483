"""On a replica set of three: whatever becomes of its primary, a 2xx is kept, a 503 is honest, and each order is one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest
from pymongo.errors import PyMongoError

from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.recount import verify
from tests.conftest import elsewhere
from tests.engine.audit import eventually
from tests.engine.conftest import working
from tests.engine.replicas import Replicas, replicas
from tests.orders.client import Reply, Shop, insisted, serving

# Elections take their time on a busy machine.
pytestmark = pytest.mark.timeout(600)

CUSTOMERS = 6
PATIENCE_SECONDS = 180.0
ANSWER_SECONDS = 60.0
SPAN_BETWEEN_FAULTS_SECONDS = 0.5


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """One set for these tests, whole again after each."""
    with replicas(tmp_path_factory.mktemp("three")) as some:
        yield some


@pytest.fixture
def here(three: Replicas, settings: Settings) -> Iterator[Settings]:
    """Settings on the three."""
    with three.clearing():
        yield elsewhere(settings, mongo_url=three.url, lease_ttl_seconds=2.0)


async def answered(ask: Callable[[], Awaitable[Reply]]) -> Reply:
    """Ask until the answer is not 503; every answer comes, in the end."""

    async def once() -> Reply:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await ask()

    return await insisted(once, PATIENCE_SECONDS)


class Customers:
    """Place, pay and partly refund one order after another until they are told to stop."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._stopped = asyncio.Event()
        self.done: list[str] = []

    async def run(self) -> None:
        """Be several customers at once."""
        await asyncio.gather(*(self._customer(number) for number in range(CUSTOMERS)))

    def stop(self) -> None:
        """Let each finish the order in hand."""
        self._stopped.set()

    async def _customer(self, number: int) -> None:
        turn = 0
        while not self._stopped.is_set():
            order_id = f"o-{number}-{turn}"
            turn += 1
            created = await answered(partial(self._shop.place, key=order_id, orderId=order_id))
            assert created.status == 201, created.body
            paid = await answered(partial(self._shop.post, f"/orders/{order_id}/pay", key="pay"))
            assert paid.status == 200, paid.body
            refund = partial(self._shop.post, f"/orders/{order_id}/refund", {"amount": "5.00"}, key="refund")
            refunded = await answered(refund)
            assert (refunded.status, refunded.json["refunded"]) == (200, "5.00"), refunded.body
            self.done.append(order_id)


async def figures(database: Database) -> tuple[int, int, int]:
    """Orders, gross and refunds of all of them."""
    sums = [0, 0, 0]
    async for document in database.projection("money").find({"_id": {"$regex": r"/\d\d/default/d/orders/"}}):
        for quarter in document["q"].values():
            for index, name in enumerate("ogr"):
                sums[index] += quarter.get(name, 0)
    return sums[0], sums[1], sums[2]


async def shown(database: Database, *expected: int) -> None:
    """Wait until the figures are these and nothing is left in an outbox."""

    async def so() -> bool:
        try:
            left = await database.orders.find_one({"outbox.p": {"$gte": 0}})
            return left is None and await figures(database) == expected
        except PyMongoError:
            return False

    await eventually(so, PATIENCE_SECONDS)


async def test_primaries_come_and_go(three: Replicas, here: Settings) -> None:
    """Deposed, killed, frozen, without a majority: only 2xx and 503, and all that was answered is kept once."""
    async with serving(here) as shop, working(here):
        customers = Customers(shop)
        buying = asyncio.create_task(customers.run())
        for fault in (_depose, _kill, _freeze, _no_majority):
            await asyncio.sleep(SPAN_BETWEEN_FAULTS_SECONDS)
            await fault(three, shop)
            enough = len(customers.done) + CUSTOMERS
            await eventually(partial(_have_bought, customers, buying, enough), PATIENCE_SECONDS)
        customers.stop()
        await buying
        count = len(customers.done)
        database = await Database.connect(here, role="test")
        await shown(database, count, count * 2000, count * 500)
        stored = {document["_id"]: document for document in shop.documents({"_id": {"$regex": "^o-"}})}
        assert stored.keys() == set(customers.done)
        assert {(order["paid"], order["refunded"], order["emitted"]) for order in stored.values()} == {(2000, 500, 3)}
        recount = await verify(database)
        assert (recount.differences, recount.verified) == ([], True)
        await database.close()


async def _have_bought(customers: Customers, buying: asyncio.Task[None], enough: int) -> bool:
    if buying.done():
        buying.result()
    return len(customers.done) >= enough


async def _depose(three: Replicas, _: Shop) -> None:
    await asyncio.to_thread(three.depose)


async def _kill(three: Replicas, _: Shop) -> None:
    primary = await asyncio.to_thread(three.primary)
    three.kill(primary)
    await asyncio.to_thread(three.primary)
    three.start(primary)


async def _freeze(three: Replicas, shop: Shop) -> None:
    primary = await asyncio.to_thread(three.primary)
    three.freeze(primary)
    try:
        assert await asyncio.to_thread(three.primary) != primary
        # Nobody has to come back for orders to be taken.
        assert (await answered(partial(shop.place, key="none-f", orderId="none-f"))).status == 201
        assert (await answered(partial(shop.post, "/orders/none-f/cancel", key="c"))).status == 200
    finally:
        three.thaw(primary)


async def _no_majority(three: Replicas, shop: Shop) -> None:
    """Two of three gone, one killed and one frozen: every request is answered, with 503 and when to come again."""
    primary = await asyncio.to_thread(three.primary)
    killed, frozen = three.others(primary)
    three.kill(killed)
    three.freeze(frozen)
    try:
        answers = await asyncio.gather(*(shop.place(key=f"none-{n}") for n in range(40)), shop.get("/orders/o-0-0"))
        assert {answer.status for answer in answers[:-1]} == {503}
        assert {answer.error["code"] for answer in answers[:-1]} <= {"unavailable", "unknown_outcome"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers[:-1])
        assert answers[-1].status in {200, 503}
    finally:
        three.thaw(frozen)
        three.start(killed)
    await asyncio.to_thread(three.primary)
    for n in range(40):
        again = await answered(partial(shop.place, key=f"none-{n}"))
        assert again.status == 201
        # They came to be through all this; what they are is told by another test.
        assert (await answered(partial(shop.post, f"/orders/{again.json['orderId']}/cancel", key="c"))).status == 200


async def test_what_is_rolled_back_is_no_revenue(three: Replicas, here: Settings) -> None:
    """An order and a payment that only a dying primary had: 503, in no figure after it, and done by a repeat."""
    async with serving(here) as shop, working(here):
        assert (await answered(partial(shop.place, key="kept", orderId="kept"))).status == 201
        database = await Database.connect(here, role="test")
        await shown(database, 1, 2000, 0)
        primary = await asyncio.to_thread(three.primary)
        with three.alone(primary):
            ghost, paid = await asyncio.gather(
                shop.place(key="ghost", orderId="ghost"), shop.post("/orders/kept/pay", key="pay")
            )
            assert (ghost.status, ghost.error["code"]) == (503, "unknown_outcome")
            assert (paid.status, paid.error["code"]) == (503, "unknown_outcome")
            assert three.local(primary, here.database, "ghost") is not None
            assert (three.local(primary, here.database, "kept") or {})["status"] == "paid"
            three.kill(primary)
        assert await asyncio.to_thread(three.primary) != primary
        assert (await answered(partial(shop.place, key="next", orderId="next"))).status == 201
        three.start(primary)
        await eventually(partial(_has, three, primary, here.database, "next"), PATIENCE_SECONDS)
        assert three.local(primary, here.database, "ghost") is None
        await shown(database, 2, 4000, 0)
        assert await database.journal.count_documents({"aggregateId": "ghost"}) == 0
        assert shop.stored("kept")["status"] == "created"
        again = await answered(partial(shop.place, key="ghost", orderId="ghost"))
        repaid = await answered(partial(shop.post, "/orders/kept/pay", key="pay"))
        assert (again.status, again.replayed, repaid.status, repaid.replayed) == (201, False, 200, False)
        await shown(database, 3, 6000, 0)
        assert await database.journal.count_documents({"aggregateId": "kept"}) == 2
        assert (await verify(database)).differences == []
        await database.close()


async def _has(three: Replicas, port: int, database: str, order_id: str) -> bool:
    try:
        return await asyncio.to_thread(three.local, port, database, order_id) is not None
    except PyMongoError:
        return False


async def test_what_survives_counts_once(three: Replicas, here: Settings) -> None:
    """An order and a payment that reached a majority after their 503: figures once, and a repeat finds them done."""
    async with serving(here) as shop, working(here):
        assert (await answered(partial(shop.place, key="kept", orderId="kept"))).status == 201
        database = await Database.connect(here, role="test")
        primary = await asyncio.to_thread(three.primary)
        with three.alone(primary):
            late, paid = await asyncio.gather(shop.place(key="late"), shop.post("/orders/kept/pay", key="pay"))
            assert (late.status, paid.status) == (503, 503)
        again = await answered(partial(shop.place, key="late"))
        repaid = await answered(partial(shop.post, "/orders/kept/pay", key="pay"))
        assert (again.status, again.replayed) == (201, True)
        assert (repaid.status, repaid.replayed) == (200, True)
        await shown(database, 2, 4000, 0)
        assert len(shop.documents()) == 2
        assert (shop.stored("kept")["paid"], shop.stored("kept")["emitted"]) == (2000, 2)
        assert (await verify(database)).differences == []
        await database.close()
