"""A long request is taken as a whole like any other, and others are answered while it is in work."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from rushlight.ingest import admission as admission_
from rushlight.ingest.dialects.cloudevents import BATCH
from rushlight.ingest.http import IngestApp
from rushlight.ingest.keys import Keyring, create
from rushlight.ingest.turns import Turns
from rushlight.metrics import Exposition
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.ingest.conftest import OpenIntake
from tests.ingest.making import in_streams, until
from tests.ingest.test_http import Door, event

WRONG = event(type="order_paid")


@pytest.fixture
async def door(open_intake: OpenIntake, database: Database) -> Door:
    """The app on a log with room for long requests."""
    public, secret = await create(database, "public"), await create(database, "secret")
    door = Door(await open_intake(cap_bytes=64 << 20), Keyring(database), public, secret)
    await door.send(event(0))
    await door.send(event(0), key=secret)
    return door


def costly(number: int) -> dict[str, Any]:
    """An event that takes long to look through."""
    page = {f"k{n}": {"a": [n, f"https://shop.example/?email=a{n}@b.example"]} for n in range(10)}
    return event(number, type="own", subject=f"v{number % 7}", data={"visitorId": f"v{number % 7}", **page})


def batch(count: int = 2500) -> list[dict[str, Any]]:
    """So many of them."""
    return [costly(number) for number in range(1, count + 1)]


def packed(events: list[Any]) -> bytes:
    """A body within what a body may have."""
    return gzip.compress(json.dumps(events).encode(), 1)


def held(door: Door) -> str:
    """What the door says that it holds."""
    exposition = Exposition()
    door.app.admission.collect(exposition)
    (line,) = [line for line in exposition.text().splitlines() if line.startswith("rushlight_ingest_held_bytes")]
    return line.split()[1]


async def test_single_senders_are_answered_beside_a_hostile_batch(door: Door) -> None:
    """One after another twenty requests are answered, while one with 2,500 costly events is in work."""
    long = asyncio.create_task(door.send(packed(batch()), media_type=BATCH))
    await asyncio.sleep(0)
    between = 0
    while between < 20 and not long.done():
        assert (await door.send(WRONG)).status == 400
        between += 1
    assert (between, long.done()) == (20, False)
    assert (await door.send(event(9999), key=door.secret)).status == 202
    answer = await long
    assert (answer.status, answer.body) == (202, {"accepted": 2500, "rejected": []})
    assert held(door) == "0"


async def test_each_event_has_its_place_in_the_answer_and_in_the_log(door: Door, settings: Settings) -> None:
    """What was turned away is told by its place in the whole request; the order is kept; repeats are acknowledged."""
    events: list[Any] = batch(250)
    events[3] = events[120] = events[249] = WRONG
    events[200] = events[199]
    answer = await door.send(events, media_type=BATCH)
    assert answer.status == 202
    assert (answer.body["accepted"], [row["index"] for row in answer.body["rejected"]]) == (247, [3, 120, 249])
    await until(lambda: _count(settings, 249))
    own = [found for found in in_streams(settings.redis_url or "") if found.name == "own"]
    assert len({found.id for found in own}) == 246
    for visitor in {found.aggregate_id for found in own}:
        numbers = [int(found.origin.rpartition(":")[2]) for found in own if found.aggregate_id == visitor]
        sent = [number for number in range(250) if number not in (3, 120, 249) and _visitor(number) == visitor]
        assert numbers == sorted(numbers)
        assert len(numbers) == len(sent)


def _visitor(index: int) -> str:
    return f"v{(200 if index == 200 else index + 1) % 7}"


async def _count(settings: Settings, count: int) -> bool:
    return len(in_streams(settings.redis_url or "")) >= count


@pytest.mark.parametrize("body", [b"[" + b"x," * 50_000 + b"1", b"{" + b" " * 70_000, gzip.compress(b"[" * 70_000)])
async def test_a_long_body_that_cannot_be_read(door: Door, body: bytes) -> None:
    """It is refused as a short one is."""
    answer = await door.send(body, media_type=BATCH)
    assert (answer.status, answer.body["error"]["code"]) == (400, "json")
    assert (await door.send(gzip.compress(body)[:-5] + b"x" * 9000, media_type=BATCH)).status == 400
    assert held(door) == "0"


async def test_a_key_in_debt_is_not_read_for(door: Door, database: Database) -> None:
    """What comes behind a batch that has used up the quota is refused by the quota, whatever it holds."""
    key = await create(database, "public", limit=1)
    assert (await door.send(WRONG, key=key)).status == 400
    first = asyncio.create_task(door.send(packed(batch(150)), key=key, media_type=BATCH))
    await asyncio.sleep(0)
    second = asyncio.create_task(door.send(b"[" * 70_000, key=key, media_type=BATCH))
    assert (await first).status == 202
    assert (await second).status == 429


async def test_what_is_in_work_is_bounded_key_by_key(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with too much in work is told to come again; another key is not concerned, and all is let go in the end."""
    monkeypatch.setattr(admission_, "MAX_HELD_BY_ONE", 400_000)
    body = json.dumps(batch(400)).encode()
    assert 200_000 < len(body) < 400_000
    sending = [asyncio.create_task(door.send(body, media_type=BATCH)) for _ in range(3)]
    other = asyncio.create_task(door.send(body, media_type=BATCH, key=door.secret))
    assert sorted([(await one).status for one in sending]) == [202, 503, 503]
    assert (await other).status == 202
    assert held(door) == "0"


async def test_a_client_that_leaves_in_the_middle(door: Door) -> None:
    """What it has sent is taken whole, for it may believe that it was; nothing stays held."""
    before = door.intake.pending
    sending = asyncio.create_task(door.send(batch(300), media_type=BATCH))
    await asyncio.sleep(0.001)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)

    async def taken() -> bool:
        return door.intake.pending == before + 300

    await until(taken)
    assert held(door) == "0"


async def test_a_stop_in_the_middle(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """An intake that closes meanwhile takes nothing of it, and its sender is told to come again."""
    before = door.intake.pending
    added = asyncio.Event()
    add = Turns.add

    def noted(self: Turns, *arguments: Any) -> None:
        added.set()
        add(self, *arguments)

    monkeypatch.setattr(Turns, "add", noted)
    sending = asyncio.create_task(door.send(batch(300), media_type=BATCH))
    await added.wait()
    closing = asyncio.create_task(door.intake.close(settle_seconds=0))
    assert (await sending).status == 503
    await closing
    assert door.intake.pending == before


async def test_our_mistake_is_answered(door: Door, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """An error of ours in the middle of a long request is a 500 with a traceback in the log, and lets go of it."""

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("rushlight.ingest.taking.seal_all", fail)
    assert (await door.send(batch(200), media_type=BATCH)).status == 500
    assert "ZeroDivisionError" in caplog.text
    assert held(door) == "0"
    assert isinstance(door.app, IngestApp)
