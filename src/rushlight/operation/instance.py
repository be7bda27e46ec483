"""Figures of the whole instance, read from MongoDB and Redis: every process that answers says the same.

Reading costs a bounded share of one core however often somebody asks, and fails in parts: what cannot be read is left
out, and ``rushlight_mongodb_up`` or ``rushlight_redis_up`` says why.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pymongo
from pymongo.errors import PyMongoError

from rushlight.bus.link import Link
from rushlight.bus.stream import generation_key, stream_key
from rushlight.errors import Unavailable
from rushlight.metrics import Exposition, Histogram
from rushlight.query.figures import Figures
from rushlight.store.clock import server_time
from rushlight.store.database import Document
from rushlight.store.outstanding import count_orders
from rushlight.store.pace import Pace
from rushlight.store.positions import FIRST_ENTRY, Position
from rushlight.store.relayed import RELAY
from rushlight.store.subscriptions import standings

MONGODB_SECONDS = 2.0
REDIS_SECONDS = 1.0
INTERVAL_SECONDS = 1.0
SHARE = 0.05
LONGEST_SECONDS = 10.0
# Names that others choose: more of them than this are not shown.
MAX_NAMES = 100
# A worker that has said nothing for this long is no longer missed but forgotten.
FORGOTTEN_SECONDS = 600.0
COUNTED_ENTRIES = 1000
COLUMNS = ("acknowledged", "stored", "duplicate", "parked", "dropped", "pending", "rejected")


class InstanceFigures:
    """Reads the instance's figures for one process.

    Args:
        figures: the reading side of this process. redis_url: where the streams are.
    """

    def __init__(self, figures: Figures, redis_url: str) -> None:
        self._figures = figures
        self._database = figures.database
        self._partitions = figures.settings.partitions
        self._link = Link(redis_url) if redis_url else None
        self._pace = Pace(interval_seconds=INTERVAL_SECONDS, share=SHARE, longest_seconds=LONGEST_SECONDS)
        self._lock = asyncio.Lock()
        self._known: str | None = None

    async def text(self) -> str:
        """The exposition, read anew or of a moment ago."""
        async with self._lock:
            if self._known is None or self._pace.due:
                with self._pace.measured():
                    self._known = (await self._read()).text()
            return self._known

    async def close(self) -> None:
        """Disconnect from Redis."""
        if self._link is not None:
            await self._link.close()

    async def _read(self) -> Exposition:
        exposition = Exposition()
        positions: Mapping[int, Position] | None = None
        try:
            with pymongo.timeout(MONGODB_SECONDS):
                present = await server_time(self._database)
                positions = await self._read_positions(exposition)
                await self._read_leases(exposition, present)
                await self._read_doors(exposition, present)
                await self._read_logs(exposition, present)
                await self._read_parked(exposition)
                await self._read_reactions(exposition)
            exposition.add("rushlight_mongodb_up", 1)
        except PyMongoError:
            exposition.add("rushlight_mongodb_up", 0)
        else:
            await self._read_ledger(exposition)
            await self._read_outboxes(exposition, present)
        if self._link is not None:
            await self._read_streams(exposition, positions, self._link)
        return exposition

    async def _read_positions(self, exposition: Exposition) -> dict[int, Position]:
        positions: dict[int, Position] = {}
        behind: Counter[str] = Counter()
        async for document in self._database.positions.find({}).sort("_id"):
            position = positions[document["_id"]] = Position.of(document)
            name = str(position.partition)
            exposition.add("rushlight_partition_events_total", position.seq, partition=name)
            for projection, seq in document.get("projections", {}).items():
                behind[projection] += max(0, position.seq - seq)
            if committed := document.get("committedAt"):
                stamp = committed.timestamp()
                exposition.add("rushlight_partition_committed_timestamp_seconds", stamp, partition=name)
        for projection, events in sorted(behind.items())[:MAX_NAMES]:
            exposition.add("rushlight_projection_behind_events", events, projection=projection)
        return positions

    async def _read_leases(self, exposition: Exposition, present: datetime) -> None:
        labels = await self._read_workers(exposition, present)
        async for lease in self._database.leases.find({"_id": {"$type": "number"}}).sort("_id"):
            partition, owner = str(lease["_id"]), str(lease.get("owner") or "")
            held = bool(owner) and "expiresAt" in lease and lease["expiresAt"] > present
            exposition.add("rushlight_lease_epoch", lease.get("epoch", 0), partition=partition)
            exposition.add("rushlight_lease_held", int(held), partition=partition)
            if held:
                worker = labels.get(owner) or _short(owner)
                exposition.add("rushlight_lease_owner", 1, partition=partition, worker=worker)

    async def _read_workers(self, exposition: Exposition, present: datetime) -> dict[str, str]:
        """Add what workers report; labels by the workers' own names."""
        reports = await self._read_reports("worker", present)
        for label, report in reports.latest.items():
            _add_worker(exposition, label, report, present)
        return reports.labels

    async def _read_doors(self, exposition: Exposition, present: datetime) -> None:
        """Add what processes that only take events in report."""
        for label, report in (await self._read_reports("ingest", present)).latest.items():
            _add_basics(exposition, "ingest", label, report, present)
            for status, count in sorted(report.get("answers", {}).items()):
                exposition.add("rushlight_ingest_requests_total", count, ingest=label, status=status)
            exposition.add("rushlight_ingest_passed_on_total", report.get("passed", 0), ingest=label)

    async def _read_reports(self, role: str, present: datetime) -> _Reports:
        latest: dict[str, Document] = {}
        labels: dict[str, str] = {}
        async for report in self._database.reports.find({"role": role}).sort("at").limit(10 * MAX_NAMES):
            labels[report["_id"]] = report["label"]
            if (present - report["at"]).total_seconds() < FORGOTTEN_SECONDS:
                latest[report["label"]] = report
        return _Reports(labels, dict(sorted(latest.items())[:MAX_NAMES]))

    async def _read_logs(self, exposition: Exposition, present: datetime) -> None:
        found = self._database.logs.find({"closed": {"$ne": True}}).sort("_id").limit(MAX_NAMES)
        async for log in found:
            age = (present - (log.get("heartbeatAt") or log["startedAt"])).total_seconds()
            pending = sum(counts.get("pending", 0) for counts in log.get("sources", {}).values())
            name = str(log["_id"])
            if name.startswith(RELAY):
                relay = name.removeprefix(RELAY)
                exposition.add("rushlight_relay_waiting_events", pending, relay=relay)
                exposition.add("rushlight_relay_heartbeat_age_seconds", max(0.0, age), relay=relay)
                continue
            labels = {"log": name, "host": str(log.get("host", ""))}
            exposition.add("rushlight_wal_bytes", log.get("bytes", 0), **labels)
            exposition.add("rushlight_wal_cap_bytes", log.get("capBytes", 0), **labels)
            exposition.add("rushlight_wal_pending_events", pending, **labels)
            exposition.add("rushlight_wal_heartbeat_age_seconds", max(0.0, age), **labels)
            exposition.add("rushlight_wal_damaged", len(log.get("damage", ())), **labels)

    async def _read_parked(self, exposition: Exposition) -> None:
        parked = dict.fromkeys(range(self._partitions), 0)
        async for counter in self._database.ledger.find({}, {"p": 1, "parked": 1, "unreadable": 1}):
            parked[counter["p"]] = parked.get(counter["p"], 0) + counter.get("parked", 0) + counter.get("unreadable", 0)
        for partition, count in sorted(parked.items()):
            exposition.add("rushlight_parked_events", count, partition=str(partition))

    async def _read_reactions(self, exposition: Exposition) -> None:
        for one in (await standings(self._database))[:MAX_NAMES]:
            exposition.add("rushlight_reaction_pending_events", one.pending, reaction=one.name)
            exposition.add("rushlight_reaction_handled_total", one.handled, reaction=one.name)
            exposition.add("rushlight_reaction_held_aggregates", one.retrying, reaction=one.name, state="retrying")
            exposition.add("rushlight_reaction_held_aggregates", one.parked, reaction=one.name, state="parked")
            exposition.add("rushlight_reaction_workers", one.workers, reaction=one.name)

    async def _read_ledger(self, exposition: Exposition) -> None:
        try:
            with pymongo.timeout(MONGODB_SECONDS):
                ledger = await self._figures.read_ledger()
        except (PyMongoError, Unavailable):
            return
        for source, counts in sorted(ledger.sources.items())[:MAX_NAMES]:
            for column in COLUMNS:
                exposition.add("rushlight_ledger_events", getattr(counts, column), source=source, column=column)
        exposition.add("rushlight_ledger_balanced", int(ledger.balanced))
        exposition.add("rushlight_ledger_unreachable", len(ledger.unreachable))
        for reason, count in sorted(ledger.rejected_by.items())[:MAX_NAMES]:
            exposition.add("rushlight_rejected_events", count, reason=reason)

    async def _read_outboxes(self, exposition: Exposition, present: datetime) -> None:
        try:
            with pymongo.timeout(MONGODB_SECONDS):
                for partition in range(self._partitions):
                    count = await count_orders(self._database.orders, {"outbox.p": partition})
                    exposition.add("rushlight_outbox_orders", count, partition=str(partition))
        except PyMongoError:
            pass  # orders may live in another MongoDB; how complete figures are is told all the same
        try:
            with pymongo.timeout(MONGODB_SECONDS):
                complete = await self._figures.freshness.read()
        except PyMongoError:
            return
        for name, moment in (("money", complete.money), ("behaviour", complete.behaviour)):
            age = max(0.0, (present - moment).total_seconds())
            exposition.add("rushlight_complete_to_age_seconds", age, **{"class": name})

    async def _read_streams(self, exposition: Exposition, positions: Mapping[int, Position] | None, link: Link) -> None:
        try:
            now, *heads = await link.call(*_head_commands(self._partitions), timeout_seconds=REDIS_SECONDS)
            lengths, words = heads[::2], heads[1::2]
            if positions is not None:
                after = [_read_up_to(positions.get(p), words[p], link) for p in range(self._partitions)]
                commands = [("XRANGE", stream_key(p), f"({after[p]}", "+", "COUNT", 1) for p in range(self._partitions)]
                firsts = await link.call(*commands, timeout_seconds=REDIS_SECONDS)
                for partition, first in enumerate(firsts):
                    length, entry = lengths[partition], after[partition]
                    behind = await _behind(link, partition, entry, length) if isinstance(first, list) and first else 0
                    _add_lag(exposition, partition, behind, first, now)
        except Unavailable:
            exposition.add("rushlight_redis_up", 0)
            return
        for partition, length in enumerate(lengths):
            if isinstance(length, int):
                exposition.add("rushlight_stream_entries", length, partition=str(partition))
        exposition.add("rushlight_redis_up", 1)


