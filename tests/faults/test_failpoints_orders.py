"""The order service dies at every step of creating and paying; its callers repeat, and each order is there once."""

from __future__ import annotations

from tests.faults.city import City, Ground
from tests.faults.places import ORDERS


async def die(city: City) -> None:
    """Callers order and pay at one door with several processes; all die, another one answers what is repeated."""
    async with city.clients(city.order):
        async with city.doomed("orders", ORDERS):
            pass
        city.keep(city.start("orders"))
    await city.answered_is_stored()
    placed = [order["_id"] async for order in city.database.orders.find({}, {"_id": 1})]
    told = await city.database.journal.distinct("aggregateId", {"eventName": "order_created"})
    paid = await city.database.journal.distinct("aggregateId", {"eventName": "order_paid"})
    assert sorted(placed) == sorted(told) == sorted(paid)


def test_the_order_service_dies(ground: Ground) -> None:
    """Each failpoint fired; no order is without its events, and none was placed or paid twice."""
    ground.run(die(ground.city))
