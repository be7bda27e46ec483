"""From a request whose sender is known to events on disk: short ones at once, long ones in slices.

A long request is read, sealed and written down as a whole like any other, and answered once; only others are answered
in between. What is in work is counted by `Admission.hold`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import NoReturn

from rushlight.errors import Rejected, Unavailable
from rushlight.events.envelope import Envelope
from rushlight.ingest.admission import Admission, TurnedAway
from rushlight.ingest.context.circumstances import Circumstances
from rushlight.ingest.context.surroundings import Surroundings
from rushlight.ingest.dialects.segment import PATHS
from rushlight.ingest.glance import Glance, glance
from rushlight.ingest.intake import Intake
from rushlight.ingest.keys import Key
from rushlight.ingest.log.priority import VIEW, priority_of
from rushlight.ingest.refusals import Refused, complete, turned_away, unavailable, unusable
from rushlight.ingest.rejections import WHOLE, Rejections
from rushlight.ingest.reports import seal_all, source_of
from rushlight.ingest.request import Answer, Decoded, Dialect, Hint, Rejection, Report, Request, Typed
from rushlight.ingest.segment_context import for_sdks
from rushlight.ingest.turns import Turns

logger = logging.getLogger(__name__)

SHORT_BYTES = 64 << 10
SHORT_EVENTS = 100
MAX_KEPT = 4096

Item = Report | Typed | Rejection
Told = Callable[[Answer], None]


class Taking:
    """What comes in through one process.

    Args:
        intake: where events go.
        admission: who is let in when not everybody can be.
        surroundings: what the settings say of proxies and shops.
        rejections: what was turned away is noted there.
    """

    def __init__(
        self, intake: Intake, admission: Admission, surroundings: Surroundings, rejections: Rejections | None
    ) -> None:
        self._intake = intake
        self._admission = admission
        self._surroundings = surroundings
        self._rejections = rejections
        self._turns = Turns()
        self._kept: dict[tuple[int, str | None, str, Key], tuple[Mapping[str, str], Circumstances]] = {}

    def take(self, key: Key, request: Request, dialect: Dialect, answer: Told, *, stored: bool = True) -> None:
        """Take what a request brings; ``answer`` is called once, unless this raises.

        Args:
            stored: whether what it brings is kept, not only looked at.

        Raises:
            Refused: the request as a whole.
        """
        if len(request.body) > SHORT_BYTES:
            self._later(key, request, dialect, answer, None, stored=stored)
            return
        if stored and self._admission.is_scarce(key):
            self._look(key, glance(dialect.name, request))
        items, rest = self._begin(key, request, dialect)
        if len(items) > SHORT_EVENTS:
            self._later(key, request, dialect, answer, chain(items, rest), stored=stored)
            return
        if stored:
            self._admit(key, items)
        decoded = seal_all(items, key, request.received_at, self._circumstances(request, dialect.name, key))
        self._finish(key, request, dialect, decoded, answer, stored=stored)

    def hold(self, key: Key | None, owner: str, size: int, work: Iterator[None]) -> None:
        """Do this in slices among others' work, and count its bytes until it is done.

        Args:
            key: for whom a refusal is counted. owner: with whose work it has to wait in line.

        Raises:
            Refused: too much is in work; nothing of it was begun.
        """
        try:
            self._admission.hold(size, owner)
        except TurnedAway as away:
            self._admission.release(size, owner)
            if key is None:
                raise turned_away(away) from away
            self.turn_away(key, away, 1)
        self._turns.add(owner, self._held(size, owner, work))

    def turn_away(self, key: Key, away: TurnedAway, events: int) -> NoReturn:
        """Count what was turned away for want of room, and refuse it."""
        self._intake.reject(source_of(key), f"{away.code}_{away.kind}", events)
        raise turned_away(away) from away

    def count(self, key: Key, rejected: Sequence[Rejection], body: bytes = b"", dialect: str = "") -> None:
        """Count what a sender has to mend, and note it."""
        source = source_of(key)
        for code, count in Counter([each.code for each in rejected]).items():
            self._intake.reject(source, code, count)
        if self._rejections is not None:
            self._rejections.events(key, source, dialect, rejected, body)

    def _held(self, size: int, owner: str, work: Iterator[None]) -> Iterator[None]:
        try:
            yield from work
        finally:
            self._admission.release(size, owner)

    def _later(
        self, key: Key, request: Request, dialect: Dialect, answer: Told, items: Iterable[Item] | None, *, stored: bool
    ) -> None:
        work = self._in_slices(key, request, dialect, answer, items, stored=stored)
        self.hold(key, key.prefix, len(request.body), answering(work, request, answer))

    def _in_slices(
        self, key: Key, request: Request, dialect: Dialect, answer: Told, items: Iterable[Item] | None, *, stored: bool
    ) -> Iterator[None]:
        """The same as `take`, with a pause wherever another may have a turn."""
        try:
            self._admission.enter(key, request.path)  # what came before it may have used up all there was
        except TurnedAway as away:
            self.turn_away(key, away, 1)
        if items is None:
            items = chain(*self._begin(key, request, dialect))
        read: list[Item] = []
        for item in items:
            read.append(item)
            yield
        if stored:
            self._admit(key, read)
        decoded = yield from self._sealed(read, key, request, dialect)
        self._finish(key, request, dialect, decoded, answer, stored=stored)

    def _sealed(
        self, items: list[Item], key: Key, request: Request, dialect: Dialect
    ) -> Generator[None, None, Decoded]:
        """What `seal_all` makes of all of them, which are gone in the end."""
        circumstances = self._circumstances(request, dialect.name, key)
        envelopes: list[Envelope] = []
        rejected: list[Rejection] = []
        hints: list[Hint] = []
        count = len(items)
        items.reverse()
        while items:
            one = seal_all([items.pop()], key, request.received_at, circumstances, first=count - len(items) - 1)
            envelopes += one.envelopes
            rejected += one.rejected
            hints += one.hints
            yield
        return Decoded(envelopes, count - len(rejected), rejected, tuple(hints))

    def _begin(self, key: Key, request: Request, dialect: Dialect) -> tuple[list[Item], Iterator[Item]]:
        """The first events, one more than a short request has, and what comes after them."""
        try:
            items = dialect.decode(request)
            if isinstance(items, list):
                return items, iter(())
            rest = iter(items)
            return list(islice(rest, SHORT_EVENTS + 1)), rest
        except Rejected as error:
            self.count(key, [Rejection.of(WHOLE, error)], request.body, dialect.name)
            self._admission.charge(key)
            raise unusable(error) from error

    def _look(self, key: Key, seen: Glance) -> None:
        try:
            self._admission.look(key, seen.priority, seen.events)
        except TurnedAway as away:
            self.turn_away(key, away, seen.events)

    def _admit(self, key: Key, items: Sequence[Item]) -> None:
        try:
            self._admission.admit(key, len(items), _priority(items))
        except TurnedAway as away:
            self.turn_away(key, away, len(items))

    def _finish(
        self, key: Key, request: Request, dialect: Dialect, decoded: Decoded, answer: Told, *, stored: bool
    ) -> None:
        if stored and decoded.rejected:
            self.count(key, decoded.rejected, request.body, dialect.name)
        if not stored or not decoded.envelopes:
            answer(complete(dialect.answer(request, decoded)))
            return

        def written(error: Unavailable | None) -> None:
            self._admission.waiting -= 1
            answer(complete(unavailable(error).answer if error else dialect.answer(request, decoded)))

        try:
            self._intake.put(decoded.envelopes).then(written)
        except Unavailable as error:
            raise unavailable(error) from error
        except Rejected as error:  # what is small on the wire can be large as an event
            raise Refused(413, error.reason, code=error.code, field=error.field) from error
        self._admission.waiting += 1

    def _circumstances(self, request: Request, dialect: str, key: Key) -> Circumstances:
        if not request.again:
            return Circumstances(request, dialect, key, self._surroundings)
        # Of a head that is kept, the headers are one object for as long as the entry holds it.
        place = (id(request.headers), request.client, dialect, key)
        kept = self._kept.get(place)
        if kept is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            found = Circumstances(request, dialect, key, self._surroundings)
            kept = self._kept[place] = (request.headers, found)
        return kept[1]


def answering(work: Iterator[None], request: Request, answer: Told) -> Iterator[None]:
    """The same work; whatever ends it before its time is answered."""
    try:
        yield from work
    except Refused as refused:
        answer(told(refused, request.path))
    except Exception:  # nobody waits for this: without an answer its client would do so for ever
        logger.exception("a request to %s failed", request.path)
        answer(told(Refused(500, "this is our mistake", code="internal"), request.path))


def told(refused: Refused, path: str) -> Answer:
    """A refusal as the senders of a path understand it."""
    return complete(worded(refused, path))


def worded(refused: Refused, path: str) -> Answer:
    """The same without the headers that every answer has."""
    return for_sdks(refused.answer) if path in PATHS else refused.answer


def _priority(items: Sequence[Item]) -> int:
    """The highest of what a request holds; what is nothing is a view."""
    names = {item.name for item in items if not isinstance(item, Rejection)}
    return max([priority_of(name) for name in names], default=VIEW)
