"""A publisher as a process of its own, to be killed: ``python -m tests.ingest.publishing CONFIGURATION``.

It writes the id of each event that was acknowledged into a file that it fsyncs, outside of everything under test.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import uvloop

from rushlight.events.catalogue import Item, ViewItem
from rushlight.ingest.log import disk
from rushlight.ingest.publisher import EventBus


class Configuration(msgspec.Struct, kw_only=True):
    """What a publisher does.

    Attributes:
        acknowledged: file of acknowledged ids. count: events to publish, then it waits to be killed.
        bug: ``answers-unwritten`` reports records as written that never reached the disk.
    """

    redis_url: str
    mongo_url: str
    database: str
    wal: str
    acknowledged: str
    count: int
    bug: str = ""


async def publish(configuration: Configuration) -> None:
    """Publish one event after the other, noting each that was acknowledged."""
    if configuration.bug == "answers-unwritten":
        disk.write = lambda *_: None  # the seeded bug
    bus = await EventBus.connect(
        redis_url=configuration.redis_url,
        mongo_url=configuration.mongo_url,
        database=configuration.database,
        wal=configuration.wal,
        source="shop",
    )
    noted = os.open(configuration.acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC, 0o600)
    for number in range(configuration.count):
        event = ViewItem(visitor_id=f"v{number % 5}", items=[Item(product_id="tea")])
        envelope = await bus.publish(event)
        os.write(noted, f"{envelope.id} {envelope.aggregate_id}\n".encode())
    await asyncio.Event().wait()


def acknowledged(path: Path) -> list[tuple[str, str]]:
    """Event id and aggregate of what was acknowledged, in order; a torn last line was not."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    pairs = [line.split() for line in lines if line.endswith("\n")]
    return [(event, aggregate) for event, aggregate in pairs]


if __name__ == "__main__":
    uvloop.run(publish(msgspec.json.decode(sys.argv[1], type=Configuration)))
