"""What `accept` returns from is on disk and will be in the journal exactly once, or parked in sight, whatever happens.

Events get their origin (``w:LOG:NUMBER``) and the time of their receipt, are written and fsynced together with
whatever else arrives at that moment, and go to the stream; the stream is waited for at most 20 ms.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from rushlight.errors import Rejected, Unavailable
from rushlight.events.envelope import MAX_ENVELOPE_BYTES, Envelope, at_millisecond, encode
from rushlight.events.ids import partition_of
from rushlight.ingest.log.delivery import Delivery
from rushlight.ingest.log.holding import hold
from rushlight.ingest.log.priority import MONEY, VIEW, priority_of
from rushlight.ingest.log.segment import ID_BYTES, Records
from rushlight.ingest.log.settling import ORIGIN
from rushlight.ingest.log.wal import Call
from rushlight.store.database import Database

SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
DEFAULT_CAP_BYTES = 1 << 30
CLOSE_SETTLE_SECONDS = 2.0


class Intake:
    """One write-ahead log that takes events in. Open it with `open`; one a process is enough."""

    def __init__(self, delivery: Delivery, partitions: int) -> None:
        self._delivery = delivery
        self._log = delivery.log
        self._partitions = partitions
        self._origin = f"{ORIGIN}{self._log.id}:"
        self._received_ms = 0
        self._closing = False

    @classmethod
    async def open(
        cls,
        database: Database,
        redis_url: str,
        directory: Path,
        *,
        cap_bytes: int = DEFAULT_CAP_BYTES,
        partitions: int = 8,
    ) -> Intake:
        """Open a log in ``directory``: one that was left behind and is sound, else a new one.

        Any number of processes may use the same directory; each holds a log of its own. The log is registered in
        MongoDB before this returns.

        Args:
            directory: made when it is not there; ``DATA/wal`` for the roles of an instance.
            cap_bytes: size that the log's files may reach; then `accept` raises Unavailable.
            partitions: of the database.

        Raises:
            SetupError: the directory cannot be used.
            Unavailable: MongoDB does not answer.
        """
        delivery = await hold(database, redis_url, directory, cap_bytes=cap_bytes, partitions=partitions)
        delivery.start()
        return cls(delivery, partitions)

    @property
    def log_id(self) -> str:
        """The log's id, as in the collection ``logs`` and in origins."""
        return self._log.id

    @property
    def pending(self) -> int:
        """Acknowledged events without a terminal record."""
        return self._delivery.figures.pending

    def age_seconds(self) -> float:
        """How long the oldest event that is not on disk yet has been waiting for it."""
        oldest = self._log.oldest_waiting
        return max(0.0, time.time() - oldest.received_ms / 1000) if oldest is not None else 0.0

    async def accept(self, envelopes: Sequence[Envelope]) -> None:
        """Acknowledge events: all of them, or none.

        Args:
            envelopes: with their final ids; origin and receipt are set here.

        Raises:
            Unavailable: no room (money has reserved room, views go first), the disk refuses, or this is closing.
            Rejected: an envelope is larger than 256 KiB, or its id or source is malformed.
        """
        if envelopes:
            await self.put(envelopes).future

    def put(self, envelopes: Sequence[Envelope]) -> Call:
        """The same for at least one event and a caller who is told; a call is never answered within `put`.

        Raises:
            Unavailable, Rejected: as `accept`; nothing was taken.
        """
        if self._closing:
            raise Unavailable("this intake is closing")
        # From here to the log's `put` nothing else runs: the numbers are the ones that the log gives.
        now = self._now_ms()
        received = at_millisecond(now)
        log, origin, count = self._log, self._origin, self._partitions
        data: list[bytes] = []
        ids: list[str] = []
        sources: list[int] = []
        partitions, priorities = bytearray(), bytearray()
        name: str | None = None
        source = -1
        for number, envelope in enumerate(envelopes, start=log.next_number):
            envelope.origin = f"{origin}{number}"
            envelope.received_at = received
            text = encode(envelope)
            if len(text) > MAX_ENVELOPE_BYTES:
                raise Rejected(f"the event is larger than {MAX_ENVELOPE_BYTES >> 10} KiB", code="size")
            if envelope.source != name:
                name = envelope.source
                source = self._source(name)
            data.append(text)
            ids.append(envelope.id)
            partitions.append(partition_of(envelope.shop, envelope.aggregate_id, count))
            sources.append(source)
            priorities.append(priority_of(envelope.name))
        records = Records(data, _packed(ids), partitions, sources, priorities)
        return log.put(records, now, max(priorities))

    async def full(self) -> str | None:
        """Why not even money would be accepted now; None when it would."""
        return "it is closing" if self._closing else self._log.trouble(MONEY)

    async def crowded(self) -> str | None:
        """Why views would be turned away now, or what is wrong with the log otherwise; None when all is well."""
        if self._log.damage:
            return f"the write-ahead log is damaged: {self._log.damage[-1]}"
        return self._log.trouble(VIEW)

    def reject(self, source: str, reason: str, count: int = 1) -> None:
        """Count events that were turned away, by source and reason (a word, see `Rejected.code`)."""
        reasons = self._delivery.figures.rejected.setdefault(source, {})
        reasons[reason] = reasons.get(reason, 0) + count
        self._delivery.note_change()

    async def settled(self) -> None:
        """Wait until every event that was accepted so far has its terminal record."""
        await self._delivery.settled()

    async def close(self, *, settle_seconds: float = CLOSE_SETTLE_SECONDS) -> None:
        """Accept no more and let go of the log; what is still pending then is taken over by whoever runs an `Adopter`
        on this host, or by the next `open` in this directory.

        Args:
            settle_seconds: how long pending events may take to settle first.
        """
        if not self._closing:
            self._closing = True
            await self._delivery.close(settle_seconds=settle_seconds)

    def _source(self, name: str) -> int:
        number = self._log.sources.find(name)
        if number is None:
            if not SOURCE_NAME.match(name):
                raise Rejected("must be lower-case letters, digits, _ and -, at most 63", field="source", code="source")
            number = self._log.sources.number(name)
        return number

    def _now_ms(self) -> int:
        # A clock that steps back must not make a later receipt look older than an earlier one.
        self._received_ms = max(self._received_ms, time.time_ns() // 1_000_000)
        return self._received_ms


def _packed(ids: Sequence[str]) -> bytes:
    """Event ids as bytes, one behind the other."""
    text = "".join(ids)
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        packed = b""
    # Blanks between digits are passed over, and of two ids one could have what the other lacks.
    whole = len(packed) == ID_BYTES * len(ids) and len(text) == 2 * len(packed)
    if not whole or (len(ids) > 1 and set(map(len, ids)) != {2 * ID_BYTES}):
        raise Rejected("must be 32 hexadecimal digits", field="id", code="id")
    return packed
