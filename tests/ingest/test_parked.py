"""What a write-ahead log let go of when it was parked is retried from its record; the log's books stay right."""

from __future__ import annotations

from rushlight.events.ids import partition_of
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.ledger import read
from rushlight.store.parking import Requests, Wish
from rushlight.store.recount import verify
from tests.engine.aside import old_code
from tests.ingest.conftest import OpenIntake
from tests.ingest.making import until, views, working
from tests.ingest.test_intake import settled


async def test_a_log_that_let_go(open_intake: OpenIntake, settings: Settings, database: Database) -> None:
    """Parked is settled: the log closes without it; a retry stores all, and another log finds nothing to send again."""
    intake = await open_intake()
    with old_code({"view_item"}):
        async with working(settings):
            await intake.accept(views(30, visitors=3))
            await settled(intake)
    await intake.close()
    ledger = await read(database)
    assert (ledger.balanced, ledger.total.acknowledged, ledger.total.parked) == (True, 30, 30)
    requests = Requests(database)
    wishes = [
        Wish(partition=partition_of("default", f"v{n}", 8), kind="retry", shop="default", aggregate_id=f"v{n}")
        for n in range(3)
    ]
    group = await requests.ask(wishes, by="a test")
    async with working(settings):

        async def done() -> bool:
            return not await requests.count_open(group)

        await until(done)
        another = await open_intake()
        await another.accept(views(3))
        await settled(another)
        await another.close()
    recount = await verify(database)
    assert recount.verified, recount.differences
    total = recount.ledger.total
    assert (total.acknowledged, total.stored, total.parked, total.duplicate, total.pending) == (33, 33, 0, 0, 0)
