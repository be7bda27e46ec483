"""What a projection is: a deterministic fold of one partition's journal, in its order, into documents of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from rushlight.events.envelope import Envelope
from rushlight.projections.state import Content, State, merge_sums


class Projection:
    """Base of projections.

    A fold reads the event and its own documents: no settings, no clock, no randomness. Folding the same events in
    the same order gives the same documents, however they were cut into batches. In a document the names ``_id``, ``p``
    and ``seq`` are the store's.

    Attributes:
        name: its documents stand in the collection ``projection.NAME``.
        version: of what its fold makes of events; raise it with every change of that, and workers build the figures
            anew from the journal, beside the old ones.
        events: names of the events it folds, or None for all.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    events: ClassVar[frozenset[str] | None] = None

    def keys(self, event: Envelope) -> Sequence[str]:  # noqa: ARG002 - for those that read documents
        """Keys (``shop/…``) of the documents that folding this event reads; they are loaded beforehand."""
        return ()

    def fold(self, state: State, event: Envelope) -> None:
        """Change the state by one event."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to fold {event.name}")

    def merge(self, states: Iterable[Mapping[str, Any]]) -> Content:
        """One document from those that several partitions keep under one key; by default numbers are summed."""
        return merge_sums(states)

    def wants(self, event: Envelope) -> bool:
        """Whether the event is one that this projection folds."""
        return self.events is None or event.name in self.events
