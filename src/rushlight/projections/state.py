"""One partition's slice of one projection while a batch is folded into it; nothing here touches a database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

Content = dict[str, Any]


class Counters:
    """What a batch does to one document without having read it: all of it commutes, except `puts`."""

    __slots__ = ("adds", "highs", "lows", "puts", "seq")

    def __init__(self) -> None:
        self.seq = 0
        self.adds: dict[str, int] = {}
        self.lows: dict[str, Any] = {}
        self.highs: dict[str, Any] = {}
        self.puts: dict[str, Any] = {}

    def copy(self) -> Counters:
        """The same, to be changed on its own."""
        other = Counters()
        other.seq = self.seq
        other.adds, other.lows, other.highs, other.puts = map(dict, (self.adds, self.lows, self.highs, self.puts))
        return other


class State:
    """The documents of one projection, by key (``shop/…``).

    A document is used in one of two ways, and always in the same: read and rewritten (`document`, whose key the
    projection has named in its ``keys``), or only counted (`add`, `low`, `high`, `put`).

    Attributes:
        seq: place of the event that is being folded; each document remembers that of its last change.
        named: keys that the projection has named for this event; None where nobody asks.
    """

    def __init__(self, documents: Mapping[str, Content] | None = None) -> None:
        self.seq = 0
        self.named: Collection[str] | None = None
        self.documents: dict[str, Content] = dict(documents or {})
        self.rewritten: dict[str, int] = {}
        self.counted: dict[str, Counters] = {}

    def document(self, key: str) -> Content:
        """The document's content, to be changed in place; empty when it is new.

        Raises:
            LookupError: ``keys`` has not named it, so nobody knows whether it is new.
        """
        self._require_named(key)
        self.rewritten[key] = self.seq
        found = self.documents.get(key)
        if found is None:
            found = self.documents[key] = {}
        return found

    def peek(self, key: str) -> Content | None:
        """The document's content to read only, or None.

        Raises:
            LookupError: ``keys`` has not named it.
        """
        self._require_named(key)
        return self.documents.get(key)

    def add(self, key: str, amounts: Mapping[str, int]) -> None:
        """Raise numbers at dotted paths; a missing one counts as 0."""
        adds = self._of(key).adds
        for path, amount in amounts.items():
            adds[path] = adds.get(path, 0) + amount

    def low(self, key: str, path: str, value: Any) -> None:
        """Keep the smallest of the values."""
        lows = self._of(key).lows
        if path not in lows or value < lows[path]:
            lows[path] = value

    def high(self, key: str, path: str, value: Any) -> None:
        """Keep the greatest of the values."""
        highs = self._of(key).highs
        if path not in highs or value > highs[path]:
            highs[path] = value

    def put(self, key: str, values: Mapping[str, Any]) -> None:
        """Keep, at each path, the last value in the order of the journal."""
        self._of(key).puts.update(values)

    def result(self) -> dict[str, Content]:
        """Every document as it would stand in the store, for tests and comparisons."""
        contents = {key: copied(content) for key, content in self.documents.items() if content}
        for key, counters in self.counted.items():
            _apply(contents.setdefault(key, {}), counters)
        return contents

    def _require_named(self, key: str) -> None:
        if self.named is not None and key not in self.named:
            raise LookupError(f"keys() does not name the document {key!r}, which the fold reads")

    def _of(self, key: str) -> Counters:
        counters = self.counted.get(key)
        if counters is None:
            counters = self.counted[key] = Counters()
        counters.seq = self.seq
        return counters


def _apply(content: Content, counters: Counters) -> None:
    for path, amount in counters.adds.items():
        holder, name = _hold(content, path)
        holder[name] = holder.get(name, 0) + amount
    for path, value in counters.lows.items():
        holder, name = _hold(content, path)
        holder[name] = min(holder.get(name, value), value)
    for path, value in counters.highs.items():
        holder, name = _hold(content, path)
        holder[name] = max(holder.get(name, value), value)
    for path, value in counters.puts.items():
        holder, name = _hold(content, path)
        holder[name] = value


def _hold(content: Content, path: str) -> tuple[Content, str]:
    *parents, name = path.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
    return content, name


def copied(value: Any) -> Any:
    """A document's content, or a part of it, to be changed on its own."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def merge_sums(contents: Iterable[Mapping[str, Any]]) -> Content:
    """Sum numbers that stand at the same path in several partitions' documents; of other values the last stays."""
    total: Content = {}
    for content in contents:
        for name, value in content.items():
            if isinstance(value, Mapping):
                total[name] = merge_sums([total.get(name, {}), value])
            elif isinstance(value, int) and not isinstance(value, bool):
                total[name] = total.get(name, 0) + value
            else:
                total[name] = value
    return total
