"""Parks events as code does that does not know them yet, asks about them, and looks whether all is right afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rushlight.engine import sorter as sorting
from rushlight.errors import Rejected
from rushlight.events.catalogue import OrderPaid
from rushlight.events.envelope import Envelope
from rushlight.events.ids import partition_of
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.parking import Request, Requests, Verb, Wish
from rushlight.store.recount import verify
from tests.engine.audit import audit, eventually, settled
from tests.engine.conftest import working
from tests.engine.shop import Shop


def wish(aggregate_id: str, kind: Verb = "retry", reason: str = "") -> Wish:
    """About an aggregate of the default shop."""
    partition = partition_of("default", aggregate_id, 8)
    return Wish(partition=partition, kind=kind, shop="default", aggregate_id=aggregate_id, reason=reason)


async def of_origin(database: Database, origin: str, kind: Verb = "drop", reason: str = "no use") -> Wish:
    """About one record."""
    record = await database.outcomes.find_one({"_id": origin})
    assert record is not None
    return Wish(partition=record["p"], kind=kind, origin=origin, reason=reason)


async def asked(database: Database, *wishes: Wish) -> list[Request]:
    """Write wishes down and wait until the owners have answered all of them."""
    requests = Requests(database)
    group = await requests.ask(wishes, by="a test")

    async def done() -> bool:
        return not await requests.count_open(group)

    await eventually(done)
    return await requests.of_group(group)


def counts(request: Request) -> tuple[int, int, int, int]:
    """What became of the records: stored, duplicate, dropped, left."""
    return request.stored, request.duplicate, request.dropped, request.left


async def right(database: Database, acknowledged: list[Envelope]) -> None:
    """Everything that the audit and the recount look at is as it must be."""
    assert await audit(database, acknowledged) == []
    recount = await verify(database)
    assert recount.differences == []


async def columns(database: Database, source: str = "orders") -> Counter[str]:
    """The ledger's counters of one source, over all partitions; those that are not zero."""
    total: Counter[str] = Counter()
    async for counter in database.ledger.find({"source": source}):
        total.update({name: counter.get(name, 0) for name in ("stored", "duplicate", "parked", "dropped")})
    return Counter({name: count for name, count in total.items() if count})


@contextmanager
def old_code(refused: set[str]) -> Iterator[None]:
    """Code to which the payloads of these events (by name) make no sense."""

    def strict(event: Envelope) -> None:
        if event.name in refused:
            raise Rejected("this code does not know it", field="payload")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "check", strict)
        yield


async def parked(database: Database, shop: Shop, brisk: Settings, orders: int = 3, payments: int = 3) -> list[str]:
    """Orders whose payments a worker with old code has parked; returns their ids."""
    names = await shop.place(orders)
    for _ in range(payments):
        for name in names:
            await shop.report(
                OrderPaid(order_id=name, payment_id=f"p-{len(shop.acknowledged)}", currency="EUR", amount=1)
            )
    with old_code({"order_paid"}):
        async with working(brisk):
            await settled(database, shop.acknowledged)
    assert await database.outcomes.count_documents({"kind": "parked"}) == orders * payments
    return names
