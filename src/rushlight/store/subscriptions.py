"""How far each reaction has come in each partition, and which worker runs it there.

A place of a reaction is the document ``{_id: "NAME/03", name, p, seq, epoch, owner, expiresAt, handled, movedAt,
replayTo?}``: its position in the journal and its lease in one, so that one write moves the position under the fence.
``seq`` means that everything up to there was handled, or stands among the held (see ``store/held.py``). A worker that
runs reactions has the document ``{_id: "worker:ID", names, expiresAt}``. All times are the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
from pymongo import ReturnDocument, UpdateOne

from rushlight.errors import Fenced
from rushlight.store.database import Database, Document
from rushlight.store.held import place_id

WORKER = "worker:"
MOVED = "movedAt"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One reaction in one partition, as its owner took it.

    Attributes:
        epoch: the owner's fencing token. seq: up to where it has come.
        replay_to: somebody asks to go back (or forward) to this place; None when nobody does.
    """

    name: str
    partition: int
    epoch: int
    seq: int
    replay_to: int | None = None

    @property
    def id(self) -> str:
        """The document's ``_id``."""
        return place_id(self.name, self.partition)

    @classmethod
    def of(cls, document: Document) -> Place:
        """From the stored document."""
        return cls(
            name=document["name"],
            partition=document["p"],
            epoch=document["epoch"],
            seq=document["seq"],
            replay_to=document.get("replayTo"),
        )


class Progress(msgspec.Struct, frozen=True):
    """What an owner saves: its position, and how many calls have succeeded since it saved last."""

    place: Place
    seq: int
    handled: int


class Places:
    """The places of the reactions as one worker sees them.

    Args:
        owner: this worker's name. ttl_seconds: after this long without a heartbeat others may take its places.
    """

    def __init__(self, database: Database, owner: str, ttl_seconds: float) -> None:
        self._database = database
        self._places = database.reactions
        self._owner = owner
        self._ttl_ms = int(ttl_seconds * 1000)

    async def begin(self, name: str, start: Literal["now", "first"], partitions: int) -> None:
        """Make the places of a new name; those that are there stay as they are.

        Args:
            start: where a place that is new begins: behind what the journal has "now", or at its "first" event.
        """
        if await self._places.count_documents({"name": name}) >= partitions:
            return
        ends = {d["_id"]: d["seq"] async for d in self._database.positions.find({}, {"seq": 1})}
        for partition in range(partitions):
            seq = ends.get(partition, 0) if start == "now" else 0
            fresh = {"name": name, "p": partition, "seq": seq, "epoch": 0, "owner": None, "handled": 0}
            await self._places.update_one({"_id": place_id(name, partition)}, {"$setOnInsert": fresh}, upsert=True)

    async def heartbeat(self, names: Sequence[str]) -> dict[str, Place]:
        """Prolong this worker and all its places.

        Returns:
            The places that are still its own, by id.
        """
        expires = {"$add": ["$$NOW", self._ttl_ms]}
        said = [{"$set": {"expiresAt": expires, "names": {"$literal": list(names)}}}]
        await self._places.update_one({"_id": f"{WORKER}{self._owner}"}, said, upsert=True)
        await self._places.update_many({"owner": self._owner}, [{"$set": {"expiresAt": expires}}])
        return {document["_id"]: Place.of(document) async for document in self._places.find({"owner": self._owner})}

    async def survey(self) -> tuple[dict[str, int], set[str]]:
        """How many live workers have each name, and the ids of the places that a live owner holds."""
        live = self._places.find({"$expr": {"$gt": ["$expiresAt", "$$NOW"]}}, {"names": 1, "owner": 1})
        workers: dict[str, int] = {}
        held: set[str] = set()
        async for document in live:
            for name in document.get("names", ()):
                workers[name] = workers.get(name, 0) + 1
            if document.get("owner"):
                held.add(document["_id"])
        return workers, held

    async def expire(self, is_dead: Callable[[str], bool]) -> None:
        """End the leases of workers that are known to be dead, before their time."""
        live = {"_id": {"$regex": f"^{WORKER}"}, "$expr": {"$gt": ["$expiresAt", "$$NOW"]}}
        names = [str(document["_id"]).removeprefix(WORKER) async for document in self._places.find(live, {"_id": 1})]
        for name in filter(is_dead, names):
            theirs = {"$or": [{"owner": name}, {"_id": f"{WORKER}{name}"}]}
            await self._places.update_many(theirs, [{"$set": {"expiresAt": "$$NOW"}}])

    async def take(self, place: str) -> Place | None:
        """Take a place that nobody holds; whoever held it before is fenced.

        Args:
            place: its id.

        Returns:
            The place as it is now, or None when somebody else holds it.
        """
        free = {"$or": [{"owner": None}, {"$expr": {"$lte": ["$expiresAt", "$$NOW"]}}]}
        taken = {
            "owner": {"$literal": self._owner},
            "epoch": {"$add": ["$epoch", 1]},
            "expiresAt": {"$add": ["$$NOW", self._ttl_ms]},
        }
        document = await self._places.find_one_and_update(
            {"_id": place, **free}, [{"$set": taken}], return_document=ReturnDocument.AFTER
        )
        return Place.of(document) if document else None

    async def save(self, progress: Iterable[Progress]) -> bool:
        """Move positions in one write, each under its fence; whether all of them moved."""
        moves = [
            UpdateOne(
                {"_id": one.place.id, "epoch": one.place.epoch},
                [
                    {
                        "$set": {
                            "seq": one.seq,
                            "handled": {"$add": ["$handled", one.handled]},
                            MOVED: "$$NOW",
                        }
                    }
                ],
            )
            for one in progress
        ]
        if not moves:
            return True
        done = await self._places.bulk_write(moves, ordered=False)
        return done.matched_count == len(moves)

    async def release(self, places: Iterable[str]) -> None:
        """Give places back, as far as they are still held."""
        await self._places.update_many({"_id": {"$in": list(places)}, "owner": self._owner}, {"$set": {"owner": None}})

    async def leave(self) -> None:
        """Give everything back and no longer count as a worker."""
        await self._places.update_many({"owner": self._owner}, {"$set": {"owner": None}})
        await self._places.delete_one({"_id": f"{WORKER}{self._owner}"})
        await self._places.delete_many({"_id": {"$regex": f"^{WORKER}"}, "$expr": {"$lte": ["$expiresAt", "$$NOW"]}})

    async def replay(self, place: Place) -> Place:
        """Go where somebody asked to go; held aggregates that are handled again from there are held no more.

        Raises:
            Fenced: another owner has it.
        """
        target = place.replay_to
        if target is None:
            return place
        fence: Document = {"_id": place.id, "epoch": place.epoch, "replayTo": target}
        moved: Mapping[str, Any] = {"$set": {"seq": target}, "$unset": {"replayTo": ""}, "$currentDate": {MOVED: True}}
        async with self._database.client.start_session() as session, await session.start_transaction():
            done = await self._places.update_one(fence, moved, session=session)
            if not done.matched_count:
                raise Fenced(f"reaction {place.id}: another owner has it, or another replay was asked for")
            again = {"name": place.name, "p": place.partition, "after": {"$gte": target}}
            await self._database.held.delete_many(again, session=session)
        return msgspec.structs.replace(place, seq=target, replay_to=None)


