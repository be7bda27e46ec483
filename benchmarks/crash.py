"""A process killed with -9 in the middle of the load and started again: how many orders do the figures miss?"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks import load, nestjs, report
from benchmarks.nestjs import Nest
from benchmarks.ours import Rushlight
from benchmarks.servers import Servers
from benchmarks.sides import Books, Part, Side

CONNECTIONS = 16
BEFORE_SECONDS = 2.0
DOWN_SECONDS = 1.0
LOOK_SECONDS = 3.0
MAX_LOOKS = 10
PARTS: tuple[Part, ...] = ("analytics", "orders")


class Crash(msgspec.Struct, frozen=True, rename="camel"):
    """One run: the load, and the books before and after it."""

    side: str
    killed: Part
    round: int
    run: load.Run
    books: Books


def run(data: Path, rounds: int, seconds: int) -> Path:
    """Kill analytics, then the order service, on each side in turn, and write the result."""
    nestjs.build()
    servers = Servers.start(data / "peers")
    ours, nest = Rushlight(data / "crash"), Nest("events", servers, data / "peers")
    sides: tuple[Side, ...] = (nest, ours)
    try:
        ours.start()
        nest.start()
        crashes = [_crash(side, part, number, seconds) for number in range(rounds) for part in PARTS for side in sides]
        check = ours.check()
    finally:
        nest.stop()
        ours.stop()
        servers.stop()
    title = "Killed in the middle of the load"
    notes = {"peer": nestjs.describe()}
    return report.write("crash", title, [_table(crashes), _verdict(check)], {"crashes": crashes, "check": check}, notes)


def _crash(side: Side, part: Part, number: int, seconds: int) -> Crash:
    before = side.books()
    runs: list[load.Run] = []
    loading = threading.Thread(target=lambda: runs.append(load.wrk(side.orders_url, CONNECTIONS, seconds, number)))
    loading.start()
    time.sleep(BEFORE_SECONDS)
    side.kill(part, DOWN_SECONDS)
    loading.join()
    crash = Crash(side.name, part, number, runs[0], _settled(side).since(before))
    print(f"{side.name}, {part} killed: {crash.books}", flush=True)
    return crash


def _settled(side: Side) -> Books:
    """The books when they have ceased to change: what a crash left behind may never be recorded."""
    last = side.books()
    for _ in range(MAX_LOOKS):
        time.sleep(LOOK_SECONDS)
        if (books := side.books()) == last and not books.unrecorded:
            break
        last = books
    return last


def _table(crashes: Sequence[Crash]) -> str:
    head = ["killed", "system", "orders saved", "without an event", "recorded twice", "in the figures", "share missed"]
    rows = []
    for part in PARTS:
        for name in dict.fromkeys(crash.side for crash in crashes):
            books = [crash.books for crash in crashes if (crash.side, crash.killed) == (name, part)]
            saved, unrecorded = sum(b.saved for b in books), sum(b.unrecorded for b in books)
            figures, twice = sum(b.counted for b in books), sum(b.twice for b in books)
            missed = f"{100 * unrecorded / saved:.2f} %" if saved else "–"
            rows.append([part, name, str(saved), str(unrecorded), str(twice), str(figures), missed])
    return report.table(head, rows)


def _verdict(check: dict[str, object]) -> str:
    said = "balanced, nothing pending" if check["agrees"] else f"**not balanced: {check}**"
    return f"Rushlight's ledger afterwards: {said}."
