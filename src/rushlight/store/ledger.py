"""The ledger: every acknowledged event is settled in one column or still pending, and each figure is counted by itself.

Acknowledged comes from the write-ahead logs' own records and the orders' ``emitted``; pending from what lies in logs
and outboxes without a terminal record; the other columns from the counters that each commit raises. None is another's
remainder. The three are read at different moments, so ``balanced`` means, for every source,

    terminals before  <=  acknowledged - pending  <=  terminals after

where "before" is a reading that had ended when logs and orders began to look for what was settled, and "after" one
that began when they had finished. At rest both are the same number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure

from rushlight.store.accounts import ORDERS_ACCOUNT, counted
from rushlight.store.apart import OrdersUnreachable
from rushlight.store.clock import server_time
from rushlight.store.database import Database, Document
from rushlight.store.outstanding import count_unsettled
from rushlight.store.pace import Pace
from rushlight.store.snapshots import is_snapshot_gone

# A log says something at least every 2 s; one that has been silent for longer than this has nobody to speak for it.
LOG_SILENT_SECONDS = 10.0
# A log looks for what is settled about every second: within this time each has done so after our first reading.
PATIENCE_SECONDS = 5.0
RETRY_SECONDS = 0.2
# A reading from longer ago would be a bound that much might slip under.
LOOSE = timedelta(seconds=10)
IDLE_SECONDS = 2.0
# Counting what orders emitted reads an index of all orders.
ORDERS_INTERVAL_SECONDS = 0.5
ORDERS_SHARE = 0.05
ORDERS_LONGEST_SECONDS = 60.0
COUNT_SECONDS = 30.0  # for orders in a MongoDB of their own
MAX_READINGS = 1000

ALWAYS = datetime.max.replace(tzinfo=UTC)
TICK = timedelta(milliseconds=1)


class Counts(msgspec.Struct, rename="camel", kw_only=True):
    """The columns of one source, in events.

    Attributes:
        acknowledged: answered with a 2xx. stored: in the journal. duplicate: known already under another
            acknowledgement. parked: set aside in sight. dropped: given up by decision. pending: not settled yet.
        rejected: refused at the door, and counted beside the balance.
    """

    acknowledged: int = 0
    stored: int = 0
    duplicate: int = 0
    parked: int = 0
    dropped: int = 0
    pending: int = 0
    rejected: int = 0


class Ledger(msgspec.Struct, rename="camel", kw_only=True):
    """What `rushlight ledger --json` and ``GET /api/v1/ledger`` say.

    Attributes:
        balanced: whether every source's books were shown to agree.
        as_of: when the oldest of the readings was made.
        unreachable: logs that are neither closed nor heard of, and ``orders`` when their own MongoDB does not answer;
            what they acknowledged last is not known.
        rejected_by: rejected events by reason.
    """

    balanced: bool
    as_of: datetime
    total: Counts
    sources: dict[str, Counts]
    unreachable: list[str] = msgspec.field(default_factory=list)
    rejected_by: dict[str, int] = msgspec.field(default_factory=dict)


class _Reading(NamedTuple):
    """Terminal records by source and column, all of them made before ``ended`` and none before ``begun`` missing."""

    begun: datetime
    ended: datetime
    columns: dict[str, dict[str, int]]

    def settled(self, source: str) -> int:
        return sum(self.columns.get(source, {}).values())


class _Part(NamedTuple):
    """What one log or all orders say of one source.

    Attributes:
        looked: everything that was settled then is known to be settled. said: nothing settled later is.
    """

    acknowledged: int
    pending: int
    looked: datetime
    said: datetime


class _Log(NamedTuple):
    """What one log says: of the sources that it names, and of any other (None: it is closed, there are no others)."""

    named: dict[str, _Part]
    unnamed: _Part | None


class _Logs(NamedTuple):
    each: list[_Log]
    terminals: list[dict[str, dict[str, int]]]
    rejected: dict[str, dict[str, int]]
    looked: list[datetime]
    unreachable: list[str]


class LedgerReader:
    """Reads the ledger again and again at a bounded cost; keep one for as long as somebody asks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readings: list[_Reading] = []
        self._orders: _Part | None = None
        self._orders_reading: _Reading | None = None
        self._orders_unreachable = False
        self._pace = Pace(
            interval_seconds=ORDERS_INTERVAL_SECONDS, share=ORDERS_SHARE, longest_seconds=ORDERS_LONGEST_SECONDS
        )
        self._lock = asyncio.Lock()
        self._begun = self._latest = -IDLE_SECONDS

    async def read(self, *, wait: bool = False) -> Ledger:
        """The ledger as it stands.

        Args:
            wait: until each log has looked for what is settled after our first reading (at most 5 s), so that the
                verdict is about all of it. Without, what has not been looked at yet is given the benefit of the doubt
                for those first seconds.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                async with self._lock:
                    ledger, certain = await self._read()
                if certain or not wait:
                    return ledger
                if time.monotonic() > deadline:
                    return msgspec.structs.replace(ledger, balanced=False)
            except OperationFailure as error:
                if not is_snapshot_gone(error) or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> tuple[Ledger, bool]:
        if time.monotonic() - self._latest > IDLE_SECONDS:
            self._begun = time.monotonic()
            await self._note(await server_time(self._database))
        orders = await self._orders_part()
        present = await server_time(self._database)
        logs = await self._logs(present)
        await self._note(present)
        ledger, certain = self._balance(orders, logs, present)
        self._forget(min([orders.looked, *(log.unnamed.looked for log in logs.each if log.unnamed is not None)]))
        return ledger, certain

    async def _note(self, begun: datetime) -> None:
        columns = await counted(self._database)
        self._readings.append(_Reading(begun, await server_time(self._database), columns))
        self._latest = time.monotonic()

    def _forget(self, looked: datetime) -> None:
        """Keep the latest reading from before anybody looked, and what came after it."""
        older = [index for index, reading in enumerate(self._readings) if reading.ended <= looked]
        del self._readings[: older[-1] if older else 0]
        del self._readings[1 : max(1, len(self._readings) - MAX_READINGS)]

    async def _orders_part(self) -> _Part:
        if self._orders is None or self._pace.due:
            with self._pace.measured():
                try:
                    self._orders, self._orders_reading = await _count_orders(self._database)
                    self._orders_unreachable = False
                except OrdersUnreachable:
                    # What was counted last stays in the columns, and is said to be no more than that.
                    self._orders_unreachable = True
                    begun = await server_time(self._database)
                    self._orders = self._orders or _Part(0, 0, begun - TICK, begun)
        return self._orders

    async def _logs(self, present: datetime) -> _Logs:
        logs = _Logs([], [], {}, [], [ORDERS_ACCOUNT] if self._orders_unreachable else [])
        async for log in self._database.logs.find({}):
            closed = log.get("closed", False)
            said = log.get("heartbeatAt") or log["startedAt"]
            looked = ALWAYS if closed else (log.get("checkedAt") or log["startedAt"]) - TICK
            if not closed and present - said > timedelta(seconds=LOG_SILENT_SECONDS):
                logs.unreachable.append(str(log["_id"]))
            else:
                logs.looked.append(looked)
            named = {
                source: _Part(counts.get("acknowledged", 0), counts.get("pending", 0), looked, said)
                for source, counts in log.get("sources", {}).items()
            }
            logs.terminals.append(log.get("terminals", {}))
            logs.each.append(_Log(named, None if closed else _Part(0, 0, looked, said)))
            for source, reasons in log.get("rejected", {}).items():
                of_source = logs.rejected.setdefault(source, {})
                for reason, count in reasons.items():
                    of_source[reason] = of_source.get(reason, 0) + count
        return logs

    def _balance(self, orders: _Part, logs: _Logs, present: datetime) -> tuple[Ledger, bool]:
        names = {ORDERS_ACCOUNT, *logs.rejected, *self._readings[-1].columns}.union(*(log.named for log in logs.each))
        sources, verdicts = {}, []
        for name in sorted(names):
            counts, verdict = self._account(name, [orders] if name == ORDERS_ACCOUNT else [], logs)
            counts.rejected = sum(logs.rejected.get(name, {}).values())
            if any(msgspec.structs.astuple(counts)):
                sources[name] = counts
                verdicts.append(verdict)
        young = time.monotonic() - self._begun < PATIENCE_SECONDS
        balanced = not logs.unreachable and all(young if verdict is None else verdict for verdict in verdicts)
        ledger = Ledger(
            balanced=balanced,
            as_of=min(present, orders.looked, *logs.looked),
            total=_sum(sources.values()),
            sources=sources,
            unreachable=sorted(logs.unreachable),
            rejected_by=_by_reason(logs.rejected),
        )
        return ledger, bool(logs.unreachable) or None not in verdicts

    def _account(self, source: str, orders: list[_Part], logs: _Logs) -> tuple[Counts, bool | None]:
        """The columns of a source, and whether they agree (None: not known yet)."""
        named = [*orders, *(log.named[source] for log in logs.each if source in log.named)]
        acknowledged = sum(part.acknowledged for part in named)
        pending = sum(part.pending for part in named)
        settled = acknowledged - pending

        def counts(shown: _Reading) -> Counts:
            return Counts(acknowledged=acknowledged, pending=pending, **shown.columns.get(source, {}))

        if named == orders and self._orders_reading is not None and orders:
            # One snapshot, nothing lies between. Only a log that has not named the source yet could explain more.
            exact = self._orders_reading.settled(source)
            if settled >= exact:
                return counts(self._orders_reading), settled == exact
        for terminals in logs.terminals:
            # The counters of the moment that a log speaks of: where they agree with what all say, nothing lies between.
            columns = terminals.get(source, {})
            if columns and sum(columns.values()) == settled:
                return Counts(acknowledged=acknowledged, pending=pending, **columns), True
        unnamed = [log.unnamed for log in logs.each if log.unnamed is not None and source not in log.named]
        before, after = self._around([*named, *unnamed])
        counted = counts(self._nearest(source, settled, before or after, after))
        if settled > after.settled(source):
            return counted, False
        if before is not None:
            return counted, before.settled(source) <= settled
        return counted, True if settled == after.settled(source) else None

    def _around(self, parts: Sequence[_Part]) -> tuple[_Reading | None, _Reading]:
        """The latest reading before anybody looked, and the first that began when all had spoken."""
        latest = self._readings[-1]
        looked = min([latest.ended, *(part.looked for part in parts)])
        said = max((part.said for part in parts), default=latest.begun)
        before = [reading for reading in self._readings if looked - LOOSE <= reading.ended <= looked]
        # The latest was made after everybody had been asked, whatever the clocks say.
        after = next((reading for reading in self._readings if reading.begun >= said), latest)
        return (before[-1] if before else None), after

    def _nearest(self, source: str, settled: int, first: _Reading, last: _Reading) -> _Reading:
        """Of the readings from ``first`` to ``last``, the one that was made when about so much was settled."""
        window = self._readings[self._readings.index(first) : self._readings.index(last) + 1]
        return min(reversed(window), key=lambda reading: abs(reading.settled(source) - settled), default=last)


async def read(database: Database) -> Ledger:
    """The ledger, read once; waits up to 5 s until the verdict is certain.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    return await LedgerReader(database).read(wait=True)


