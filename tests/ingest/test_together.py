"""Several processes keep one limit: it holds whether all of a key comes to one of them or some to each."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

import pytest

from rushlight.ingest import together as together_
from rushlight.ingest.admission import Admission, TurnedAway
from rushlight.ingest.keys import Key
from rushlight.ingest.log.priority import BEHAVIOUR, MONEY, VIEW
from rushlight.ingest.together import Together
from tests.ingest.test_admission import HOT, LIMIT, QUIET, SECRET

DOORS = 3


class Doors:
    """Processes with a door each, at a time of their own; each kind of traffic has the doors that it comes to."""

    def __init__(self, descriptor: int, **options: Any) -> None:
        self.now = 1000.0
        self.shared = [Together(os.dup(descriptor)) for _ in range(DOORS)]
        self.doors = [Admission(clock=lambda: self.now, together=each, **options) for each in self.shared]

    def run(
        self, seconds: float, traffic: Mapping[tuple[Key, int], tuple[float, tuple[int, ...]]], events: int = 1
    ) -> Counter[tuple[Key, int]]:
        """Offer requests, evenly: the rate a second and which doors in turn; how many were let in of each."""
        taken: Counter[tuple[Key, int]] = Counter()
        turns = {what: cycle(doors) for what, (_, doors) in traffic.items()}
        owed = dict.fromkeys(traffic, 0.0)
        for _ in range(int(seconds * 1000)):
            self.now += 0.001
            for what, (rate, _) in traffic.items():
                owed[what] += rate * 0.001
                while owed[what] >= 1:
                    owed[what] -= 1
                    taken[what] += self.offer(next(turns[what]), *what, events) is None
        return taken

    def offer(self, door: int, key: Key, priority: int, events: int = 1) -> TurnedAway | None:
        """One request; what refused it."""
        try:
            self.doors[door].enter(key, "/v1/track")
            self.doors[door].admit(key, events, priority)
        except TurnedAway as away:
            return away
        return None


@pytest.fixture
def descriptor() -> Iterator[int]:
    """A file without a name."""
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


@pytest.mark.parametrize("doors", [(0,), (0, 1, 2)], ids=["at one", "at all"])
def test_a_quota_is_the_keys_own(descriptor: int, doors: tuple[int, ...]) -> None:
    """A key may send what its quota says, no more and no less, wherever its connections ended up."""
    both = Doors(descriptor, key_events_per_second=100)
    taken = both.run(10, {(HOT, VIEW): (400.0, doors), (QUIET, VIEW): (80.0, (2,))})
    assert taken[HOT, VIEW] == pytest.approx(1100, abs=3)
    assert taken[QUIET, VIEW] == pytest.approx(800, abs=2)
    away = both.offer(doors[-1], HOT, VIEW)
    assert away is not None
    assert away.status == 429


@pytest.mark.parametrize("doors", [(0,), (0, 1, 2)], ids=["at one", "at all"])
@pytest.mark.parametrize("batch", [1, 50])
def test_five_times_the_limit(descriptor: int, doors: tuple[int, ...], batch: int) -> None:
    """What all take together is the limit, also when one takes it all."""
    both = Doors(descriptor, events_per_second=LIMIT)
    rates = {(HOT, VIEW): (5 * LIMIT / batch, doors)}
    both.run(3, rates, batch)
    assert both.run(5, rates, batch)[HOT, VIEW] * batch == pytest.approx(5 * LIMIT, rel=0.05)


def test_fair_between_keys_that_never_meet(descriptor: int) -> None:
    """A key that floods one process leaves another key's share at another process alone, and money last of all."""
    both = Doors(descriptor, events_per_second=LIMIT)
    rates = {(HOT, BEHAVIOUR): (4000.0, (0,)), (QUIET, BEHAVIOUR): (200.0, (1,)), (SECRET, MONEY): (100.0, (2,))}
    both.run(3, rates)
    taken = both.run(5, rates)
    assert taken[QUIET, BEHAVIOUR] == pytest.approx(1000, rel=0.01)
    assert taken[SECRET, MONEY] == pytest.approx(500, rel=0.01)
    assert taken[HOT, BEHAVIOUR] == pytest.approx(3500, rel=0.05)


def test_a_batch_is_owed_everywhere(descriptor: int) -> None:
    """What one process let a key take in advance, the key waits for at the others."""
    both = Doors(descriptor, key_events_per_second=10)
    assert both.offer(0, HOT, VIEW, 30) is None
    for door in range(DOORS):
        away = both.offer(door, HOT, VIEW)
        assert away is not None
        headers = {name.decode(): int(value) for name, value in away.headers}
        assert (headers["x-ratelimit-remaining"], headers["x-ratelimit-reset"]) == (0, 3)
    both.now += 2.2
    assert both.offer(2, HOT, VIEW) is None


def test_more_keys_than_rows(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that makes room for another is found again as a new one; nobody is charged for somebody else."""
    monkeypatch.setattr(together_, "ROWS", together_.REACH)
    both = Doors(descriptor, key_events_per_second=10)
    keys = [HOT._replace(prefix=f"pk_{number}") for number in range(5 * together_.REACH)]
    assert both.offer(0, HOT, VIEW, 30) is None
    for key in keys:
        both.now += 0.001
        assert both.offer(1, key, VIEW) is None
    assert both.offer(0, HOT, VIEW) is None


HAMMER = """
import sys, time
from rushlight.ingest.admission import Admission, TurnedAway
from rushlight.ingest.keys import Key
from rushlight.ingest.together import Together
door = Admission(key_events_per_second=20_000, together=Together(int(sys.argv[1])))
key, taken = Key("public", "s", "k"), 0
end = time.monotonic() + 0.7
while time.monotonic() < end:
    for _ in range(100):
        try:
            door.admit(key, 1, 0)
            taken += 1
        except TurnedAway:
            pass
print(taken)
"""


def test_at_the_same_time(descriptor: int) -> None:
    """Processes that hammer on one bucket at once take hardly more than it holds: the bound in docs/operate.md."""
    begun = time.monotonic()
    command = [sys.executable, "-c", HAMMER, str(descriptor)]
    hammers = [subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(descriptor,)) for _ in range(DOORS)]
    taken = sum(int(hammer.communicate()[0]) for hammer in hammers)
    assert 0 < taken <= 1.05 * 20_000 * (time.monotonic() - begun + 1.0)