def _head_commands(partitions: int) -> list[Sequence[bytes | str | int]]:
    commands: list[Sequence[bytes | str | int]] = [("TIME",)]
    for partition in range(partitions):
        commands += [("XLEN", stream_key(partition)), ("GET", generation_key(partition))]
    return commands


def _read_up_to(position: Position | None, word: Any, link: Link) -> str:
    """The last committed entry of this life of the stream."""
    if position is None or not isinstance(word, bytes):
        return FIRST_ENTRY
    return position.entry if position.generation == f"{word.decode()}:{link.replication_id}" else FIRST_ENTRY


async def _behind(link: Link, partition: int, after: str, length: Any) -> int:
    """Entries after the committed one. Consumed ones are trimmed soon, so that the length is close where it is long."""
    if not isinstance(length, int) or length > COUNTED_ENTRIES:
        return length if isinstance(length, int) else 0
    command = ("XRANGE", stream_key(partition), f"({after}", "+", "COUNT", COUNTED_ENTRIES)
    (found,) = await link.call(command, timeout_seconds=REDIS_SECONDS)
    return len(found) if isinstance(found, list) else 0


def _add_lag(exposition: Exposition, partition: int, behind: int, first: Any, now: Any) -> None:
    age = 0.0
    if isinstance(first, list) and first and isinstance(now, list):
        milliseconds = int(first[0][0].partition(b"-")[0])
        age = max(0.0, int(now[0]) + int(now[1]) / 1e6 - milliseconds / 1000)
    exposition.add("rushlight_partition_lag_events", behind, partition=str(partition))
    exposition.add("rushlight_partition_lag_seconds", round(age, 3), partition=str(partition))


