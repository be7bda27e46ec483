"""Aggregates that a reaction failed on: each goes on by itself from where it stands, while the others go past it.

A document is ``{_id: "NAME/03/shop/aggregate", name, p, shop, aggregateId, after, head: {id, eventName, seq}, state,
attempts, nextAt, reason, since}``: the aggregate's own position in the journal (all up to ``after`` is handled), the
event that failed, and whether it is tried again at ``nextAt`` (``retrying``) or waits for a person (``parked``). What
came later of the aggregate is in the journal and needs no document. What a person gave up stands in
``reactions.dropped``. A place's owner writes under its fence; a person's commands write only what is parked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession

from rushlight.errors import Fenced
from rushlight.events.envelope import Envelope, now
from rushlight.store.database import Database, Document, of_primary

MAX_REASON_CHARACTERS = 1000
RETRYING, PARKED = "retrying", "parked"
_DUE: Document = {"state": RETRYING, "$expr": {"$lte": ["$nextAt", "$$NOW"]}}

Key = tuple[str, str]


def place_id(name: str, partition: int) -> str:
    """Id of one reaction's place in one partition."""
    return f"{name}/{partition:02d}"


def held_id(name: str, partition: int, key: Key) -> str:
    """Id of a held aggregate (shop, id)."""
    return f"{place_id(name, partition)}/{key[0]}/{key[1]}"


class Failed(NamedTuple):
    """A call that failed.

    Attributes:
        attempts: calls of this event so far. delay_seconds: pause before the next; None parks its aggregate.
    """

    seq: int
    event: Envelope
    reason: str
    attempts: int
    delay_seconds: float | None


class HeldAggregates:
    """The held aggregates of one place, written by its owner under its fence."""

    def __init__(self, database: Database, name: str, partition: int, epoch: int) -> None:
        self._database = database
        self._held = database.held
        # An owner has to know what was written down before it, also right after an election.
        self._latest = of_primary(database.held)
        self._name = name
        self._partition = partition
        self._epoch = epoch
        self._place: Document = {"name": name, "p": partition}

    async def all(self) -> dict[Key, str]:
        """The state of each."""
        found = self._latest.find(self._place, {"shop": 1, "aggregateId": 1, "state": 1})
        return {(d["shop"], d["aggregateId"]): d["state"] async for d in found}

    async def due(self, key: Key) -> Document | None:
        """One of them, if it is to be tried again by now."""
        return await self._latest.find_one({"_id": held_id(self._name, self._partition, key), **_DUE})

    async def hold(self, failed: Failed) -> None:
        """Keep that a call failed, and where its aggregate goes on.

        Raises:
            Fenced: another owner has the place.
        """
        event = failed.event
        key = (event.shop, event.aggregate_id)
        parked = failed.delay_seconds is None
        content: Document = {
            **self._place,
            "shop": event.shop,
            "aggregateId": event.aggregate_id,
            "after": failed.seq - 1,
            "head": {"id": event.id, "eventName": event.name, "seq": failed.seq},
            "state": PARKED if parked else RETRYING,
            "attempts": failed.attempts,
            "reason": failed.reason[:MAX_REASON_CHARACTERS],
        }
        pause_ms = int((failed.delay_seconds or 0) * 1000)
        fields = {name: {"$literal": value} for name, value in content.items()}
        fields |= {"nextAt": {"$add": ["$$NOW", pause_ms]}, "since": {"$ifNull": ["$since", "$$NOW"]}}
        where = {"_id": held_id(self._name, self._partition, key)}

        async def write(session: AsyncClientSession) -> None:
            await self._held.update_one(where, [{"$set": fields}], upsert=True, session=session)

        await self._fenced(write)

    async def advance(self, key: Key, after: int) -> None:
        """Keep that a held aggregate was handled up to here.

        Raises:
            Fenced: another owner has the place.
        """
        where = {"_id": held_id(self._name, self._partition, key)}

        async def write(session: AsyncClientSession) -> None:
            change = {"$set": {"after": after, "attempts": 0}}
            await self._held.update_one(where, change, session=session)

        await self._fenced(write)

    async def free(self, key: Key) -> None:
        """A held aggregate has caught up.

        Raises:
            Fenced: another owner has the place.
        """
        where = {"_id": held_id(self._name, self._partition, key)}

        async def write(session: AsyncClientSession) -> None:
            await self._held.delete_one(where, session=session)

        await self._fenced(write)

    async def _fenced(self, write: Callable[[AsyncClientSession], Coroutine[None, None, None]]) -> None:
        fence = {"_id": place_id(self._name, self._partition), "epoch": self._epoch}

        async def attempt(session: AsyncClientSession) -> None:
            done = await self._database.reactions.update_one(fence, {"$inc": {"heldChanges": 1}}, session=session)
            if not done.matched_count:
                raise Fenced(f"reaction {fence['_id']}: no longer at epoch {self._epoch}")
            await write(session)

        async with self._database.client.start_session() as session:
            await session.with_transaction(attempt)


