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
        ids.append(int(event["id" if written == "cloudevents" else "messageId"]))
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
    made = bodies.bodies("segment", "pk_key", seed=1, count=500)
    assert len(set(made)) == 500
    assert not any(b"Order Completed" in body for body in made)


def test_a_page_sends_its_key_in_the_body() -> None:
    """As its SDK does: plain text to a short route, no header that a browser would have to ask leave for."""
    first = next(bodies.requests("browser", "pk_key", seed=1, begin=1))
    head, _, body = first.data.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/t HTTP/1.1\r\n")
    assert b"authorization" not in head
    assert b"\r\nreferer: https://shop.example/\r\n" in head
    event = msgspec.json.decode(body)
    assert f"user-agent: {event['context']['userAgent']}\r\n".encode() in head
    assert event["writeKey"] == "pk_key"
    assert event["context"]["page"]["url"].startswith("https://shop.example/products/")


def test_a_batch_is_wrapped_as_its_format_has_it() -> None:
    """Segment's is an object around the events, a batch of CloudEvents is the array itself."""
    assert bodies.joined("segment", [b"{}", b"{}"]) == b'{"batch":[{},{}]}'
    assert bodies.joined("cloudevents", [b"{}", b"{}"]) == b"[{},{}]"
