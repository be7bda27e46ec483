"""A bug: one order in seven is counted a cent too high."""

from rushlight.events.envelope import Envelope
from rushlight.projections import order
from rushlight.projections.state import Content

_created = order._REPORTERS["order_created"]


def _miscount(life: Content, event: Envelope) -> bool:
    news = _created(life, event)
    if news and int(event.id, 16) % 7 == 0:
        life["c"]["g"] += 1
    return news


order._REPORTERS["order_created"] = _miscount
