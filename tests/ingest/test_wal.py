"""A log keeps what it said is written, within its cap, whatever the disk does."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rushlight.errors import Unavailable
from rushlight.events.envelope import encode
from rushlight.ingest.log import disk
from rushlight.ingest.log.priority import BEHAVIOUR, MONEY, VIEW, priority_of
from rushlight.ingest.log.segment import Entry, Records
from rushlight.ingest.log.wal import Call, WriteAheadLog
from tests.ingest.making import view

CAP_BYTES = 1 << 20
RECEIVED_MS = 1_700_000_000_000


def entry(log: WriteAheadLog, event_id: str | None = None, *, size: int = 0, priority: int = VIEW) -> Entry:
    """A record of a log; ``size`` makes it at least so large."""
    event = view(name="x" * size)
    event.id = event_id or event.id
    event.received_at = datetime.fromtimestamp(RECEIVED_MS / 1000, UTC)
    return Entry(encode(event), bytes.fromhex(event.id), 3, log.sources.number("web"), priority)


def number_as_id(number: int) -> str:
    """An event id from which one can tell the record's number."""
    return f"{number:032x}"


async def written(log: WriteAheadLog, count: int = 1, *, size: int = 0, priority: int = VIEW) -> Call:
    """Put records, and wait until they are on disk."""
    first = log.next_number
    entries = [entry(log, number_as_id(first + i), size=size, priority=priority) for i in range(count)]
    call = log.put(Records.of(entries), RECEIVED_MS, priority)
    await call.future
    return call


async def fill(log: WriteAheadLog, priority: int) -> int:
    """Put records of 8 KB until there is no more room; returns how many."""
    count = 0
    try:
        while True:
            await written(log, size=8000, priority=priority)
            count += 1
    except Unavailable:
        return count


def settle_all(log: WriteAheadLog) -> None:
    """As if everything that is on disk had its terminal record."""
    while (number := log.next_open(0)) is not None:
        log.settle(number)
    log.drop_settled()


def take_over(log: WriteAheadLog) -> WriteAheadLog:
    """What the next holder finds."""
    held = disk.lock(log.directory)
    assert held is not None
    return WriteAheadLog.take_over(log.directory, held, cap_bytes=log.cap_bytes, partitions=8)


def open_numbers(log: WriteAheadLog) -> list[int]:
    """Numbers of the unsettled records, checked against the ids that were written under them."""
    numbers = []
    number = log.next_open(0)
    while number is not None:
        assert log.segment_of(number).id(number) == number_as_id(number)
        numbers.append(number)
        number = log.next_open(number + 1)
    return numbers


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Every write of this process beyond ``size`` of a file fails, as it does on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_written_records_are_found_again(tmp_path: Path) -> None:
    """Records come back with their numbers, ids, partitions, sources, times and bytes."""
    log = WriteAheadLog.create(tmp_path, "db", cap_bytes=CAP_BYTES)
    calls = [log.put(Records.of([entry(log), entry(log, priority=MONEY)]), RECEIVED_MS, MONEY) for _ in range(20)]
    await asyncio.gather(*(call.future for call in calls))
    await log.close()
    again = take_over(log)
    records = [
        (data, call.records.ids[16 * i : 16 * i + 16]) for call in calls for i, data in enumerate(call.records.data)
    ]
    wanted = [(n, event_id.hex(), data) for n, (data, event_id) in enumerate(records, start=1)]
    (segment,) = again.segments
    found = [(n, segment.id(n), data) for n, data in zip(range(1, 41), segment.read(range(1, 41)), strict=True)]
    assert found == wanted
    assert set(segment.received) == {RECEIVED_MS}
    assert again.acknowledged == again.pending == {"web": 40}
    assert (again.id, again.database, again.next_number) == (log.id, "db", 41)
    again.abandon()


async def test_concurrent_calls_share_a_commit(tmp_path: Path) -> None:
    """What arrives while the disk works is written together, in one frame."""
    log = WriteAheadLog.create(tmp_path, "db", cap_bytes=CAP_BYTES)
    calls = [log.put(Records.of([entry(log)]), RECEIVED_MS) for _ in range(100)]
    await asyncio.gather(*(call.future for call in calls))
    data = log.segments[0].path.read_bytes()
    assert data.count(b"\xffRLF") == 2
    await log.close()


