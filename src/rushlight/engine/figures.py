"""What this process's partitions did, for whoever watches: counted here, reported by the role that runs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from rushlight.errors import Fenced, Retryable
from rushlight.metrics import Histogram


class WorkFigures:
    """Commits of this process.

    Attributes:
        seconds: of each commit that succeeded. events: terminal records in them. failures: the others, by reason.
    """

    def __init__(self) -> None:
        self.seconds = Histogram()
        self.events = 0
        self.failures: Counter[str] = Counter(fenced=0, retried=0, refused=0)

    @contextmanager
    def commit(self, events: int) -> Iterator[None]:
        """Around one commit of so many terminal records."""
        begun = perf_counter()
        try:
            yield
        except Fenced:
            self.failures["fenced"] += 1
            raise
        except Retryable:
            self.failures["retried"] += 1
            raise
        except Exception:
            self.failures["refused"] += 1
            raise
        self.seconds.observe(perf_counter() - begun)
        self.events += events

    def document(self) -> dict[str, Any]:
        """As a report carries them."""
        return {
            "commitSeconds": {"counts": self.seconds.counts, "total": self.seconds.total},
            "events": self.events,
            "failures": dict(self.failures),
        }


WORK = WorkFigures()