async def due(database: Database, names: Sequence[str]) -> list[Document]:
    """What is to be tried again by now, of these reactions."""
    return await database.held.find({"name": {"$in": list(names)}, **_DUE}).sort("nextAt").to_list()


class HeldEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A held aggregate as it is shown.

    Attributes:
        waiting: events of the aggregate in the journal from the failed one on; those that it hears are handled next.
    """

    name: str
    shop: str
    aggregate_id: str
    event_id: str
    event_name: str
    state: str
    attempts: int
    reason: str
    since: datetime
    waiting: int


async def entries(database: Database, name: str | None) -> AsyncIterator[HeldEntry]:
    """The held aggregates of one reaction, or of all, oldest first.

    Args:
        name: the reaction's.
    """
    async for held in database.held.find({"name": name} if name else {}).sort("since"):
        theirs = {"aggregateId": held["aggregateId"], "shop": held["shop"], "p": held["p"]}
        waiting = await database.journal.count_documents({**theirs, "seq": {"$gt": held["after"]}})
        yield HeldEntry(
            name=held["name"],
            shop=held["shop"],
            aggregate_id=held["aggregateId"],
            event_id=held["head"]["id"],
            event_name=held["head"]["eventName"],
            state=held["state"],
            attempts=held["attempts"],
            reason=held["reason"],
            since=held["since"],
            waiting=waiting,
        )


async def retry(database: Database, name: str, aggregates: Iterable[str], shop: str | None = None) -> int:
    """Have held aggregates tried again at once, with all their attempts; how many there were.

    Args:
        aggregates: ids; none means all of the reaction. shop: only there; None: in every shop.
    """
    chosen = _chosen(name, aggregates, shop)
    again = [{"$set": {"state": RETRYING, "nextAt": "$$NOW", "attempts": 0}}]
    return (await database.held.update_many(chosen, again)).matched_count


async def drop(database: Database, name: str, aggregates: Iterable[str], reason: str, shop: str | None = None) -> int:
    """Give up the event on which each parked aggregate stands; what comes after it is handled. Says how many.

    Args:
        aggregates: ids; none means all of the reaction. shop: only there; None: in every shop.
        reason: kept with the event's id.
    """
    dropped = 0
    async for held in database.held.find({**_chosen(name, aggregates, shop), "state": PARKED}):
        async with database.client.start_session() as session:
            dropped += await session.with_transaction(_dropping(database, held, reason))
    return dropped


def _dropping(
    database: Database, held: Document, reason: str
) -> Callable[[AsyncClientSession], Coroutine[None, None, int]]:
    async def attempt(session: AsyncClientSession) -> int:
        # Only if nobody retried or dropped it meanwhile.
        same = {"_id": held["_id"], "state": PARKED, "after": held["after"]}
        past = {"after": held["head"]["seq"], "state": RETRYING, "attempts": 0, "nextAt": now()}
        if not (await database.held.update_one(same, {"$set": past}, session=session)).matched_count:
            return 0
        record = {
            "_id": f"{held['name']}/{held['head']['id']}",
            **{field: held[field] for field in ("name", "p", "shop", "aggregateId", "head")},
            "failure": held["reason"],
            "reason": reason[:MAX_REASON_CHARACTERS],
            "at": now(),
        }
        await database.dropped.replace_one({"_id": record["_id"]}, record, upsert=True, session=session)
        return 1

    return attempt


async def shops(database: Database, name: str, aggregate: str) -> list[str]:
    """The shops in which a reaction holds an aggregate of this id."""
    return sorted(await database.held.distinct("shop", _chosen(name, [aggregate], None)))


def _chosen(name: str, aggregates: Iterable[str], shop: str | None) -> Document:
    some = list(aggregates)
    chosen: Document = {"name": name, **({"aggregateId": {"$in": some}} if some else {})}
    return chosen if shop is None else {**chosen, "shop": shop}
