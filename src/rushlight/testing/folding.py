"""``given(events).then(projection(Sales) == {…})``: folds in memory what a worker would fold into MongoDB."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pprint import pformat
from typing import Any

import bson
import msgspec
from bson.errors import BSONError

from rushlight.events.envelope import Envelope
from rushlight.events.event import Event, validate
from rushlight.events.ids import partition_of
from rushlight.projections.projection import Projection
from rushlight.projections.state import State
from rushlight.settings import DEFAULT_SHOP

FIRST_MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)

Documents = dict[str, dict[str, Any]]


def sealed(event: Event, **fields: Any) -> Envelope:
    """An event in an envelope of which a test says something: ``sealed(Paid(…), shop="berlin", occurred_at=…)``.

    Args:
        fields: of `Envelope`, as `Event.seal` takes them; `given` fills in what is not said.
    """
    return event.seal(**{"id": "", "shop": DEFAULT_SHOP, "source": "test", "origin": "", **fields})


def given(*events: Event | Envelope | Iterable[Event | Envelope]) -> Given:
    """Events in the order of the journal: typed ones, or envelopes (see `sealed`), or lists of them.

    What is not said has plain defaults: the shop ``default``, the source ``test``, ids by number, and one second
    between an event and the next, from noon of 1 January 2026 (UTC) on.

    Raises:
        Rejected: an event's fields do not fit its declaration.
    """
    flat: list[Event | Envelope] = []
    for one in events:
        flat += [one] if isinstance(one, Event | Envelope) else one
    return Given([_numbered(one, number) for number, one in enumerate(flat)])


def projection(kind: type[Projection] | Projection, *, partitions: int = 1) -> _Folded:
    """The documents of a projection, to be compared with ``==`` inside of `Given.then`, by key (``shop/…``).

    Args:
        partitions: spread the events over so many, as a real instance does, and merge the documents for the reader.
    """
    return _Folded(kind() if isinstance(kind, type) else kind, partitions)


class Given:
    """Events that were given; see `given`.

    Attributes:
        events: in their envelopes, in order.
    """

    def __init__(self, events: Sequence[Envelope]) -> None:
        self.events = list(events)

    def then(self, *expected: _Expected) -> None:
        """Check expectations, each a ``projection(Kind) == {key: document}``.

        Beside the comparison it is checked that the fold keeps a projection's rules: folded in one batch, or one by
        one with only the documents that ``keys`` names, it makes the same; and what it makes can be stored.

        Raises:
            AssertionError: the documents are others, or a rule is broken.
        """
        __tracebackhide__ = True  # a failing test shows the line of whoever wrote it
        for one in expected:
            if not isinstance(one, _Expected):
                raise TypeError("then() takes comparisons: then(projection(Kind) == {…})")
            one.check(self.events)


class _Folded:
    """One side of a comparison that is made later."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, folding: Projection, partitions: int) -> None:
        self.folding = folding
        self.partitions = partitions

    def __eq__(self, documents: object) -> Any:
        if not isinstance(documents, Mapping):
            raise TypeError("a projection is compared with its documents by key: projection(Kind) == {key: {…}}")
        return _Expected(self, documents)


class _Expected:
    """A comparison that is made when the events are known."""

    def __init__(self, folded: _Folded, documents: Mapping[str, Any]) -> None:
        self._folding = folded.folding
        self._partitions = folded.partitions
        self._documents = dict(documents)

    def __bool__(self) -> bool:
        raise TypeError("projection(Kind) == {…} says nothing by itself: pass it to given(…).then(…)")

    def check(self, events: Sequence[Envelope]) -> None:
        """Fold and compare."""
        __tracebackhide__ = True
        name = type(self._folding).__name__
        parts: list[Documents] = []
        for partition in range(self._partitions):
            own = [e for e in events if partition_of(e.shop, e.aggregate_id, self._partitions) == partition]
            at_once, one_by_one = _at_once(self._folding, own), _one_by_one(self._folding, own)
            if at_once != one_by_one:
                raise AssertionError(
                    f"{name} depends on how events are cut into batches; does keys() name every document that it "
                    f"reads?\nin one batch: {pformat(at_once)}\none by one:   {pformat(one_by_one)}"
                )
            _require_storable(name, at_once)
            parts.append(at_once)
        found = parts[0] if self._partitions == 1 else _merged(self._folding, parts)
        if found != self._documents:
            raise AssertionError(f"{name} is\n{pformat(found)}\nand not\n{pformat(self._documents)}")


def _numbered(one: Event | Envelope, number: int) -> Envelope:
    moment = FIRST_MOMENT + timedelta(seconds=number)
    if isinstance(one, Event):
        validate(type(one), one.payload())
        envelope = sealed(one, occurred_at=moment, received_at=moment)
    else:
        envelope = one
    return msgspec.structs.replace(
        envelope, id=envelope.id or f"{number:032x}", origin=envelope.origin or f"w:test:{number}"
    )


def _at_once(folding: Projection, events: Sequence[Envelope]) -> Documents:
    store: Documents = {}
    _fold_batch(folding, store, events)
    return store


def _one_by_one(folding: Projection, events: Sequence[Envelope]) -> Documents:
    store: Documents = {}
    for number, event in enumerate(events):
        _fold_batch(folding, store, [event], number)
    return store


def _fold_batch(folding: Projection, store: Documents, events: Sequence[Envelope], before: int = 0) -> None:
    """What a worker does with a batch: load what `keys` names, fold, write what was rewritten and counted."""
    wanted = [(seq, event) for seq, event in enumerate(events, before + 1) if folding.wants(event)]
    keys = {key for _, event in wanted for key in folding.keys(event)}
    state = State({key: deepcopy(store[key]) for key in keys if key in store})
    for seq, event in wanted:
        state.seq = seq
        folding.fold(state, deepcopy(event))
    store.update({key: state.documents[key] for key in state.rewritten})
    counted = State({key: store.get(key, {}) for key in state.counted})
    counted.counted = state.counted
    store.update(counted.result())


def _merged(folding: Projection, parts: Sequence[Documents]) -> Documents:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: dict(folding.merge([part[key] for part in parts if key in part])) for key in keys}


def _require_storable(name: str, documents: Documents) -> None:
    for key, document in documents.items():
        try:
            bson.encode(document)
        except (BSONError, OverflowError, TypeError) as error:
            raise AssertionError(f"{name}: the document {key!r} cannot be stored: {error}") from error