class Standing(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a reaction stands.

    Attributes:
        pending: places of the journal, over all partitions, that it has not come past yet; at most so many events
            wait. handled: calls that succeeded.
        retrying, parked: aggregates that are tried again, and that wait for a person.
        workers: live workers that run it.
    """

    name: str
    pending: int
    handled: int
    retrying: int
    parked: int
    workers: int


async def standings(database: Database) -> list[Standing]:
    """Every reaction that ever ran, by name: for the command line and for the metrics."""
    ends = {d["_id"]: d["seq"] async for d in database.positions.find({}, {"seq": 1})}
    workers, _ = await Places(database, "", 0).survey()
    held: dict[tuple[str, str], int] = {}
    async for row in await database.held.aggregate(
        [{"$group": {"_id": {"name": "$name", "state": "$state"}, "count": {"$sum": 1}}}]
    ):
        held[row["_id"]["name"], row["_id"]["state"]] = row["count"]
    pending: dict[str, int] = {}
    handled: dict[str, int] = {}
    async for place in database.reactions.find({"name": {"$exists": True}}):
        name, target = place["name"], place.get("replayTo", place["seq"])
        pending[name] = pending.get(name, 0) + max(0, ends.get(place["p"], 0) - target)
        handled[name] = handled.get(name, 0) + place["handled"]
    return [
        Standing(
            name=name,
            pending=pending[name],
            handled=handled[name],
            retrying=held.get((name, "retrying"), 0),
            parked=held.get((name, "parked"), 0),
            workers=workers.get(name, 0),
        )
        for name in sorted(pending)
    ]


class Replay(NamedTuple):
    """What was asked for: in how many partitions, and over how many places of the journal."""

    places: int
    events: int


async def ask_for_replay(database: Database, name: str, since: datetime | None) -> Replay:
    """Ask the owners of a reaction's places to go to a moment; they do so once the calls that run have ended.

    Args:
        since: from the first event on that was received then or later; what came after it in the journal follows,
            also if it was received earlier. None: from the first event there is.
    """
    places, events = 0, 0
    async for place in database.reactions.find({"name": name}):
        partition = place["p"]
        end = await _end_of(database, partition)
        target = 0
        if since is not None:
            later = {"p": partition, "receivedAt": {"$gte": since}}
            first = await database.journal.find_one(later, {"seq": 1}, sort=[("seq", 1)], hint="place")
            target = first["seq"] - 1 if first else end
        await database.reactions.update_one({"_id": place["_id"]}, {"$set": {"replayTo": target}})
        places, events = places + 1, events + max(0, end - target)
    return Replay(places, events)


async def _end_of(database: Database, partition: int) -> int:
    position = await database.positions.find_one({"_id": partition}, {"seq": 1})
    return position["seq"] if position else 0
