"""A state from which the last event can be taken back, so that one that fails half-way spoils nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rushlight.projections.state import Content, Counters, State, copied


class Tentative(State):
    """Call `begin` before each event; then `undo` leaves the state as it was before that event."""

    def __init__(self, documents: Mapping[str, Content] | None = None) -> None:
        super().__init__(documents)
        self._documents: dict[str, Content | None] = {}
        self._rewritten: dict[str, int] = {}
        self._counted: dict[str, Counters | None] = {}

    def begin(self, seq: int, named: Collection[str]) -> None:
        """The next event: its place, and the keys of the documents that folding it may read and change."""
        self.seq, self.named = seq, named
        self._documents = {key: copied(self.documents[key]) if key in self.documents else None for key in named}
        self._rewritten = {key: self.rewritten[key] for key in named if key in self.rewritten}
        self._counted = {}

    def undo(self) -> None:
        """Take the event back."""
        for key, document in self._documents.items():
            self.rewritten.pop(key, None)
            if document is None:
                self.documents.pop(key, None)
            else:
                self.documents[key] = document
        self.rewritten |= self._rewritten
        for key, counters in self._counted.items():
            if counters is None:
                self.counted.pop(key, None)
            else:
                self.counted[key] = counters
        self._documents, self._rewritten, self._counted = {}, {}, {}

    def changed(self) -> State:
        """What the event has touched, as it stands now."""
        part = State()
        part.documents = self.documents
        part.rewritten = {key: self.seq for key in self._documents if self.rewritten.get(key) == self.seq}
        part.counted = {key: self.counted[key] for key in self._counted}
        return part

    def _of(self, key: str) -> Counters:
        if key not in self._counted:
            before = self.counted.get(key)
            self._counted[key] = before.copy() if before is not None else None
        return super()._of(key)
