"""One connection to MongoDB with the guarantees that the promises need, its collections and their indexes.

Collections:

- ``orders``: the order service's documents, each with its embedded outbox.
- ``journal``: the event store; ``_id`` is the event id, ``(p, seq)`` the place in its partition.
- ``outcomes``: terminal records of what did not enter the journal; ``_id`` is the origin.
- ``requests``: what operators ask the owners to do about parked events.
- ``positions``, ``leases``: one document a partition; leases also hold one document a live worker.
- ``ledger``: counters by partition and source. ``logs``: what each write-ahead log last said of itself.
- ``reactions``: how far each reaction has come, and who runs it; ``reactions.held``, ``reactions.dropped``: aggregates
  that it failed on, and events that a person gave up.
- ``subjects``: what names a person, and which visitors are which customer; ``erased``: who was erased, by hash
  (``store/subjects.py``).
- ``reports``: what workers, and processes that only take events in, say of themselves.
- ``rejected``: the last events of each shop that were turned away.
- ``keys``: write keys, hashed. ``notices``: lines for the board.
- ``projection.NAME``: projection documents; ``_id`` is ``generation/partition/shop/key``.
- ``meta``: number of partitions; which generations of each projection exist (``store/generations.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pymongo
from pymongo import ASCENDING, AsyncMongoClient, IndexModel, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError
from pymongo.read_concern import ReadConcern

from rushlight.errors import SetupError, Unavailable, in_short
from rushlight.settings import Settings
from rushlight.store.apart import OrdersGate, OrdersUnreachable
from rushlight.store.connections import Readable
from rushlight.store.waiting import mend

log = logging.getLogger(__name__)

Document = dict[str, Any]
Collection = AsyncCollection[Document]

SERVER_SELECTION_TIMEOUT_MS = 5000
CLOSE_SECONDS = 2.0
META = "meta"
COLLECTIONS = (
    "journal",
    "outcomes",
    "requests",
    "positions",
    "leases",
    "ledger",
    "logs",
    "keys",
    "notices",
    "reactions",
    "reactions.held",
    "reactions.dropped",
    "reports",
    "subjects",
    "erased",
    "rejected",
    META,
    "projection.money",
    "projection.behaviour",
)
COLLECTION_EXISTS = 48
# Whoever asked has read the answer by then; what became of the events stands in their own records.
KEPT_REQUESTS_SECONDS = 7 * 24 * 3600

INDEXES: dict[str, list[IndexModel]] = {
    # The worker's search for leftovers; sparse, so that a settled order costs no entry.
    "orders": [
        IndexModel([("outbox.p", ASCENDING)], name="outbox", sparse=True),
        # One idempotency key creates one order, whatever id the requests name; sparse, as most orders have none.
        IndexModel([("request.once", ASCENDING)], name="once", unique=True, sparse=True),
        # The ledger counts what orders emitted without reading the orders.
        IndexModel([("emitted", ASCENDING)], name="emitted"),
    ],
    "journal": [
        IndexModel([("p", ASCENDING), ("seq", ASCENDING)], name="place", unique=True),
        # The audit trail of one aggregate, and the highest version that is stored.
        IndexModel([("aggregateId", ASCENDING), ("version", ASCENDING)], name="aggregate"),
        # Everything of one customer, to be given out or to be cut loose.
        IndexModel(
            [("shop", ASCENDING), ("customerId", ASCENDING)],
            name="customer",
            partialFilterExpression={"customerId": {"$exists": True}},
        ),
    ],
    "outcomes": [
        IndexModel(
            [("aggregateId", ASCENDING), ("version", ASCENDING)],
            name="parked",
            partialFilterExpression={"kind": "parked"},
        ),
        # Each aggregate's parked events in the order in which they are retried; without a shop what cannot be read.
        IndexModel(
            [("shop", ASCENDING), ("aggregateId", ASCENDING), ("place", ASCENDING)],
            name="waiting",
            partialFilterExpression={"kind": "parked"},
        ),
        # Versions that were given up have their terminal record as well.
        IndexModel(
            [("aggregateId", ASCENDING), ("version", ASCENDING)],
            name="dropped",
            partialFilterExpression={"kind": "dropped"},
        ),
        IndexModel([("place", ASCENDING)], name="unreadable", partialFilterExpression={"kind": "unreadable"}),
        # The last of them, for whoever asks whether a sender repeats itself.
        IndexModel(
            [("shop", ASCENDING), ("at", ASCENDING)], name="repeats", partialFilterExpression={"kind": "duplicate"}
        ),
    ],
    "requests": [
        IndexModel(
            [("p", ASCENDING), ("at", ASCENDING), ("_id", ASCENDING)],
            name="open",
            partialFilterExpression={"state": "open"},
        ),
        IndexModel([("group", ASCENDING)], name="group"),
        IndexModel([("doneAt", ASCENDING)], name="done", expireAfterSeconds=KEPT_REQUESTS_SECONDS),
    ],
    "reactions.held": [IndexModel([("name", ASCENDING), ("state", ASCENDING), ("nextAt", ASCENDING)], name="due")],
    "rejected": [IndexModel([("shop", ASCENDING), ("at", ASCENDING)], name="at")],
    # What nobody renews is forgotten after a day.
    "reports": [IndexModel([("at", ASCENDING)], name="at", expireAfterSeconds=86_400)],
    "projection.behaviour": [
        # Visitors of the last minutes and carts that are open, asked for at every frame of the board.
        IndexModel([("shop", ASCENDING), ("seen", ASCENDING)], name="seen", sparse=True),
        IndexModel([("shop", ASCENDING), ("cartSeen", ASCENDING)], name="cart", sparse=True),
    ],
}


class Database:
    """The collections, opened for one process. Make it with `connect`."""

    def __init__(
        self, client: AsyncMongoClient[Document], orders: AsyncMongoClient[Document], settings: Settings
    ) -> None:
        self.client = client
        self.orders_client = orders
        self.orders_gate = OrdersGate(orders, self._prepare_orders, apart=orders is not client)
        self.name = name = settings.database
        self._partitions = settings.partitions
        db = client[name]
        self.orders: Collection = orders[name]["orders"]
        self.journal: Collection = db["journal"]
        self.outcomes: Collection = db["outcomes"]
        self.requests: Collection = db["requests"]
        self.positions: Collection = db["positions"]
        self.leases: Collection = db["leases"]
        self.ledger: Collection = db["ledger"]
        self.logs: Collection = db["logs"]
        self.keys: Collection = db["keys"]
        self.notices: Collection = db["notices"]
        self.reactions: Collection = db["reactions"]
        self.held: Collection = db["reactions.held"]
        self.dropped: Collection = db["reactions.dropped"]
        self.reports: Collection = db["reports"]
        self.subjects: Collection = db["subjects"]
        self.erased: Collection = db["erased"]
        self.rejected: Collection = db["rejected"]
        self.meta: Collection = db[META]

    @classmethod
    async def connect(cls, settings: Settings, *, role: str) -> Database:
        """Connect, and make what is missing of collections and indexes.

        Orders in a MongoDB of their own may be out of reach at the time; see `store/apart.py`.

        Args:
            settings: must have ``mongo_url``.
            role: shown in the server's list of connections.

        Raises:
            Unavailable: no primary answers.
            SetupError: the database belongs to another number of partitions.
        """
        client = connect_client(settings.mongo_url or "", role)
        orders = client
        if settings.orders_mongo_url:
            orders = connect_client(settings.orders_mongo_url, role, option="--orders-mongo-url")
        database = cls(client, orders, settings)
        await database._open(database._prepare)
        return database

    @classmethod
    async def connect_orders(cls, settings: Settings, *, role: str) -> Database:
        """Connect only to where the orders live, so that a checkout depends on no other database.

        Args:
            settings: must have ``orders_mongo_url`` or ``mongo_url``.
            role: shown in the server's list of connections.

        Raises:
            Unavailable: no primary answers.
            SetupError: the database belongs to another number of partitions.
        """
        # The order service repeats what has an unknown result itself, by the order's id or the operation's mark.
        url, option = settings.mongo_url or "", "--mongo-url"
        if settings.orders_mongo_url:
            url, option = settings.orders_mongo_url, "--orders-mongo-url"
        client = connect_client(url, role, option=option, retry_writes=False)
        database = cls(client, client, settings)
        await database._open(database._prepare_orders)
        return database

    async def _open(self, prepare: Callable[[], Awaitable[None]]) -> None:
        try:
            await prepare()
        except PyMongoError as error:
            await self.close()
            raise Unavailable(f"MongoDB does not answer as a replica set's primary: {in_short(error)}") from error
        except SetupError:
            await self.close()
            raise

    def projection(self, name: str) -> Collection:
        """The collection of one projection's documents."""
        return self.client[self.name][f"projection.{name}"]

    async def prepare_projections(self, names: Sequence[str]) -> None:
        """Make the collections of projections that are not Rushlight's own, before anything reads or writes them."""
        await self._create(self.client, [f"projection.{name}" for name in names])

    async def close(self) -> None:
        """Close the connections."""
        # A server that hangs need not be told that nobody comes again.
        with pymongo.timeout(CLOSE_SECONDS):
            await self.client.close()
            if self.orders_client is not self.client:
                await self.orders_client.close()

    async def _prepare(self) -> None:
        # Collections exist before the first transaction touches them: a snapshot read of one that is made later
        # would be silently empty.
        await self._create(self.client, COLLECTIONS)
        await self._check_partitions(self.client)
        if not self.orders_gate.apart:
            await self._prepare_orders()
            return
        try:
            async with self.orders_gate.use(answer_seconds=SERVER_SELECTION_TIMEOUT_MS / 1000):
                pass
        except OrdersUnreachable as error:
            log.warning("going on without the orders: %s", error)

    async def _prepare_orders(self) -> None:
        # Orders in a database of their own carry partition numbers too, so that one is bound to their count as well.
        await self._create(self.orders_client, ("orders",))
        await self._check_partitions(self.orders_client)

    async def _create(self, client: AsyncMongoClient[Document], names: Sequence[str]) -> None:
        existing = set(await client[self.name].list_collection_names())
        for name in names:
            if name not in existing:
                try:
                    await client[self.name].create_collection(name, check_exists=False)
                except PyMongoError as error:
                    if getattr(error, "code", None) != COLLECTION_EXISTS:  # another process made it first
                        raise
            # Also where the collection was there: whoever made it may have been killed before its indexes or be at
            # it right now, or a shop had a collection of this name.
            if indexes := INDEXES.get(name):
                await client[self.name][name].create_indexes(indexes)

    async def _check_partitions(self, client: AsyncMongoClient[Document]) -> None:
        partitions = self._partitions
        fixed = await client[self.name][META].find_one_and_update(
            {"_id": "partitions"}, {"$setOnInsert": {"count": partitions}}, upsert=True, return_document=True
        )
        if fixed and fixed["count"] != partitions:
            raise SetupError(
                f"this database has {fixed['count']} partitions for life; set partitions = {fixed['count']}"
                f" (not {partitions}) or use another database"
            )


