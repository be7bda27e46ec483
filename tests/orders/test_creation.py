"""An order and its events are one write, and a repeated request is answered as the first one was."""

from __future__ import annotations

import asyncio
from collections import Counter

import redis

from rushlight.bus.stream import stream_key
from rushlight.events.ids import money_id, partition_of
from tests.orders.client import Shop

FULL = {
    "orderId": "A-1001",
    "customerId": "c1",
    "visitorId": "v1",
    "currency": "USD",
    "country": "DE",
    "lines": [
        {"productId": "p1", "name": "Lamp", "category": "Home", "quantity": 2, "unitPrice": "9.99"},
        {"productId": "p2", "quantity": 1, "amount": 5, "discount": 0.5},
    ],
    "discount": "1.01",
    "tax": "1.10",
    "shipping": "4",
}


async def test_an_order_is_answered_with_its_sums(shop: Shop) -> None:
    """The answer carries every amount as a decimal string, the order's discount spread over its lines."""
    answer = await shop.post("/orders", FULL)
    assert answer.status == 201
    at = answer.json["createdAt"]
    assert answer.json == {
        "orderId": "A-1001",
        "status": "created",
        "shop": "default",
        "currency": "USD",
        "customerId": "c1",
        "visitorId": "v1",
        "country": "DE",
        "createdAt": at,
        "updatedAt": at,
        "lines": [
            {
                "productId": "p1",
                "name": "Lamp",
                "category": "Home",
                "quantity": 2,
                "unitPrice": "9.99",
                "amount": "19.98",
                "discount": "0.82",
            },
            {
                "productId": "p2",
                "name": None,
                "category": None,
                "quantity": 1,
                "unitPrice": None,
                "amount": "5.00",
                "discount": "0.69",
            },
        ],
        "gross": "24.98",
        "discounts": "1.51",
        "tax": "1.10",
        "shipping": "4.00",
        "total": "28.57",
        "paid": "0.00",
        "refunded": "0.00",
        "payments": [],
        "refunds": [],
    }
    assert (await shop.get("/orders/A-1001")).body == answer.body


async def test_an_order_carries_its_events(shop: Shop) -> None:
    """The order and, since the visitor is known, its purchase: each in its own partition, only the first versioned."""
    answer = await shop.post("/orders", FULL)
    created, purchase = shop.events("A-1001")
    assert created["id"] == money_id("default", "orders", "A-1001", "order_created")
    assert (created["eventName"], created["version"], created["origin"]) == ("order_created", 1, "o:A-1001:1")
    assert created["timestamp"] == answer.json["createdAt"]
    assert created["payload"] == {
        "orderId": "A-1001",
        "currency": "USD",
        "customerId": "c1",
        "visitorId": "v1",
        "country": "DE",
        "gross": 2498,
        "discounts": 151,
        "tax": 110,
        "shipping": 400,
        "total": 2857,
        "lines": [
            {
                "productId": "p1",
                "name": "Lamp",
                "category": "Home",
                "quantity": 2,
                "unitPrice": 999,
                "amount": 1998,
                "discount": 82,
            },
            {"productId": "p2", "quantity": 1, "amount": 500, "discount": 69},
        ],
    }
    assert (purchase["eventName"], purchase["aggregateId"], "version" in purchase) == ("purchase", "v1", False)
    assert purchase["payload"]["transactionId"] == "A-1001"
    assert [item["productId"] for item in purchase["payload"]["items"]] == ["p1", "p2"]
    stored = shop.stored("A-1001")
    places = [entry["p"] for entry in stored["outbox"]]
    assert places == [partition_of("default", "A-1001", 8), partition_of("default", "v1", 8)]
    assert (stored["emitted"], stored["versions"], stored["total"]) == (2, 1, 2857)


async def test_an_order_of_an_unknown_visitor_has_one_event(shop: Shop) -> None:
    """Without a visitor nothing is told about behaviour."""
    order_id = (await shop.place()).json["orderId"]
    assert [event["eventName"] for event in shop.events(order_id)] == ["order_created"]


async def test_a_visitor_may_have_an_orders_id(shop: Shop) -> None:
    """Where both ids are the same word, the purchase still takes no version of the order."""
    await shop.place(orderId="same", visitorId="same")
    assert [event.get("version") for event in shop.events("same")] == [1, None]
    assert (await shop.post("/orders/same/pay")).status == 200
    assert [event.get("version") for event in shop.events("same")] == [1, None, 2]


async def test_the_stream_has_what_the_outbox_has(shop: Shop) -> None:
    """After the answer the same bytes are offered to the partition's stream."""
    order_id = await shop.paid(visitorId="v1")
    expected = {(entry["p"], entry["e"].encode()) for entry in shop.stored(order_id)["outbox"]}
    with redis.Redis.from_url(shop.settings.redis_url or "") as client:
        found: set[tuple[int, bytes]] = set()
        while found != expected:  # ends by the test's own timeout when it never comes true
            found = {(p, fields[b"e"]) for p in range(8) for _, fields in client.xrange(stream_key(p))}
            await asyncio.sleep(0.01)


