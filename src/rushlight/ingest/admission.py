"""Who is let in when not everybody can be: quotas of keys, one limit for the process, views out before carts and money.

Three things are watched: what a key may send a second (429 beyond it), what the process may take a second, and how long
the oldest request has waited for the disk (503 beyond either). A request is looked at before its body is read, by what
its key and route could hold at best; while room is scarce at a glance, by its events' names; and when it is decoded, by
what it does hold. All or nothing of a request is taken: its sender repeats it whole.

The limit of the process is a bucket of one second. Below a mark near its top each key is held to its share (the limit
divided by the keys of the last seconds), so that one that floods waits for itself; what others leave lies above it. In
the share, in the whole and in what is left, views must leave room for carts and these for money. Money has a tenth of
the limit for itself beside that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rushlight.errors import Unavailable
from rushlight.ingest.buckets import Bucket, Quota
from rushlight.ingest.keys import Key
from rushlight.ingest.log.priority import BEHAVIOUR, MONEY, VIEW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rushlight.ingest.together import Place, Together
    from rushlight.metrics import Exposition

CLASSES = {VIEW: "views", BEHAVIOUR: "behaviour", MONEY: "money"}
# What is reported by these routes is a view, whatever the body says.
VIEW_ROUTES = frozenset({"/v1/page", "/v1/p", "/v1/screen", "/v1/s"})
# How full a bucket must be for each class, and how full the whole for what is beyond a key's share.
FLOORS = {VIEW: 0.5, BEHAVIOUR: 0.25, MONEY: 0.0}
SPARE = {VIEW: 0.9, BEHAVIOUR: 0.8, MONEY: 0.7}
MONEY_RESERVE = 0.1
ACTIVE_SECONDS = 2.0
COUNT_SECONDS = 0.5
FORGET_SECONDS = 60.0
# How long the oldest request may have waited for the disk, and how many may wait, by what is at the door.
MAX_AGE_SECONDS = {VIEW: 2.0, BEHAVIOUR: 5.0, MONEY: 15.0}
MAX_WAITING = {VIEW: 2000, BEHAVIOUR: 3000, MONEY: 4000}
MAX_HELD_BYTES = 64 << 20
MAX_HELD_BY_ONE = MAX_HELD_BYTES // 4
RETRY_SECONDS = {VIEW: 4.0, BEHAVIOUR: 2.0, MONEY: 1.0}


class TurnedAway(Unavailable):
    """Not now: 429 for a key beyond its quota, else 503. ``headers`` say when to come again.

    Attributes:
        status: of the answer. code: ``quota`` or ``overload``. kind: ``views``, ``behaviour`` or ``money``.
    """

    def __init__(self, status: int, code: str, kind: str, reason: str, seconds: float, quota: Quota | None) -> None:
        super().__init__(reason, retry_after_seconds=seconds)
        self.status = status
        self.code = code
        self.kind = kind
        self.headers = [(b"retry-after", b"%d" % self.spread_seconds())]
        if quota is not None:
            self.headers += quota.headers()


class _Account:
    """What one key has had lately."""

    __slots__ = ("place", "quota", "seen", "share")

    def __init__(self, now: float, place: Place | None) -> None:
        self.seen = now
        self.place = place
        self.quota: Quota | None = None
        self.share: Bucket | None = None


class Admission:
    """The door of one process, or of several that keep their limits together.

    Args:
        events_per_second: what they take; None: as much as they can.
        key_events_per_second: what a key without a limit of its own may send; None: as much as it likes.
        age_seconds: how long the oldest request has been waiting for the disk.
        clock: seconds, monotonic.
        together: where several processes keep these limits.
    """

    def __init__(
        self,
        *,
        events_per_second: int | None = None,
        key_events_per_second: int | None = None,
        age_seconds: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
        together: Together | None = None,
    ) -> None:
        self._together = together
        self._age_seconds = age_seconds
        self._clock = clock
        self._default_quota = key_events_per_second
        self._whole: Bucket | None = None
        self._reserve: Bucket | None = None
        if events_per_second is not None:
            rates = events_per_second, events_per_second * MONEY_RESERVE
            whole, reserve = (together.whole, together.reserve) if together else (Bucket, Bucket)
            self._whole, self._reserve = whole(rates[0], clock()), reserve(rates[1], clock())
        self._accounts: dict[str, _Account] = {}
        self._counted_at = -math.inf
        self._share_rate = float(events_per_second or 0)
        self._held_bytes = 0
        self._held_by: dict[str, int] = {}
        self._refused: dict[tuple[str, str], int] = {}
        self.waiting = 0

    def enter(self, key: Key, path: str) -> None:
        """Look at a request whose body is not read yet.

        Raises:
            TurnedAway: whatever it holds, it would be.
        """
        best = VIEW if path in VIEW_ROUTES else MONEY if key.kind == "secret" else BEHAVIOUR
        if self.waiting >= MAX_WAITING[best] or self._age_seconds() > MAX_AGE_SECONDS[best]:
            raise self._overload(best, "too many events are waiting for the disk")
        self.look(key, best)

    def look(self, key: Key, priority: int, events: int = 1) -> None:
        """Look at so many events whose class is at best this.

        Raises:
            TurnedAway: whatever they are, they would be.
        """
        if self._limited(key) and not self._at_ease(key, priority):
            self._weigh(self._account(key), priority, events, spend=False)

    def is_scarce(self, key: Key) -> bool:
        """Whether views may have to be turned away now."""
        return self._limited(key) and not self._at_ease(key, VIEW)

    def admit(self, key: Key, events: int, priority: int) -> None:
        """Let a decoded request in, or not.

        Args:
            events: how many it holds. priority: the highest among them, as in `rushlight.ingest.log.priority`.

        Raises:
            TurnedAway: there is no room for it now.
        """
        if self.waiting >= MAX_WAITING[priority] or self._age_seconds() > MAX_AGE_SECONDS[priority]:
            raise self._overload(priority, "too many events are waiting for the disk", events)
        if self._limited(key):
            self._weigh(self._account(key), priority, max(1, events), spend=True)

    def charge(self, key: Key) -> None:
        """A request that could not be read costs its key one event."""
        if key.limit is not None or self._default_quota is not None:
            quota = self._account(key).quota
            if quota is not None:
                quota.take(1)

    def hold(self, size: int, owner: str = "") -> None:
        """Count a piece of a body that comes in parts, or a request in work; `release` is due for it in any case.

        Args:
            owner: of a request in work: of all room no one has more than a part.

        Raises:
            TurnedAway: too much is held.
        """
        self._held_bytes += size
        own = 0
        if owner:
            own = self._held_by[owner] = self._held_by.get(owner, 0) + size
        if self._held_bytes > MAX_HELD_BYTES or own > MAX_HELD_BY_ONE:
            raise self._overload(BEHAVIOUR, "too many large bodies are on their way or in work")

    def release(self, size: int, owner: str = "") -> None:
        """A body, or what came of it, has been read, dealt with or given up."""
        self._held_bytes -= size
        if owner:
            self._held_by[owner] -= size
            if not self._held_by[owner]:
                del self._held_by[owner]

    @contextmanager
    def reading(self) -> Iterator[Callable[[int], None]]:
        """Counts the bytes of a body that comes in parts, for as long as the block runs."""
        held = 0

        def add(size: int) -> None:
            nonlocal held
            held += size
            self.hold(size)

        try:
            yield add
        finally:
            self.release(held)

    def collect(self, exposition: Exposition) -> None:
        """Add what was refused."""
        for (reason, kind), count in sorted(self._refused.items()):
            exposition.add("rushlight_ingest_turned_away_total", count, reason=reason, kind=kind)
        exposition.add("rushlight_ingest_waiting_requests", self.waiting)
        exposition.add("rushlight_ingest_held_bytes", self._held_bytes)

    def _limited(self, key: Key) -> bool:
        return self._whole is not None or key.limit is not None or self._default_quota is not None

    def _at_ease(self, key: Key, priority: int) -> bool:
        """Whether there was more than enough when it was looked at last; there is no less now."""
        account, whole = self._accounts.get(key.prefix), self._whole
        if account is None or (whole is not None and whole.level < SPARE[priority] * whole.size):
            return False
        return account.quota is None or account.quota.level > 0

    def _account(self, key: Key) -> _Account:
        now = self._clock()
        account = self._accounts.get(key.prefix)
        if account is None or (account.place is not None and not account.place.see(now)):
            place = self._together.place(key.prefix, now) if self._together is not None else None
            account = self._accounts[key.prefix] = _Account(now, place)
            self._counted_at = -math.inf
        account.seen = now
        limit = key.limit or self._default_quota
        if limit is None:
            account.quota = None
        elif account.quota is None or account.quota.rate != limit:
            account.quota = (account.place.quota if account.place else Quota)(limit, now)
        if now - self._counted_at >= COUNT_SECONDS:
            self._count_keys(now)
        if self._whole is not None:
            if account.share is None:
                account.share = (account.place.share if account.place else Bucket)(self._share_rate, now)
            elif account.share.rate != self._share_rate:
                account.share.refill(now)
                account.share.change_rate(self._share_rate)
        return account

    def _count_keys(self, now: float) -> None:
        self._counted_at = now
        active = 0
        for prefix, account in list(self._accounts.items()):
            idle = now - account.seen
            active += idle <= ACTIVE_SECONDS
            if idle > FORGET_SECONDS:
                del self._accounts[prefix]
        if self._whole is not None:
            if self._together is not None:
                active = self._together.active(now - ACTIVE_SECONDS)
            self._share_rate = self._whole.rate / max(1, active)

    def _weigh(self, account: _Account, priority: int, events: int, *, spend: bool) -> None:
        now = account.seen
        quota, whole, share = account.quota, self._whole, account.share
        if quota is not None and quota.refill(now) <= 0:
            seconds = max(1.0, quota.seconds)
            reason = f"this key may send {quota.rate:g} events a second"
            self._note("quota", priority, events)
            raise TurnedAway(429, "quota", CLASSES[priority], reason, seconds, quota)
        if whole is not None and share is not None:
            level = whole.refill(now)
            if level < SPARE[priority] * whole.size:
                floor = FLOORS[priority]
                if level > floor * whole.size and share.refill(now) > floor * share.size:
                    if spend:
                        share.take(events)
                elif not self._reserved(priority, events, now, spend=spend):
                    raise self._overload(priority, "more events come than are taken here at once", events)
            if spend:
                whole.take(events)
        if spend and quota is not None:
            quota.take(events)

    def _reserved(self, priority: int, events: int, now: float, *, spend: bool) -> bool:
        """Whether this is money and its own room has some left."""
        reserve = self._reserve
        if priority != MONEY or reserve is None or reserve.refill(now) <= 0:
            return False
        if spend:
            reserve.take(events)
        return True

    def _overload(self, priority: int, reason: str, events: int = 1) -> TurnedAway:
        self._note("overload", priority, events)
        return TurnedAway(503, "overload", CLASSES[priority], reason, RETRY_SECONDS[priority], None)

    def _note(self, reason: str, priority: int, events: int) -> None:
        what = (reason, CLASSES[priority])
        self._refused[what] = self._refused.get(what, 0) + events
