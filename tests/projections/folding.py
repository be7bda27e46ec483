"""Folds events in memory, in the order in which they are given."""

from __future__ import annotations

from collections.abc import Iterable

from rushlight.events.envelope import Envelope
from rushlight.projections.projection import Projection
from rushlight.projections.state import Content, State


def fold(projection: Projection, events: Iterable[Envelope]) -> dict[str, Content]:
    """The documents, by key, as they would stand in the store."""
    state = State()
    for seq, event in enumerate(events, start=1):
        if projection.wants(event):
            state.seq = seq
            projection.fold(state, event)
    return state.result()
