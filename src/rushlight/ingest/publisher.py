"""Publishing from Python: with a write-ahead directory it promises what ingest promises, without one it does not."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from rushlight.bus.appender import Appender
from rushlight.bus.broadcast import event_channel, listen
from rushlight.errors import SetupError
from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.events.envelope import Envelope, decode, encode
from rushlight.events.event import Event, validate
from rushlight.events.ids import event_id, partition_of
from rushlight.ingest.identity import trusted_money_id
from rushlight.ingest.intake import DEFAULT_CAP_BYTES, Intake
from rushlight.settings import DEFAULT_SHOP, Settings
from rushlight.store.database import Database, partitions_of

# Events that were never acknowledged by a log or an outbox; the ledger does not know them.
DIRECT_ORIGIN = "d:"
DEFAULT_PARTITIONS = 8


class EventBus:
    """Publishes typed events and listens to committed ones. Open it with `connect`, as a context manager or not.

    ``async with await EventBus.connect(redis_url=…, mongo_url=…, wal="…") as bus: await bus.publish(…)``
    """

    def __init__(
        self,
        redis_url: str,
        *,
        shop: str,
        source: str,
        partitions: int,
        database: Database | None,
        intake: Intake | None,
    ) -> None:
        self._redis_url = redis_url
        self._shop = shop
        self._source = source
        self._partitions = partitions
        self._database = database
        self._intake = intake
        self._appender = Appender(redis_url)

    @classmethod
    async def connect(
        cls,
        *,
        redis_url: str,
        mongo_url: str | None = None,
        wal: Path | str | None = None,
        shop: str = DEFAULT_SHOP,
        source: str = "app",
        database: str = "rushlight",
        partitions: int | None = None,
        wal_bytes: int = DEFAULT_CAP_BYTES,
    ) -> EventBus:
        """Connect to a running instance.

        Args:
            wal: directory of write-ahead logs; any number of processes may share it. Needs ``mongo_url``.
            shop: whose events these are. source: under which name the ledger counts them.
            database: name of the MongoDB database.
            partitions: of the database; read from it when ``mongo_url`` is given, else 8.
            wal_bytes: how large this process's log may become; then `publish` raises Unavailable.

        Raises:
            SetupError: the directory cannot be used, or it is given without ``mongo_url``.
            Unavailable: MongoDB does not answer.
        """
        if wal is None:
            count = partitions or (mongo_url and await partitions_of(mongo_url, database)) or DEFAULT_PARTITIONS
            return cls(redis_url, shop=shop, source=source, partitions=count, database=None, intake=None)
        if mongo_url is None:
            raise SetupError("a write-ahead directory needs mongo_url: logs are registered in MongoDB")
        count = partitions or await partitions_of(mongo_url, database) or DEFAULT_PARTITIONS
        settings = Settings(redis_url=redis_url, mongo_url=mongo_url, database=database, partitions=count)
        store = await Database.connect(settings, role="publisher")
        try:
            intake = await Intake.open(store, redis_url, Path(wal), cap_bytes=wal_bytes, partitions=count)
        except BaseException:
            await store.close()
            raise
        return cls(redis_url, shop=shop, source=source, partitions=count, database=store, intake=intake)

    async def publish(
        self,
        event: Event,
        *,
        message_id: str | None = None,
        occurred_at: datetime | None = None,
        visitor_id: str | None = None,
        customer_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        trace: str | None = None,
    ) -> Envelope:
        """Publish one event, exactly as given.

        With a write-ahead directory: when this returns the event is on disk (fsynced) and will be in the journal
        exactly once, or parked in sight, also if this process is killed, Redis is wiped or MongoDB is away; any
        ingest or worker on this host takes over a log that was left behind. Without one: when this returns the
        stream has the event; it is lost if Redis loses it, and it stands beside the ledger, not in it.

        Args:
            message_id: what a retry of the same report repeats, by which it counts once; a new one by default.
                Money goes by its order and its payment, refund, shipment or revision instead, if it has one.
            occurred_at: when it happened; now by default.

        Returns:
            The envelope as it was published, with its final id.

        Raises:
            Rejected: the event's fields do not fit its declaration; names the field.
            Unavailable: with a directory, the log is full or cannot be written; without, Redis did not take the event
                in time (it may have it nevertheless: retry with the same ``message_id``).
        """
        validate(type(event), event.payload())
        envelope = event.seal(
            id=self._id(event, message_id or uuid.uuid4().hex),
            shop=self._shop,
            source=self._source,
            origin="",
            occurred_at=occurred_at,
            visitor_id=visitor_id,
            customer_id=customer_id,
            correlation_id=correlation_id,
            causation_id=causation_id,
            trace=trace,
        )
        if self._intake is not None:
            await self._intake.accept([envelope])
        else:
            envelope.origin = f"{DIRECT_ORIGIN}{envelope.id}"
            partition = partition_of(self._shop, envelope.aggregate_id, self._partitions)
            await self._appender.append(partition, encode(envelope))
        return envelope

    async def listen(self, *names: str | type[Event]) -> AsyncGenerator[Envelope, None]:
        """Committed events of these names as they are committed: for peeking, with no guarantee at all.

        What is committed while nobody listens, or while Redis is away, is missed. ``OrderCreated.open(envelope)`` is
        the typed event in an envelope. Ends only when the caller stops iterating.

        Args:
            names: event names or typed events.
        """
        channels = [event_channel(name if isinstance(name, str) else name.event_name) for name in names]
        async for data in listen(self._redis_url, channels):
            yield decode(data)

    @property
    def pending(self) -> int:
        """Published events that are not known to be settled; 0 without a write-ahead directory."""
        return self._intake.pending if self._intake else 0

    async def settled(self) -> None:
        """Wait until everything that was published is in the journal, or parked; at once without a directory."""
        if self._intake is not None:
            await self._intake.settled()

    async def close(self) -> None:
        """Send what is queued and disconnect; what is still pending stays in the log, for whoever takes it over."""
        if self._intake is not None:
            await self._intake.close()
        await self._appender.close()
        if self._database is not None:
            await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _id(self, event: Event, message_id: str) -> str:
        if event.event_name not in MONEY_EVENTS:
            return event_id(self._shop, "trusted", self._source, message_id)
        return trusted_money_id(event, self._shop, self._source, message_id)
