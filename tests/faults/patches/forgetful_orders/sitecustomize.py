"""A bug: one order in five is stored without the events that it should carry."""

from itertools import count
from typing import Any

from rushlight.orders.service import OrderService

_document, _orders = OrderService._document, count(1)


def _forget(self: OrderService, *arguments: Any) -> Any:
    order = _document(self, *arguments)
    if next(_orders) % 5 == 0:
        order["outbox"], order["emitted"] = [], 0
    return order


OrderService._document = _forget  # type: ignore[method-assign,assignment]