def connect_client(
    url: str, role: str, *, option: str = "--mongo-url", retry_writes: bool = True
) -> AsyncMongoClient[Document]:
    """A client with the guarantees that the promises need: majority writes on disk, majority reads.

    Args:
        option: by which the URL was given.

    Raises:
        SetupError: it is no MongoDB URL.
    """
    mend()
    readable = Readable()
    try:
        client: AsyncMongoClient[Document] = AsyncMongoClient(
            url,
            appname=f"rushlight {role}",
            tz_aware=True,
            w="majority",
            journal=True,
            readConcernLevel="majority",
            retryWrites=retry_writes,
            serverSelectionTimeoutMS=SERVER_SELECTION_TIMEOUT_MS,
            event_listeners=[readable],
        )
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise SetupError(f"{option} is not a MongoDB URL ({error}): write mongodb://HOST:PORT") from error
    readable.of(client)
    return client


async def partitions_of(mongo_url: str, name: str) -> int | None:
    """For how many partitions a database was made; None while it is new.

    Args:
        name: the database's.

    Raises:
        Unavailable: MongoDB does not answer.
    """
    client = connect_client(mongo_url, "lookup")
    try:
        document = await client[name][META].find_one({"_id": "partitions"})
    except PyMongoError as error:
        raise Unavailable(f"MongoDB does not answer: {in_short(error)}") from error
    finally:
        await client.close()
    return int(document["count"]) if document else None


def of_primary(collection: Collection) -> Collection:
    """The same collection read as the primary has it, also before a majority has it."""
    return collection.with_options(read_concern=ReadConcern("local"))


def relaxed(collection: Collection) -> Collection:
    """The same collection with ``w: 1``: for writes that may be lost or repeated without harm."""
    return collection.with_options(write_concern=WriteConcern(w=1), read_concern=ReadConcern("local"))
