"""Payloads as they are shown outside: amounts as decimal strings with the currency's digits, not as minor units."""

from __future__ import annotations

from typing import Any

from rushlight.errors import Rejected
from rushlight.events.event import event_type
from rushlight.events.money import to_text

AMOUNTS = frozenset({"gross", "discounts", "tax", "shipping", "total", "amount", "discount", "unitPrice", "price"})


def readable(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The payload of a catalogue event with its amounts as decimal strings; a shop's own event as it is.

    Args:
        name: the event's name.
    """
    return _shown(payload, None) if event_type(name) is not None else payload


def _shown(value: Any, currency: str | None) -> Any:
    if isinstance(value, list):
        return [_shown(item, currency) for item in value]
    if not isinstance(value, dict):
        return value
    own = value.get("currency", currency)
    return {key: _amount(item, own) if key in AMOUNTS else _shown(item, own) for key, item in value.items()}


def _amount(value: Any, currency: str | None) -> Any:
    if not isinstance(value, int) or isinstance(value, bool) or currency is None:
        return value
    try:
        return to_text(value, currency)
    except Rejected:  # stored before this code knew the currency, or as none
        return value