def test_a_caller_who_cannot_be_told(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever one caller's answer ends in, whoever tells goes on to the next; it is told once."""
    told: list[Unavailable | None] = []

    def fail(error: Unavailable | None) -> None:
        told.append(error)
        raise RecursionError

    call = Call(Records.of([]), 0, VIEW, 1, 0)
    call.then(fail)
    call.answer()
    call.answer()
    assert told == [None]
    assert "could not be told" in caplog.text


async def test_counts_outlive_the_segments(tmp_path: Path) -> None:
    """Settled segments go, and what was acknowledged stays known, also after a restart."""
    log = WriteAheadLog.create(tmp_path, "db", cap_bytes=CAP_BYTES)
    for _ in range(60):
        await written(log, 10, size=4000)
        settle_all(log)
    assert log.size < 300_000
    assert log.acknowledged == {"web": 600}
    assert log.pending.total() == 0
    await log.compact()
    await log.close()
    assert [path.suffix for path in sorted(log.directory.iterdir())] == [".wal", ""]
    again = take_over(log)
    assert (again.acknowledged["web"], again.pending.total(), again.next_number) == (600, 0, 601)
    again.abandon()


async def test_a_full_log_refuses_and_recovers(tmp_path: Path) -> None:
    """At the cap nothing more is taken; when something is settled there is room again."""
    log = WriteAheadLog.create(tmp_path, "db", cap_bytes=CAP_BYTES)
    await fill(log, MONEY)
    assert CAP_BYTES - 20_000 < log.size <= CAP_BYTES
    end = log.next_number
    with pytest.raises(Unavailable, match="full"):
        log.put(Records.of([entry(log, size=8000)]), RECEIVED_MS, MONEY)
    assert log.next_number == end
    settle_all(log)
    await written(log, size=8000)
    await log.close()


async def test_money_has_reserved_room(tmp_path: Path) -> None:
    """When views find no room other behaviour still does, and when that finds none orders still do."""
    log = WriteAheadLog.create(tmp_path, "db", cap_bytes=CAP_BYTES)
    assert await fill(log, VIEW) > 0
    assert await fill(log, BEHAVIOUR) > 0
    assert await fill(log, BEHAVIOUR) == 0
    assert await fill(log, MONEY) > 0
    assert [priority_of(name) for name in ("page_view", "add_to_cart", "anything", "order_refunded")] == [
        VIEW,
        BEHAVIOUR,
        BEHAVIOUR,
        MONEY,
    ]
    await log.close()


@pytest.mark.parametrize("limit", [300, 1500, 5000, 40_000])
async def test_a_refused_write_acknowledges_nothing_and_loses_nothing(tmp_path: Path, limit: int) -> None:
    """The disk refuses in mid-frame: those callers are told so, later ones are served, and the log holds exactly what
    was acknowledged, under dense numbers.
    """
    log = WriteAheadLog.create(tmp_path, "db", cap_bytes=CAP_BYTES)
    acknowledged: list[int] = []
    refused = 0
    for attempt in range(60):
        with largest_file(limit if attempt % 20 >= 5 else 1 << 30):
            calls = [
                log.put(Records.of([entry(log, number_as_id(log.next_number), size=300)]), RECEIVED_MS)
                for _ in range(4)
            ]
            results = await asyncio.gather(*(call.future for call in calls), return_exceptions=True)
        for call, result in zip(calls, results, strict=True):
            if result is None:
                acknowledged.append(call.first)
            else:
                assert isinstance(result, Unavailable)
                refused += 1
    assert refused > 0
    assert acknowledged == list(range(1, len(acknowledged) + 1))
    await log.close()
    again = take_over(log)
    assert not again.damage
    assert open_numbers(again) == acknowledged
    again.abandon()


@contextmanager
def small_disk(place: Path) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """A directory with little room, and what makes it full for as long as a block runs.

    A small file system where this process may mount one. Elsewhere the kernel lets no file grow: the log meets the same
    refusal in the same place.
    """
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        yield lambda: largest_file(1000)
        return

    @contextmanager
    def ballast() -> Iterator[None]:
        with (place / "ballast").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        yield
        (place / "ballast").unlink()

    try:
        yield ballast
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    """On a disk that is really full: Unavailable, and it goes on when there is space."""
    place = tmp_path / "small"
    place.mkdir()
    with small_disk(place) as full:
        log = WriteAheadLog.create(place, "db", cap_bytes=CAP_BYTES)
        before = 5
        for _ in range(before):
            await written(log, size=8000, priority=MONEY)
        with full():
            for _ in range(2):
                with pytest.raises(Unavailable, match="cannot be written"):
                    await written(log, size=8000, priority=MONEY)
        after = await fill(log, MONEY)
        assert after > 0
        await log.close()
        again = take_over(log)
        assert not again.damage
        assert open_numbers(again) == list(range(1, before + after + 1))
        again.abandon()


async def test_compaction_never_hides_a_record(tmp_path: Path) -> None:
    """A new segment that begins while records are being written counts every one of them."""
    log = WriteAheadLog.create(tmp_path, "db", cap_bytes=CAP_BYTES)
    for _ in range(30):
        calls = [log.put(Records.of([entry(log, number_as_id(log.next_number))]), RECEIVED_MS) for _ in range(3)]
        compaction = asyncio.create_task(log.compact())
        await asyncio.sleep(0)
        calls += [log.put(Records.of([entry(log, number_as_id(log.next_number))]), RECEIVED_MS) for _ in range(3)]
        await asyncio.gather(compaction, *(call.future for call in calls))
        await log.compact()
    await log.close()
    again = take_over(log)
    assert not again.damage
    assert open_numbers(again) == list(range(1, 181))
    again.abandon()


async def test_one_holder(tmp_path: Path) -> None:
    """While a log is held nobody else gets it, not even in the same process; afterwards anybody may."""
    log = WriteAheadLog.create(tmp_path, "db", cap_bytes=CAP_BYTES)
    assert disk.lock(log.directory) is None
    await log.close()
    held = disk.lock(log.directory)
    assert held is not None
    os.close(held)


async def test_the_lock_of_a_removed_log_protects_nothing(tmp_path: Path) -> None:
    """Whoever removed a log and made another in its place must not meet somebody who locked the old one."""
    directory = tmp_path / "log"
    directory.mkdir()
    first = disk.lock(directory)
    assert first is not None
    (directory / "lock").unlink()
    second = disk.lock(directory)
    assert second is not None
    os.close(first)
    os.close(second)


async def test_damage_found_when_sending_stays_in_sight(tmp_path: Path) -> None:
    """A record whose bytes go bad on the disk is not sent, not settled and not forgotten."""
    log = WriteAheadLog.create(tmp_path, "db", cap_bytes=CAP_BYTES)
    await written(log, 3)
    segment = log.segments[0]
    content = bytearray(segment.path.read_bytes())
    content[-10] ^= 1
    segment.path.write_bytes(content)
    assert [data is None for data in await log.read(segment, [1, 2, 3])] == [False, False, True]
    log.damaged(3)
    settle_all(log)
    assert log.pending == {"web": 1}
    assert "record 3" in log.damage[0]
    await log.close()


async def test_what_mongodb_knows_to_be_acknowledged_is_missed(tmp_path: Path) -> None:
    """A log that was put back to an older state owes what is gone from it."""
    log = WriteAheadLog.create(tmp_path, "db", cap_bytes=CAP_BYTES)
    await written(log, 3)
    log.missing("web", 2)
    settle_all(log)
    assert (log.acknowledged["web"], log.pending["web"]) == (5, 2)
    assert "2 acknowledged records of web are gone" in log.damage[0]
    await log.compact()
    await log.close()
    again = take_over(log)
    assert (again.acknowledged["web"], again.pending["web"]) == (5, 2)
    await again.close()
