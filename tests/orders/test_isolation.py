"""Orders are taken at the same pace whatever becomes of Redis: frozen, killed or absent."""

from __future__ import annotations

import asyncio
import math

import msgspec
import pytest

from rushlight.errors import SetupError
from rushlight.local.instance import Instance
from rushlight.orders.app import build
from rushlight.settings import Settings
from tests.orders.client import Shop, serving


async def placed(shop: Shop, count: int, prefix: str) -> list[int]:
    """Place orders over sixteen connections; the statuses."""
    numbers = iter(range(count))

    async def customer() -> list[int]:
        return [(await shop.place(orderId=f"{prefix}-{n}", visitorId=f"v{n}")).status for n in numbers]

    return [status for part in await asyncio.gather(*(customer() for _ in range(16))) for status in part]


async def test_orders_are_taken_while_redis_is_frozen_and_killed(own_servers: Instance) -> None:
    """Two hundred orders with Valkey stopped by SIGSTOP and two hundred more after a kill: all 201, all with events."""
    async with serving(own_servers.settings) as shop:
        assert await placed(shop, 50, "well") == [201] * 50
        own_servers.freeze("valkey")
        assert await placed(shop, 200, "frozen") == [201] * 200
        assert (await shop.post("/orders/frozen-0/pay")).status == 200
        own_servers.thaw("valkey")
        own_servers.kill("valkey")
        assert await placed(shop, 200, "killed") == [201] * 200
        assert {len(document["outbox"]) for document in shop.documents({"_id": {"$ne": "frozen-0"}})} == {2}
        assert (await shop.get("/health/ready")).status == 200


async def test_orders_are_taken_without_redis(settings: Settings) -> None:
    """A service that has no Redis, or one that was never there, takes orders and says so."""
    nowhere = "redis://127.0.0.1:1/0"
    for url, stream in ((None, {None}), (nowhere, {"well", "unwell"})):
        async with serving(msgspec.structs.replace(settings, redis_url=url)) as shop:
            assert await placed(shop, 50, str(bool(url))) == [201] * 50
            assert (await shop.get("/health/ready")).json["stream"] in stream


async def test_orders_need_their_own_database_only(settings: Settings) -> None:
    """With orders in a database of their own, nothing is asked of the analytics' one."""
    apart = msgspec.structs.replace(
        settings, mongo_url="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100", orders_mongo_url=settings.mongo_url
    )
    async with serving(apart) as shop:
        assert await placed(shop, 20, "apart") == [201] * 20


async def test_the_number_of_partitions_is_for_life(settings: Settings) -> None:
    """A service that would number partitions otherwise than the database's does not start."""
    async with serving(settings):
        app = build(msgspec.structs.replace(settings, partitions=4))
        with pytest.raises(SetupError, match="8 partitions for life"):
            await app.start()


async def test_a_frozen_database_is_answered_in_time(own_servers: Instance) -> None:
    """With MongoDB stopped every request ends in a 503 with Retry-After; after it goes on, orders are taken."""
    async with serving(own_servers.settings) as shop:
        order_id = (await shop.place(key="first")).json["orderId"]
        own_servers.freeze("mongod")
        try:
            answers = await asyncio.gather(
                *(shop.place(key=f"k{n}") for n in range(30)),
                shop.post(f"/orders/{order_id}/pay", key="p"),
                shop.get(f"/orders/{order_id}"),
            )
        finally:
            own_servers.thaw("mongod")
        assert {answer.status for answer in answers} == {503}
        assert all(math.isfinite(float(answer.headers["retry-after"])) for answer in answers)
        assert {answer.error["code"] for answer in answers} <= {"unavailable", "unknown_outcome"}
        again = await asyncio.gather(*(shop.place(key=f"k{n}") for n in range(30)))
        assert {answer.status for answer in again} == {201}
        assert (await shop.post(f"/orders/{order_id}/pay", key="p")).status == 200
        assert len(shop.documents()) == 31
