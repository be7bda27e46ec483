"""Pay, cancel and refund: what is allowed when, once under one key, and never more than was paid."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from rushlight.events.catalogue import OrderPaid
from rushlight.store.outbox import Outbox
from tests.orders.client import Shop

LAMPS = [
    {"productId": "lamp", "quantity": 3, "unitPrice": "10.00"},
    {"productId": "rug", "quantity": 1, "unitPrice": "70.00"},
]


def names(events: list[dict[str, Any]]) -> list[str]:
    """The events' names."""
    return [event["eventName"] for event in events]


async def test_an_order_is_paid(shop: Shop) -> None:
    """A payment of the total makes the order paid and tells order_paid as the order's second version."""
    order_id = (await shop.place()).json["orderId"]
    answer = await shop.post(f"/orders/{order_id}/pay", {"paymentId": "pay-1", "amount": "20.00"})
    assert (answer.status, answer.json["status"], answer.json["paid"]) == (200, "paid", "20.00")
    at = answer.json["updatedAt"]
    assert answer.json["payments"] == [{"paymentId": "pay-1", "failed": False, "amount": "20.00", "at": at}]
    event = shop.events(order_id)[1]
    assert (event["eventName"], event["version"], event["timestamp"]) == ("order_paid", 2, at)
    assert event["payload"] == {"orderId": order_id, "paymentId": "pay-1", "currency": "USD", "amount": 2000}
    stored = shop.stored(order_id)
    assert (stored["status"], stored["paid"], stored["refunded"], stored["emitted"]) == ("paid", 2000, 0, 2)
    assert (await shop.get(f"/orders/{order_id}")).body == answer.body


async def test_only_the_whole_total_is_a_payment(shop: Shop) -> None:
    """A payment of another amount is refused and names the total."""
    order_id = (await shop.place()).json["orderId"]
    answer = await shop.post(f"/orders/{order_id}/pay", {"amount": "19.99"})
    assert (answer.status, answer.error["field"]) == (400, "amount")
    assert "20.00" in answer.error["message"]


async def test_a_failed_payment_is_told_and_changes_nothing(shop: Shop) -> None:
    """The report of a failed payment is kept and told; the order can still be paid or cancelled."""
    order_id = (await shop.place()).json["orderId"]
    report = {"paymentId": "pay-1", "failed": True, "reason": "card declined"}
    answer = await shop.post(f"/orders/{order_id}/pay", report)
    assert (answer.status, answer.json["status"], answer.json["paid"]) == (200, "created", "0.00")
    assert answer.json["payments"][0]["reason"] == "card declined"
    assert shop.events(order_id)[1]["payload"] == {
        "orderId": order_id,
        "paymentId": "pay-1",
        "reason": "card declined",
    }
    assert (await shop.post(f"/orders/{order_id}/pay", {"paymentId": "pay-1"})).json["status"] == "paid"
    assert names(shop.events(order_id)) == ["order_created", "order_payment_failed", "order_paid"]


async def test_a_payment_counts_once_by_its_id(shop: Shop) -> None:
    """The same paymentId again, with or without a key, is answered as before; another payment is a conflict."""
    order_id = (await shop.place()).json["orderId"]
    first = await shop.post(f"/orders/{order_id}/pay", {"paymentId": "pay-1"})
    again = await shop.post(f"/orders/{order_id}/pay", {"paymentId": "pay-1"}, key="k")
    assert (again.status, again.body, again.replayed) == (200, first.body, True)
    other = await shop.post(f"/orders/{order_id}/pay", {"paymentId": "pay-2"})
    assert (other.status, other.error["code"]) == (409, "state")
    assert names(shop.events(order_id)) == ["order_created", "order_paid"]


async def test_an_unpaid_order_is_cancelled(shop: Shop) -> None:
    """Before its payment an order can be cancelled, once; after that nothing can be done with it."""
    order_id = (await shop.place()).json["orderId"]
    answer = await shop.post(f"/orders/{order_id}/cancel", {"reason": "changed my mind"})
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    assert answer.json["cancelled"]["reason"] == "changed my mind"
    assert shop.events(order_id)[1]["payload"] == {"orderId": order_id, "reason": "changed my mind"}
    for path in ("pay", "cancel", "refund"):
        refused = await shop.post(f"/orders/{order_id}/{path}")
        assert (refused.status, refused.error["code"]) == (409, "state")


