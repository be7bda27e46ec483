"""Routes for whoever sends: what was turned away, and why, and whether what is sent is right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, NamedTuple
from weakref import WeakKeyDictionary

from litestar import Router, get
from litestar.params import QueryParameter

from rushlight.query.answers import RejectedAnswer, TrackingAnswer
from rushlight.query.figures import Figures
from rushlight.query.routes import Reader, ShopId, shop_id
from rushlight.query.tracking import tracking
from rushlight.query.view import View
from rushlight.query.zones import zone
from rushlight.settings import DEFAULT_SHOP
from rushlight.store.rejected import KEPT, by_reason, latest

FRESH_SECONDS, FORGOTTEN_SECONDS = 0.8, 60.0


@get("/rejected", summary="What was turned away, and why")
async def get_rejected(
    figures: Reader,
    shop: ShopId = DEFAULT_SHOP,
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=KEPT)] = KEPT,
) -> RejectedAnswer:
    """The last events that the ingest refused, a second behind at most, with field and reason as their senders were
    told them, and how many there were. Of many at once only some are kept. The counts are for finding mistakes; those
    of `ledger` are the books.
    """

    async def query(view: View) -> RejectedAnswer:
        counts, unknown, samples = await latest(view.database, shop, limit, view.session)
        return RejectedAnswer(complete_to=view.complete_to, counts=counts, unknown=by_reason(unknown), samples=samples)

    return await figures.read(shop_id(shop), query)


@get("/tracking", summary="Is my tracking right?")
async def get_tracking(figures: Reader, shop: ShopId = DEFAULT_SHOP) -> TrackingAnswer:
    """The last events as they came, whether they were taken, were repeats or were turned away, and a list of checks:
    names, products, prices, ids, orders beside purchases, keys, clocks, bots. May be asked for every second.
    """
    return await _asked(figures, shop_id(shop))


async def _asked(figures: Figures, shop: str) -> TrackingAnswer:
    """One answer a second, however many ask."""
    running = _answers.setdefault(figures, {})
    now = asyncio.get_running_loop().time()
    if (last := running.get(shop)) is None or now - last.at >= FRESH_SECONDS:
        for old in [name for name, each in running.items() if now - each.at >= FORGOTTEN_SECONDS]:
            del running[old]
        answer = asyncio.ensure_future(figures.read(shop, _look(figures, shop)))
        answer.add_done_callback(lambda done: None if done.cancelled() else done.exception())  # whoever waits has it
        last = running[shop] = _Asked(now, answer)
    return await asyncio.shield(last.answer)


def _look(figures: Figures, shop: str) -> Callable[[View], Awaitable[TrackingAnswer]]:
    async def query(view: View) -> TrackingAnswer:
        found = await tracking(view)
        return TrackingAnswer(
            complete_to=view.complete_to,
            present=view.present,
            time_zone=zone(figures.settings.shop(shop).time_zone).key,
            events=found.events,
            names=found.names,
            counted_since=found.counted_since,
            checks=found.checks,
        )

    return query


class _Asked(NamedTuple):
    at: float
    answer: asyncio.Future[TrackingAnswer]


_answers: WeakKeyDictionary[Figures, dict[str, _Asked]] = WeakKeyDictionary()

SENDERS = Router(path="/api/v1", route_handlers=[get_rejected, get_tracking])
