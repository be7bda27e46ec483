"""Who waits when not everybody can be let in: whoever asks for too much, and views before carts before money."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from rushlight.ingest import admission as admission_
from rushlight.ingest.admission import MAX_WAITING, Admission, TurnedAway
from rushlight.ingest.keys import Key
from rushlight.ingest.log.priority import BEHAVIOUR, MONEY, VIEW
from rushlight.ingest.origins import allowed
from rushlight.metrics import Exposition

HOT, QUIET = Key("public", "default", "pk_hot"), Key("public", "north", "pk_quiet")
SECRET = Key("secret", "default", "sk_shop")
LIMIT = 1000


class Traffic:
    """Offers events to a door, at a time of its own."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.age = 0.0
        self.door = Admission(clock=lambda: self.now, age_seconds=lambda: self.age, **options)

    def offer(self, key: Key, priority: int, events: int = 1) -> TurnedAway | None:
        """One request; what refused it."""
        try:
            self.door.enter(key, "/v1/track")
            self.door.admit(key, events, priority)
        except TurnedAway as away:
            return away
        return None

    def run(self, seconds: float, rates: dict[tuple[Key, int], float], events: int = 1) -> Counter[tuple[Key, int]]:
        """Offer requests at these rates a second, evenly; how many were let in of each."""
        taken: Counter[tuple[Key, int]] = Counter()
        owed = dict.fromkeys(rates, 0.0)
        step = 0.001
        for _ in range(int(seconds / step)):
            self.now += step
            for what, rate in rates.items():
                owed[what] += rate * step
                while owed[what] >= 1:
                    owed[what] -= 1
                    taken[what] += self.offer(*what, events) is None
        return taken


@pytest.mark.parametrize("batch", [1, 50])
def test_five_times_the_limit(batch: int) -> None:
    """What is taken is the limit, not less because more is asked for."""
    traffic = Traffic(events_per_second=LIMIT)
    traffic.run(3, {(HOT, VIEW): 5 * LIMIT / batch}, batch)
    taken = traffic.run(10, {(HOT, VIEW): 5 * LIMIT / batch}, batch)
    assert taken[HOT, VIEW] * batch == pytest.approx(10 * LIMIT, rel=0.05)


def test_views_wait_first_and_money_last() -> None:
    """Carts that fit are taken while views are shed, and money while carts are."""
    traffic = Traffic(events_per_second=LIMIT)
    rates = {(HOT, VIEW): 4000.0, (HOT, BEHAVIOUR): 500.0, (SECRET, MONEY): 100.0}
    traffic.run(3, rates)
    taken = traffic.run(10, rates)
    assert taken[HOT, BEHAVIOUR] == pytest.approx(5000, rel=0.02)
    assert taken[SECRET, MONEY] == pytest.approx(1000, rel=0.01)
    assert taken[HOT, VIEW] == pytest.approx(4000, rel=0.05)
    rates |= {(HOT, BEHAVIOUR): 5000.0}
    traffic.run(3, rates)
    taken = traffic.run(10, rates)
    assert taken[SECRET, MONEY] == pytest.approx(1000, rel=0.01)
    assert taken[HOT, BEHAVIOUR] == pytest.approx(9000, rel=0.05)
    assert taken[HOT, VIEW] < 200


def test_money_has_room_when_large_batches_have_taken_the_rest() -> None:
    """A batch of views may take more than there is; money does not wait until that is earned."""
    traffic = Traffic(events_per_second=LIMIT)
    assert traffic.offer(HOT, VIEW, 2500) is None
    assert traffic.offer(HOT, BEHAVIOUR) is not None
    assert traffic.offer(SECRET, MONEY) is None
    assert traffic.run(5, {(SECRET, MONEY): 80.0})[SECRET, MONEY] == pytest.approx(400, abs=2)


@pytest.mark.parametrize("priority", [VIEW, BEHAVIOUR, MONEY])
def test_a_key_that_floods_waits_for_itself(priority: int) -> None:
    """Another key that asks for less than its share gets all of it, and the one that floods gets what is left."""
    traffic = Traffic(events_per_second=LIMIT)
    hot, quiet = (SECRET._replace(prefix="sk_hot"), SECRET) if priority == MONEY else (HOT, QUIET)
    rates = {(hot, priority): 5000.0, (quiet, priority): 200.0}
    traffic.run(3, rates)
    taken = traffic.run(10, rates)
    assert taken[quiet, priority] == pytest.approx(2000, rel=0.01)
    assert taken[hot, priority] == pytest.approx(8000, rel=0.05)