async def test_a_paid_order_is_refunded_instead(shop: Shop) -> None:
    """Cancelling a paid order is a conflict that says what to do."""
    order_id = await shop.paid()
    answer = await shop.post(f"/orders/{order_id}/cancel")
    assert answer.status == 409
    assert "refund it instead" in answer.error["message"]


async def test_an_unpaid_order_is_not_refunded(shop: Shop) -> None:
    """There is nothing to give back before a payment."""
    order_id = (await shop.place()).json["orderId"]
    answer = await shop.post(f"/orders/{order_id}/refund")
    assert answer.status == 409
    assert "cancel it instead" in answer.error["message"]


async def test_pieces_are_refunded(shop: Shop) -> None:
    """Pieces bring their share of goods and tax, as order and event both say."""
    order_id = await shop.paid(lines=LAMPS, tax="10.00", shipping="5.00", customerId="c1")
    answer = await shop.post(f"/orders/{order_id}/refund", {"lines": [{"productId": "lamp", "quantity": 2}]})
    assert (answer.status, answer.json["status"], answer.json["refunded"]) == (200, "partially_refunded", "22.00")
    (refund,) = answer.json["refunds"]
    assert (refund["amount"], refund["goods"], refund["tax"], refund["shipping"]) == ("22.00", "20.00", "2.00", "0.00")
    assert refund["lines"] == [{"productId": "lamp", "quantity": 2, "amount": "20.00"}]
    assert shop.events(order_id)[2]["payload"] == {
        "orderId": order_id,
        "refundId": refund["refundId"],
        "currency": "USD",
        "amount": 2000,
        "tax": 200,
        "lines": [{"productId": "lamp", "quantity": 2, "amount": 2000}],
        "customerId": "c1",
    }
    refused = await shop.post(f"/orders/{order_id}/refund", {"lines": [{"productId": "lamp", "quantity": 2}]})
    assert refused.status == 409
    assert "only 1 of lamp" in refused.error["message"]


async def test_an_amount_is_refunded_and_then_the_rest(shop: Shop) -> None:
    """An amount falls on goods, tax and shipping in proportion; the rest is exactly what is left, and then no more."""
    order_id = await shop.paid(lines=LAMPS, tax="10.00", shipping="5.00")
    part = await shop.post(f"/orders/{order_id}/refund", {"amount": "11.50"})
    assert part.json["refunds"][0] | {"refundId": "", "at": ""} == {
        "refundId": "",
        "amount": "11.50",
        "goods": "10.00",
        "tax": "1.00",
        "shipping": "0.50",
        "lines": [
            {"productId": "lamp", "quantity": 0, "amount": "3.00"},
            {"productId": "rug", "quantity": 0, "amount": "7.00"},
        ],
        "at": "",
    }
    rest = await shop.post(f"/orders/{order_id}/refund")
    assert (rest.json["status"], rest.json["refunded"], rest.json["refunds"][1]["amount"]) == (
        "refunded",
        "115.00",
        "103.50",
    )
    assert (await shop.post(f"/orders/{order_id}/refund")).status == 409
    stored = shop.stored(order_id)
    assert (stored["status"], stored["paid"], stored["refunded"]) == ("refunded", 11500, 11500)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "1.001"}, "amount"),
        ({"amount": "1", "lines": [{"productId": "p1", "quantity": 1}]}, "amount"),
        ({"lines": []}, "lines"),
        ({"lines": [{"productId": "p1", "quantity": 0}]}, "lines[0].quantity"),
        ({"lines": [{"productId": "p1", "quantity": 1}, {"productId": "x", "quantity": 1}]}, "lines[1].productId"),
        ({"refundId": "r"}, "refundId"),
    ],
)
async def test_a_wrong_refund_names_its_field(shop: Shop, body: dict[str, Any], field: str) -> None:
    """What cannot be understood is refused with the field's path, and nothing is noted."""
    order_id = await shop.paid()
    answer = await shop.post(f"/orders/{order_id}/refund", body)
    assert (answer.status, answer.error["field"]) == (400, field)
    assert shop.stored(order_id)["emitted"] == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [({"failed": True, "amount": "20.00"}, "amount"), ({"reason": "late"}, "reason"), ({"amount": "x"}, "amount")],
)
async def test_a_wrong_payment_names_its_field(shop: Shop, body: dict[str, Any], field: str) -> None:
    """A failed payment has no amount, and only it has a reason."""
    order_id = (await shop.place()).json["orderId"]
    answer = await shop.post(f"/orders/{order_id}/pay", body)
    assert (answer.status, answer.error["field"]) == (400, field)


