"""The oracle: what must be true of journal and figures, told from the diary alone and by none of the project's code."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.diary import Answered, Entry, Outcome, Sent, entries

Figures = dict[str, Counter[str]]
"""By currency: orders, units, gross, discounts, refunds, tax, shipping; minor units."""

Document = Mapping[str, Any]


@dataclass
class Claim:
    """One event that must be stored (accepted), may be (unknown), or must not be (refused)."""

    sent: Sent
    outcome: Outcome = "unknown"
    found: int = 0


@dataclass
class Told:
    """All requests of a diary.

    Attributes:
        claims: by the identity of the event in the journal; see `identity`.
        sent, accepted, unknown: how many requests.
    """

    claims: dict[tuple[str, ...], Claim] = field(default_factory=dict)
    sent: int = 0
    accepted: int = 0
    refused: int = 0
    _by_key: dict[str, list[Claim]] = field(default_factory=dict)

    @property
    def unknown(self) -> int:
        """Requests of which nobody was told what became of them."""
        return self.sent - self.accepted - self.refused

    def answered(self) -> Counter[str]:
        """How many events were acknowledged, by source."""
        return Counter(claim.sent.source for claim in self.claims.values() if claim.outcome == "accepted")

    @classmethod
    def of(cls, told: Iterable[Entry]) -> Told:
        """Fold entries."""
        self = cls()
        for entry in told:
            self.add(entry)
        return self

    def add(self, entry: Entry) -> None:
        """Fold one more."""
        if isinstance(entry, Sent):
            self.sent += 1
            self._by_key[entry.key] = [self.claims.setdefault(name, Claim(entry)) for name in _claims(entry)]
        elif isinstance(entry, Answered):
            self.accepted += entry.outcome == "accepted"
            self.refused += entry.outcome == "refused"
            for claim in self._by_key.pop(entry.key, ()):
                claim.outcome = entry.outcome

    @classmethod
    def read(cls, path: Path) -> Told:
        """Fold a diary."""
        return cls.of(entries(path))

    def figures(self, source: str, *, doubtful: bool = True) -> Figures:
        """What the figures of a source must be; of what is unknown, that which was found (see `checks.look`) counts.

        Args:
            doubtful: whether requests without an answer count where they were found.
        """
        lives: dict[str, list[Claim]] = defaultdict(list)
        for claim in self.claims.values():
            counts = claim.outcome == "accepted" or (doubtful and claim.outcome == "unknown" and claim.found)
            if counts and claim.sent.source == source and claim.sent.kind != "event":
                lives[claim.sent.aggregate].append(claim)
        figures: Figures = defaultdict(Counter)
        for life in lives.values():
            _count(figures, [claim.sent for claim in life])
        return dict(figures)


def identity(document: Document) -> tuple[str, ...]:
    """What tells the events of a sender apart, independent of the ids that the system gave them.

    Shoppers refund an order once at most, so that its name and its order tell a refund.
    """
    source, name, about = document["source"], document["eventName"], document["aggregateId"]
    payload = document["payload"]
    if name == "purchase":
        return (source, name, str(payload.get("transactionId")))
    if name.startswith("order_"):
        return (source, name, about)
    return (source, document["_id"])


def _claims(sent: Sent) -> list[tuple[str, ...]]:
    if sent.kind == "event":
        return [(sent.source, sent.event_id)]
    if sent.kind == "create" and sent.visitor:
        return [(sent.source, sent.name, sent.aggregate), (sent.source, "purchase", sent.aggregate)]
    return [(sent.source, sent.name, sent.aggregate)]


def _count(figures: Figures, life: list[Sent]) -> None:
    if any(sent.kind == "cancel" for sent in life):
        return
    seen = set()
    for sent in life:
        if sent.key in seen or sent.kind not in ("create", "refund"):
            continue
        seen.add(sent.key)
        sums = figures[sent.currency]
        if sent.kind == "create":
            sums.update(
                orders=1,
                units=sent.units,
                gross=sent.gross,
                discounts=sent.discounts,
                tax=sent.tax,
                shipping=sent.shipping,
            )
        else:
            sums.update(refunds=sent.gross, tax=-sent.tax, shipping=-sent.shipping)