def test_a_quota_is_the_keys_own() -> None:
    """429 beyond it, with when to come again; another key is not concerned, and a limit of its own goes before."""
    traffic = Traffic(key_events_per_second=10)
    own = QUIET._replace(limit=100)
    taken = traffic.run(10, {(HOT, VIEW): 50.0, (own, VIEW): 80.0})
    assert taken[HOT, VIEW] == pytest.approx(110, abs=2)
    assert taken[own, VIEW] == pytest.approx(800, abs=2)
    traffic.now += 1
    assert traffic.offer(HOT, VIEW, 30) is None
    away = traffic.offer(HOT, VIEW)
    assert away is not None
    assert (away.status, away.code, away.kind) == (429, "quota", "behaviour")
    headers = {name.decode(): int(value) for name, value in away.headers}
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == (10, 0)
    assert headers["retry-after"] >= headers["x-ratelimit-reset"] >= 1
    traffic.now += headers["x-ratelimit-reset"] + 0.001
    assert traffic.offer(HOT, VIEW) is None


def test_refusals_are_spread_out() -> None:
    """Those who are refused together are not told the same second, however short their time is."""
    crowded, limited = Traffic(), Traffic(key_events_per_second=10)
    crowded.age = 60.0
    limited.offer(HOT, VIEW, 10)
    random.seed(1)
    for traffic, key, status in ((crowded, HOT, 503), (crowded, SECRET, 503), (limited, HOT, 429)):
        refused = [traffic.offer(key, MONEY) for _ in range(50)]
        assert {away.status for away in refused if away} == {status}
        assert len({away.headers[0] for away in refused if away}) > 1


def test_a_slow_disk_turns_views_away_first() -> None:
    """The age of the oldest waiting event decides, and how many wait."""
    for age, passes in ((0.5, 3), (3.0, 2), (6.0, 1), (20.0, 0)):
        traffic = Traffic()
        traffic.age = age
        let_in = [traffic.offer(SECRET, priority) is None for priority in (MONEY, BEHAVIOUR, VIEW)]
        assert let_in == [True] * passes + [False] * (3 - passes)
    traffic = Traffic()
    for priority in (VIEW, BEHAVIOUR, MONEY):
        traffic.door.waiting = MAX_WAITING[priority] - 1
        assert traffic.offer(SECRET, priority) is None
        traffic.door.waiting += 1
        assert traffic.offer(SECRET, priority) is not None


def test_bodies_in_parts_have_a_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was held is free again when a body is read or given up."""
    monkeypatch.setattr(admission_, "MAX_HELD_BYTES", 100)
    door = Traffic().door
    with door.reading() as first, door.reading() as second:
        first(60)
        with pytest.raises(TurnedAway):
            second(60)
    with door.reading() as again:
        again(100)


def test_what_was_refused_is_counted_by_what_it_was() -> None:
    """By reason and class, in the metrics."""
    traffic = Traffic(key_events_per_second=1)
    traffic.age = 10.0
    traffic.offer(SECRET, VIEW, 7)
    traffic.age = 0.0
    traffic.offer(SECRET, VIEW, 9)
    traffic.offer(SECRET, VIEW)
    exposition = Exposition()
    traffic.door.collect(exposition)
    text = exposition.text()
    assert 'rushlight_ingest_turned_away_total{reason="overload",kind="views"} 7' in text
    assert 'rushlight_ingest_turned_away_total{reason="quota",kind="money"} 1' in text


@pytest.mark.parametrize("limit", ["events_per_second", "key_events_per_second"])
def test_keys_that_are_gone_are_forgotten(limit: str) -> None:
    """The door remembers only those who came lately."""
    traffic = Traffic(**{limit: LIMIT})
    for number in range(200):
        traffic.offer(HOT._replace(prefix=f"pk_{number}"), VIEW)
    traffic.now += 100
    traffic.offer(HOT, VIEW)
    traffic.now += 1
    traffic.offer(HOT, VIEW)
    assert set(traffic.door._accounts) == {HOT.prefix}


@pytest.mark.parametrize(
    ("origin", "fits"),
    [
        ("https://shop.example", True),
        ("https://www.shop.example", True),
        ("https://a.b.shop.example", True),
        ("http://shop.example", False),
        ("https://shop.example:8443", False),
        ("https://shop.example.evil.example", False),
        ("https://evilshop.example", False),
        ("https://.shop.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_origins(origin: str, fits: bool) -> None:
    """An exact origin or a host below a name; nothing that only looks alike."""
    assert allowed(origin, ("https://shop.example", "https://*.shop.example")) is fits
