"""Events that benchmarks make are valid, and no two are alike."""

from __future__ import annotations

from itertools import islice

import msgspec
import pytest

from benchmarks import bodies
from benchmarks.bodies import Format, Request


def _body(request: Request) -> bytes:
    return request.data.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("written", bodies.FORMATS)
def test_requests_are_whole_and_differ(written: Format) -> None:
    """The length in the header is the body's, every kind comes, and ids count on, also when the pool begins anew."""
    made = list(islice(bodies.requests(written, "key", seed=1, begin=10**15), bodies.POOL + 10))
    assert {request.kind for request in made} == set(bodies.KINDS)
    assert len({request.data for request in made}) == len(made)
    ids = []
    for request in made:
        head, _, body = request.data.partition(b"\r\n\r\n")
        assert f"content-length: {len(body)}".encode() in head
        event = msgspec.json.decode(body)
        ids.append(int(event["messageId" if written == "segment" else "id"]))
    assert ids == list(range(10**15, 10**15 + len(made)))


@pytest.mark.parametrize("written", bodies.FORMATS)
def test_a_seed_makes_the_same_events_again(written: Format) -> None:
    """Rounds can be repeated: only ids and times differ between two runs of a seed."""
    first, again, other = (
        [request.kind for request in islice(bodies.requests(written, "key", seed, 1), 200)] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_orders_say_their_price_exactly() -> None:
    """A price is a decimal with two digits at most, or the order would be refused."""
    for request in islice(bodies.requests("cloudevents", "key", seed=3, begin=1), 2000):
        if request.kind == "order":
            price = msgspec.json.decode(_body(request))["data"]["lines"][0]["unitPrice"]
            assert len(str(price).partition(".")[2]) <= 2


def test_bodies_for_a_public_key_hold_no_orders() -> None:
    """What is timed in the process is what a browser may send."""
    made = bodies.bodies("segment", seed=1, count=500)
    assert len(set(made)) == 500
    assert not any(b"Order Completed" in body for body in made)
