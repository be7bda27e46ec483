"""Routes for whoever sends: what was turned away, and why."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, get
from litestar.params import QueryParameter

from rushlight.query.answers import RejectedAnswer
from rushlight.query.routes import Reader, ShopId, shop_id
from rushlight.query.view import View
from rushlight.settings import DEFAULT_SHOP
from rushlight.store.rejected import KEPT, by_reason, latest


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


SENDERS = Router(path="/api/v1", route_handlers=[get_rejected])
