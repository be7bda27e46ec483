"""How fast is a projection rebuilt from the journal, beside merely reading the same journal?"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import msgspec
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from benchmarks import report
from benchmarks.ours import Rushlight, program
from benchmarks.processes import BenchmarkError
from benchmarks.servers import Client
from rushlight.events.catalogue import AddToCart, BeginCheckout, Item, Line, OrderCreated, OrderPaid, Purchase, ViewItem
from rushlight.events.envelope import Envelope
from rushlight.events.event import Event
from rushlight.events.ids import partition_of
from rushlight.store.journal import to_document

PARTITIONS = 8
BEGIN = datetime(2026, 11, 24, 6, tzinfo=UTC)
CHUNK = 5000
CATCH_UP_SECONDS = 1200.0
REBUILD_SECONDS = 1200.0
PROJECTIONS = ("money", "behaviour")
VISITS_PER_ORDER = 8


class Round(msgspec.Struct, frozen=True, rename="camel"):
    """Events a second of one round: the journal read, and each projection rebuilt from it."""

    raw: float
    money: float
    behaviour: float


def run(data: Path, rounds: int, events: int) -> Path:
    """Fill a journal, then read and rebuild it in turn, and write the result."""
    directory = data / "rebuild"
    stored = _fill(directory, events)
    instance = Rushlight(directory, workers=1)
    try:
        instance.start(orders=False)
        began = time.monotonic()
        _until_folded(instance)
        caught_up = time.monotonic() - began
        measured = [_round(instance, directory, stored, number) for number in range(rounds)]
    finally:
        instance.stop()
    return report.write(
        "rebuild",
        "Rebuilding projections from the journal",
        _sections(measured, stored, caught_up),
        {"events": stored, "caughtUpSeconds": caught_up, "rounds": measured},
    )


def _fill(directory: Path, events: int) -> int:
    """A journal as a sale leaves it, and positions that say that nothing of it was folded yet."""
    instance = Rushlight(directory, workers=0)
    try:
        instance.start(orders=False)
        with Client(instance.instance.mongo_url) as client:
            database = client[instance.instance.database]
            seqs = [0] * PARTITIONS
            chunk: list[RawBSONDocument] = []
            for event in _sale(events):
                partition = partition_of(event.shop, event.aggregate_id, PARTITIONS)
                seqs[partition] += 1
                chunk.append(RawBSONDocument(bson.encode(to_document(event, partition, seqs[partition]))))
                if len(chunk) == CHUNK:
                    database["journal"].insert_many(chunk, ordered=False)
                    chunk = []
            if chunk:
                database["journal"].insert_many(chunk, ordered=False)
            start = {"epoch": 0, "n": 0, "generation": "", "entry": "0-0", "projections": {}}
            database["positions"].delete_many({})
            database["positions"].insert_many([{"_id": p, "seq": seq, **start} for p, seq in enumerate(seqs)])
    finally:
        instance.stop()
    return sum(seqs)


def _sale(events: int) -> Iterator[Envelope]:
    """Visits, some of which end in an order of one to four lines that is paid."""
    chance = random.Random(1)
    for number in range(events):
        index, step = divmod(number, VISITS_PER_ORDER + 2)
        visitor, order = f"v-{index % 5000}", f"o-{index}"
        at = BEGIN + timedelta(milliseconds=40 * number)
        event: Event
        if step < VISITS_PER_ORDER:
            kind = (ViewItem, ViewItem, ViewItem, AddToCart, ViewItem, AddToCart, BeginCheckout, Purchase)[step]
            item = Item(product_id=f"p-{chance.randrange(400)}", name="A product", quantity=1)
            extra: dict[str, Any] = {"transaction_id": order} if kind is Purchase else {}
            event = kind(visitor_id=visitor, items=[item], **extra)
        elif step == VISITS_PER_ORDER:
            lines = [
                Line(
                    product_id=f"p-{chance.randrange(400)}", quantity=1, amount=chance.randrange(100, 9999), discount=0
                )
                for _ in range(chance.randrange(1, 5))
            ]
            gross = sum(line.amount for line in lines)
            event = OrderCreated(
                order_id=order, currency="EUR", lines=lines, gross=gross, total=gross, customer_id=f"c-{index % 3000}"
            )
        else:
            event = OrderPaid(order_id=order, payment_id=f"pay-{index}", currency="EUR", amount=1)
        money = step >= VISITS_PER_ORDER
        yield event.seal(
            id=f"{number:032x}",
            shop="default",
            source="orders" if money else "web",
            origin=f"o:{order}:{step}" if money else f"w:benchmark:{number}",
            occurred_at=at,
            received_at=at,
            version=step - VISITS_PER_ORDER + 1 if money else None,
        )


def _until_folded(instance: Rushlight) -> None:
    deadline = time.monotonic() + CATCH_UP_SECONDS
    with Client(instance.instance.mongo_url) as client:
        positions = client[instance.instance.database]["positions"]
        while any(
            position["projections"].get(f"{name}_1", 0) < position["seq"]
            for position in positions.find({"seq": {"$gt": 0}})
            for name in PROJECTIONS
        ):
            if time.monotonic() > deadline:
                raise BenchmarkError("the worker did not catch up")
            time.sleep(0.2)


def _round(instance: Rushlight, directory: Path, stored: int, number: int) -> Round:
    """All three, each round in another order."""
    rates: dict[str, float] = {}
    order = ["raw", *PROJECTIONS]
    for name in order[number % 3 :] + order[: number % 3]:
        rates[name] = _read(instance, stored) if name == "raw" else _rebuild(directory, name, stored)
        print(f"  round {number + 1}: {name} {rates[name]:,.0f} events/s", flush=True)
    return Round(**rates)


def _read(instance: Rushlight, stored: int) -> float:
    """Every partition in its order, undecoded, in one process: what any replay has to do at least."""
    began = time.monotonic()
    with Client(instance.instance.mongo_url) as client:
        raw: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
        journal = client[instance.instance.database].get_collection("journal", codec_options=raw)
        count = sum(
            1 for p in range(PARTITIONS) for _ in journal.find({"p": p}, batch_size=1000).sort("seq").hint("place")
        )
    if count != stored:
        raise BenchmarkError(f"read {count} of {stored} events")
    return count / (time.monotonic() - began)


def _rebuild(directory: Path, name: str, stored: int) -> float:
    command = [str(program()), "rebuild", name, "--json", "--data", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=REBUILD_SECONDS)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)}: {done.stderr.strip()}")
    told = msgspec.json.decode(done.stdout)
    if told["events"] != stored or not told["flipped"]:
        raise BenchmarkError(f"{name} was not rebuilt whole: {told}")
    return float(told["events"] / told["seconds"])


def _sections(rounds: list[Round], stored: int, caught_up: float) -> list[str]:
    rows = []
    for name in ("raw", *PROJECTIONS):
        rates = [getattr(each, name) for each in rounds]
        ratios = [getattr(each, name) / each.raw for each in rounds]
        rows.append(
            [
                {"raw": "the journal read, undecoded"}.get(name, f"`rushlight rebuild {name}`"),
                report.number(report.median(rates)),
                report.number(report.median(ratios), 2),
                f"{report.number(min(ratios), 2)} to {report.number(max(ratios), 2)}",
            ]
        )
    head = ["", "events/s (median)", "of raw reading", "smallest to largest"]
    what = (
        f"{stored:,} events in {PARTITIONS} partitions ({VISITS_PER_ORDER} visits to one paid order), one worker, "
        f"{len(rounds)} interleaved rounds. Both rates are in events of the whole journal: what a projection does not"
        " fold it need not read. A rebuild includes asking the worker for it and writing every document in fenced,"
        " durable transactions."
    )
    before = (
        f"Before that, a worker that found this journal and no figures folded all of it into both in {caught_up:.1f} s"
        f" ({report.number(stored / caught_up)} events/s)."
    )
    return [what, report.table(head, rows), before]
