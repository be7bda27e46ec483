"""How complete figures are: what is read afterwards holds every event that was acknowledged before ``completeTo``."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec

from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.store.apart import OrdersUnreachable
from rushlight.store.clock import server_time
from rushlight.store.database import Database, Document
from rushlight.store.generations import FIRST, live_generations, seq_name
from rushlight.store.outstanding import oldest
from rushlight.store.pace import Pace

INTERVAL_SECONDS = 0.2
SHARE = 0.05
LONGEST_SECONDS = 5.0
OLDEST_ORDERS = 64
# An event's received time is taken a moment before others can see the event or its log's heartbeat.
SLACK = timedelta(milliseconds=100)
# Before the first reading of orders that are out of reach.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class CompleteTo(msgspec.Struct, frozen=True):
    """Up to which received time figures hold every acknowledged event, for figures of money and of behaviour."""

    money: datetime
    behaviour: datetime


class Freshness:
    """Reads `CompleteTo`; an answer is reused for a moment, because what was complete stays complete.

    Always read it before the snapshot that it is said of.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pace = Pace(interval_seconds=INTERVAL_SECONDS, share=SHARE, longest_seconds=LONGEST_SECONDS)
        self._known: CompleteTo | None = None
        self._lock = asyncio.Lock()

    async def read(self) -> CompleteTo:
        """The latest that is known.

        Raises:
            PyMongoError: MongoDB does not answer.
        """
        async with self._lock:
            if self._known is None or self._pace.due:
                with self._pace.measured():
                    self._known = await complete_to(self._database, self._known)
            return self._known


async def complete_to(database: Database, known: CompleteTo | None = None) -> CompleteTo:
    """Read anew: the received time of the oldest event that is acknowledged and not settled, by class; else now.

    Args:
        known: what was complete stays so; no more is said while the orders' own MongoDB does not answer.

    Raises:
        PyMongoError: MongoDB does not answer.
    """
    bounds = _Bounds(await server_time(database) - SLACK)
    async for log in database.logs.find({"closed": {"$ne": True}}, {"heartbeatAt": 1, "startedAt": 1, "oldest": 1}):
        bounds.lower(None, (log.get("heartbeatAt") or log["startedAt"]) - SLACK)
        for name, moment in log.get("oldest", {}).items():
            bounds.lower(name, moment)
    try:
        entries, horizon = await oldest(database, limit=OLDEST_ORDERS)
    except OrdersUnreachable:
        entries, horizon = [], None
        bounds.lower("money", known.money if known else NEVER)
        bounds.lower("behaviour", known.behaviour if known else NEVER)
    for entry in entries:
        # An entry that cannot be read may be of either class.
        bounds.lower(_class_of(entry.name) if entry.name else None, entry.at)
    if horizon is not None:
        bounds.lower(None, horizon)
    for name, moment in await _unfolded(database):
        bounds.lower(name, moment)
    return CompleteTo(money=bounds.of["money"], behaviour=bounds.of["behaviour"])


class _Bounds:
    def __init__(self, present: datetime) -> None:
        self.of = dict.fromkeys(FIRST, present)

    def lower(self, name: str | None, moment: datetime | None) -> None:
        """Lower one class, or (None) both."""
        for each in self.of if name is None else (name,):
            if moment is not None and moment < self.of.get(each, moment):
                self.of[each] = moment


def _class_of(event_name: str) -> str:
    return "money" if event_name in MONEY_EVENTS else "behaviour"


async def _unfolded(database: Database) -> list[tuple[str, datetime]]:
    """Where a live projection is behind the journal: its name and the first event that it has not folded."""
    behind: list[tuple[str, datetime]] = []
    # One moment: a generation that is given up loses its place in the positions.
    async with database.client.start_session(snapshot=True) as session:
        live = await live_generations(database, session)
        async for position in database.positions.find({}, {"seq": 1, "projections": 1}, session=session):
            folded = position.get("projections", {})
            for name in FIRST:
                seq = folded.get(seq_name(name, live[name]), 0)
                if seq < position["seq"]:
                    place: Document = {"p": position["_id"], "seq": seq + 1}
                    if first := await database.journal.find_one(place, {"receivedAt": 1}, session=session):
                        behind.append((name, first["receivedAt"]))
    return behind