async def _count_orders(database: Database) -> tuple[_Part, _Reading | None]:
    """What the orders acknowledged and what of it is pending.

    Where orders live in the same MongoDB it is all one snapshot, and the terminal records of that very moment are
    returned with it.
    """
    begun = await server_time(database)
    async with database.orders_gate.use(COUNT_SECONDS), database.orders_client.start_session(snapshot=True) as orders:
        together = database.orders_client is database.client
        records = orders if together else None
        columns = await counted(database, records) if together else None
        acknowledged = await _emitted(database, orders)
        pending = await count_unsettled(database, orders=orders, records=records)
    ended = await server_time(database)
    if columns is None:
        return _Part(acknowledged, pending, begun - TICK, ended), None
    reading = _Reading(begun, ended, columns)
    return _Part(acknowledged, pending, begun - TICK, ended), reading


async def _emitted(database: Database, session: AsyncClientSession) -> int:
    """Σ ``emitted`` over all orders, from the index alone: how many orders emitted each number of events."""
    total = 0
    for number in await database.orders.distinct("emitted", session=session):
        if not isinstance(number, int):  # orders that have emitted nothing, or that nobody of ours has written
            continue
        pipeline: list[Document] = [{"$match": {"emitted": number}}, {"$count": "orders"}]
        async for row in await database.orders.aggregate(pipeline, session=session, hint="emitted"):
            total += number * row["orders"]
    return total


def _sum(parts: Any) -> Counts:
    total = Counts()
    for counts in parts:
        for column in Counts.__struct_fields__:
            setattr(total, column, getattr(total, column) + getattr(counts, column))
    return total


def _by_reason(rejected: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for of_source in rejected.values():
        for reason, count in of_source.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return dict(sorted(reasons.items()))
