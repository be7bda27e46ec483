"""Which events keep their place when room runs out: money to the last byte, views first to go."""

from __future__ import annotations

from rushlight.events.catalogue import MONEY_EVENTS

VIEW, BEHAVIOUR, MONEY = 0, 1, 2

VIEWS = frozenset(
    {
        "page_view",
        "screen",
        "view_item",
        "view_item_list",
        "select_item",
        "view_promotion",
        "select_promotion",
        "search",
    }
)
# Of the log's cap, the tenths that each priority may fill.
TENTHS = {VIEW: 8, BEHAVIOUR: 9, MONEY: 10}

_KNOWN = dict.fromkeys(VIEWS, VIEW) | dict.fromkeys(MONEY_EVENTS, MONEY)


def priority_of(event_name: str) -> int:
    """VIEW, BEHAVIOUR or MONEY."""
    return _KNOWN.get(event_name, BEHAVIOUR)


def limit_bytes(cap_bytes: int, priority: int) -> int:
    """How full the log may be made by events of this priority."""
    return cap_bytes * TENTHS[priority] // 10