@pytest.mark.parametrize("path", ["pay", "cancel", "refund"])
async def test_an_unknown_order_is_not_found(shop: Shop, path: str) -> None:
    """Nothing can be done with an order that is not there."""
    answer = await shop.post(f"/orders/nobody/{path}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_an_order_of_the_shops_own_code_is_left_alone(shop: Shop) -> None:
    """A document that another program keeps beside its outbox is no order of this service."""
    await shop.place(orderId="o1")
    shop.insert(
        Outbox.attach({"_id": "theirs"}, OrderPaid(order_id="theirs", payment_id="p", currency="USD", amount=1))
    )
    assert (await shop.get("/orders/theirs")).status == 404
    assert (await shop.post("/orders/theirs/pay")).status == 404
    assert (await shop.place(orderId="theirs", key="k")).error["code"] == "exists"


async def test_a_repeated_change_is_answered_the_same(shop: Shop) -> None:
    """Each operation under its key is done once and answered alike for ever; one key may serve each kind."""
    order_id = (await shop.place(key="k")).json["orderId"]
    paid = await shop.post(f"/orders/{order_id}/pay", key="k")
    part = await shop.post(f"/orders/{order_id}/refund", {"amount": "5.00"}, key="k")
    await shop.post(f"/orders/{order_id}/refund")
    again = [
        await shop.post(f"/orders/{order_id}/pay", key="k"),
        await shop.post(f"/orders/{order_id}/refund", {"amount": "5.00"}, key="k"),
    ]
    assert [(answer.status, answer.body, answer.replayed) for answer in again] == [
        (200, paid.body, True),
        (200, part.body, True),
    ]
    assert names(shop.events(order_id)) == ["order_created", "order_paid", "order_refunded", "order_refunded"]
    other = await shop.post(f"/orders/{order_id}/refund", {"amount": "6.00"}, key="k")
    assert (other.status, other.error["code"]) == (422, "key_reuse")


async def test_the_refund_id_derives_from_the_key(shop: Shop) -> None:
    """Whoever repeats a refund under its key names the same refund; another key or order names another."""
    orders = [await shop.paid(), await shop.paid()]
    answers = [
        await shop.post(f"/orders/{order_id}/refund", {"amount": "1.00"}, key=key)
        for order_id in orders
        for key in ("k1", "k2")
    ]
    ids = [answer.json["refunds"][-1]["refundId"] for answer in answers]
    assert len(set(ids)) == 4
    assert (await shop.post(f"/orders/{orders[0]}/refund", {"amount": "1.00"}, key="k1")).json["refunds"][0][
        "refundId"
    ] == ids[0]


async def test_identical_changes_at_once_are_done_once(shop: Shop) -> None:
    """Of twenty identical refunds under way together one is done and all are answered alike."""
    order_id = await shop.paid()
    path = f"/orders/{order_id}/refund"
    answers = await asyncio.gather(*(shop.post(path, {"amount": "1.00"}, key="k") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert shop.stored(order_id)["refunded"] == 100


async def test_refunds_at_once_never_exceed_what_was_paid(shop: Shop) -> None:
    """Of twelve refunds of 3.00 at once on an order of 20.00 six are done, each told under its own version."""
    order_id = await shop.paid()
    path = f"/orders/{order_id}/refund"
    answers = await asyncio.gather(*(shop.post(path, {"amount": "3.00"}) for _ in range(12)))
    statuses = Counter(answer.status for answer in answers)
    while statuses[503]:  # so many racers that some ran out of time: they ask again
        more = await asyncio.gather(*(shop.post(path, {"amount": "3.00"}) for _ in range(statuses.pop(503))))
        statuses.update(answer.status for answer in more)
    assert statuses == {200: 6, 409: 6}
    stored = shop.stored(order_id)
    assert (stored["refunded"], stored["emitted"], stored["versions"]) == (1800, 8, 8)
    assert [event["version"] for event in shop.events(order_id)] == list(range(1, 9))


async def test_pay_and_cancel_at_once_agree(shop: Shop) -> None:
    """Of a payment and a cancellation under way together exactly one wins."""
    for _ in range(5):
        order_id = (await shop.place()).json["orderId"]
        answers = await asyncio.gather(*(shop.post(f"/orders/{order_id}/{path}") for path in ("pay", "cancel")))
        assert sorted(answer.status for answer in answers) == [200, 409]
        assert len(shop.events(order_id)) == 2