async def test_a_repeat_with_the_key_is_answered_the_same(shop: Shop) -> None:
    """Same key, same body: the same status and bytes, even after the order has gone on; one order is stored."""
    first = await shop.place(key="k1")
    again = await shop.place(key="k1")
    assert (again.status, again.body, again.replayed, first.replayed) == (201, first.body, True, False)
    await shop.post(f"/orders/{first.json['orderId']}/pay")
    assert (await shop.place(key="k1")).body == first.body
    assert len(shop.documents()) == 1


async def test_another_body_under_the_key_is_refused(shop: Shop) -> None:
    """The same key with another body changes nothing and gives 422."""
    await shop.place(key="k1")
    other = await shop.place(key="k1", country="DE")
    assert (other.status, other.error["code"]) == (422, "key_reuse")
    assert len(shop.documents()) == 1


async def test_a_key_creates_one_order_whatever_id_is_named(shop: Shop) -> None:
    """The same key with another orderId, or with one where there was none, is another body: 422, and one order."""
    for key, first, second in (("k1", "o1", "o2"), ("k2", None, "o3"), ("k3", "o4", None)):
        named = {"orderId": first} if first else {}
        other = {"orderId": second} if second else {}
        assert (await shop.place(key=key, **named)).status == 201
        refused = await shop.place(key=key, **other)
        assert (refused.status, refused.error["code"]) == (422, "key_reuse")
    assert len(shop.documents()) == 3


async def test_keys_of_two_shops_do_not_meet(shop: Shop) -> None:
    """Two shops that draw the same key have an order each."""
    first, second = await shop.place(key="k1"), await shop.place(key="k1", shop="other")
    assert (first.status, second.status) == (201, 201)
    assert first.json["orderId"] != second.json["orderId"]


async def test_an_order_id_is_taken_once(shop: Shop) -> None:
    """The same orderId: with the same key a repeat, with another key or none a conflict."""
    first = await shop.place(key="k1", orderId="o1")
    assert first.json["orderId"] == "o1"
    assert (await shop.place(key="k1", orderId="o1")).body == first.body
    for key in ("k2", None):
        refused = await shop.place(key=key, orderId="o1")
        assert (refused.status, refused.error["code"]) == (409, "exists")
    assert (await shop.place(key="k1", orderId="o1", tax="1")).status == 422
    assert len(shop.documents()) == 1


async def test_without_a_key_every_request_is_an_order(shop: Shop) -> None:
    """Nothing says that two equal requests without a key are one."""
    first, second = await shop.place(), await shop.place()
    assert first.json["orderId"] != second.json["orderId"]


async def test_identical_requests_at_once_make_one_order(shop: Shop) -> None:
    """Of twenty identical requests under way together all are answered alike, and one order is stored."""
    answers = await asyncio.gather(*(shop.place(key="k1") for _ in range(20)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert len(shop.documents()) == 1


async def test_one_order_id_wanted_at_once_is_given_once(shop: Shop) -> None:
    """Of twenty requests for one orderId without a key exactly one has it."""
    answers = await asyncio.gather(*(shop.place(orderId="o1") for _ in range(20)))
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 19}


async def test_duplicates_do_not_disturb_their_neighbours(shop: Shop) -> None:
    """A hundred creations at once, twenty of them taken ids and twenty repeats: each has its own answer."""
    await asyncio.gather(*(shop.place(orderId=f"taken-{n}") for n in range(20)))
    firsts = await asyncio.gather(*(shop.place(key=f"k{n}") for n in range(20)))
    requests = [shop.place(orderId=f"new-{n}") for n in range(60)]
    requests += [shop.place(orderId=f"taken-{n}") for n in range(20)]
    requests += [shop.place(key=f"k{n}") for n in range(20)]
    answers = await asyncio.gather(*requests)
    assert [answer.status for answer in answers] == [201] * 60 + [409] * 20 + [201] * 20
    assert [answer.body for answer in answers[80:]] == [answer.body for answer in firsts]
    assert all(answer.replayed for answer in answers[80:])
    assert len(shop.documents()) == 100


async def test_a_large_order_is_taken_whole(shop: Shop) -> None:
    """Five hundred lines are one order; the purchase names two hundred of its items, which is all that GA4 takes."""
    lines = [{"productId": f"p{n}", "quantity": 1, "amount": "1.01", "name": "n" * 100} for n in range(500)]
    answers = await asyncio.gather(*(shop.place(visitorId="v", lines=lines) for _ in range(30)))
    assert {(answer.status, answer.json["total"]) for answer in answers} == {(201, "505.00")}
    events = shop.events(answers[0].json["orderId"])
    assert (len(events[0]["payload"]["lines"]), len(events[1]["payload"]["items"])) == (500, 200)


async def test_an_order_that_costs_nothing_is_an_order(shop: Shop) -> None:
    """A total of 0 is placed and paid like any other."""
    answer = await shop.place(discount="20.00")
    assert answer.json["total"] == "0.00"
    paid = await shop.post(f"/orders/{answer.json['orderId']}/pay")
    assert (paid.status, paid.json["status"]) == (200, "paid")
    assert (await shop.post(f"/orders/{answer.json['orderId']}/refund")).status == 409