class _Reports(NamedTuple):
    """What processes of a role report: labels by their names, and the latest report of each label."""

    labels: dict[str, str]
    latest: dict[str, Document]


def _add_basics(exposition: Exposition, role: str, label: str, report: Document, present: datetime) -> None:
    age, labels = max(0.0, (present - report["at"]).total_seconds()), {role: label}
    exposition.add(f"rushlight_{role}_report_age_seconds", age, **labels)
    exposition.add(f"rushlight_{role}_start_time_seconds", report.get("started", 0), **labels)
    exposition.add(f"rushlight_{role}_cpu_seconds_total", report.get("cpuSeconds", 0), **labels)
    exposition.add(f"rushlight_{role}_resident_memory_bytes", report.get("memoryBytes", 0), **labels)


def _add_worker(exposition: Exposition, worker: str, report: Document, present: datetime) -> None:
    _add_basics(exposition, "worker", worker, report, present)
    seconds = report.get("commitSeconds", {})
    histogram = Histogram(seconds.get("counts", ()), seconds.get("total", 0.0))
    exposition.histogram("rushlight_commit_seconds", histogram, worker=worker)
    exposition.add("rushlight_commit_events_total", report.get("events", 0), worker=worker)
    for reason, count in sorted(report.get("failures", {}).items()):
        exposition.add("rushlight_commit_failures_total", count, worker=worker, reason=reason)


def _short(owner: str) -> str:
    """``HOST/PID`` of a worker that has not reported, from its name in the lease."""
    place, _, rest = owner.partition(":")
    return f"{place.partition('/')[0]}/{rest.partition(':')[0]}"
