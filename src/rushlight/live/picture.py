"""What the board shows of one shop, read by the functions that also answer the query API, in one snapshot."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from rushlight.live.ledger import LedgerTile
from rushlight.live.mirror import Mirror, MirrorView
from rushlight.live.shapes import Aside, Funnel, LivePoint, Rate, SoldToday, Today, TopProduct
from rushlight.query.figures import Figures
from rushlight.query.freshness import CompleteTo
from rushlight.query.funnel import funnel
from rushlight.query.notices import Notice, latest
from rushlight.query.orders import latest_orders
from rushlight.query.paced import PacedQuery
from rushlight.query.parked import parked
from rushlight.query.products import products
from rushlight.query.sales import steps, summary, warnings
from rushlight.query.sessions import LeftOut, left_out
from rushlight.query.span import Span
from rushlight.query.view import View
from rushlight.query.visitors import Presence, presence
from rushlight.query.zones import day_of, zone

SERIES_MINUTES = 60
LATEST_ORDERS = 12
TOP_PRODUCTS = 10
LATEST_NOTICES = 5
SHOWN_PARKED = 5
# Counting more of them would take longer than a board may wait.
COUNTED_PARKED = 20_000
SLOW_INTERVAL_SECONDS = 0.9
PRODUCTS_SHARE = 0.05
PRESENCE_SHARE = 0.03
PARKED_SHARE = 0.03
LEFT_OUT_SHARE = 0.03
NOTHING = LeftOut(bot_events=0, test_events=0, test_orders=0, unmeasured_events=0)
RATE_SECONDS = 5.0


class Picture(msgspec.Struct, kw_only=True):
    """Everything at one moment.

    Attributes:
        figures: by the names of `analyticsUpdate`, all but the series.
        series_from: the first minute (since 1970) of the series. points: by currency and minute.
    """

    as_of: datetime
    complete_to: CompleteTo
    figures: dict[str, Any]
    series_from: int
    points: Mapping[str, Mapping[int, LivePoint]]
    local: ZoneInfo


class Painter:
    """Makes pictures of one shop, for as long as somebody watches it."""

    def __init__(self, figures: Figures, shop: str) -> None:
        self._figures = figures
        self._shop = shop
        self._local = zone(figures.settings.shop(shop).time_zone)
        self._mirror = Mirror()
        self._stored: deque[tuple[float, int]] = deque()
        self._products = PacedQuery[list[TopProduct]](
            self._top_products, [], interval_seconds=SLOW_INTERVAL_SECONDS, share=PRODUCTS_SHARE
        )
        self._presence = PacedQuery(
            presence, Presence(0, 0), interval_seconds=SLOW_INTERVAL_SECONDS, share=PRESENCE_SHARE
        )
        self._left_out = PacedQuery(
            self._left_out_today, NOTHING, interval_seconds=SLOW_INTERVAL_SECONDS, share=LEFT_OUT_SHARE
        )
        self._notices = PacedQuery[list[Notice]](
            self._latest_notices, [], interval_seconds=SLOW_INTERVAL_SECONDS, share=1.0
        )
        self._parked = PacedQuery[Aside | None](
            self._set_aside, None, interval_seconds=SLOW_INTERVAL_SECONDS, share=PARKED_SHARE
        )
        self._ledger = LedgerTile(figures)

    async def close(self) -> None:
        """Give up what is being read."""
        await self._ledger.close()

    async def paint(self) -> Picture:
        """The board as of now.

        Raises:
            Unavailable: MongoDB does not answer in time.
        """
        await self._ledger.refresh()
        picture = await self._figures.read(self._shop, self._paint, lane="live", view=self._view)
        self._mirror.sweep()
        return picture

    @property
    def stored(self) -> int:
        """How many events the journal held when the last picture was made, all shops together."""
        return sum(self._mirror.heads)

    def _view(self, database: Any, scope: Any, moment: Any, known: Any) -> View:
        return MirrorView(self._mirror, database, scope, moment, known)

    async def _paint(self, view: View) -> Picture:
        begin, end = day_of(view.present, self._local)
        today = Span(begin, end)
        minute = view.present.replace(second=0, microsecond=0) + timedelta(minutes=1)
        hour = Span(minute - timedelta(minutes=SERIES_MINUTES), minute)
        by_minute = await steps(view, hour, "minute", self._local)
        here = await self._presence.read(view)
        figures = {
            "timeZone": self._local.key,
            "today": Today(start=begin.astimezone(self._local), currencies=await summary(view, today)),
            "funnel": Funnel(steps=await funnel(view, today)),
            "products": await self._products.read(view),
            "visitors": here.visitors,
            "carts": here.carts,
            "leftOut": await self._left_out.read(view),
            "orders": await latest_orders(view, LATEST_ORDERS),
            "ledger": self._ledger.value,
            "rate": self._rate(view.present),
            "notices": await self._notices.read(view),
            "warnings": await warnings(view, today),
            "parked": await self._parked.read(view),
        }
        points = {
            currency: {at: LivePoint.of(at, total, self._local) for at, total in totals.items()}
            for currency, totals in by_minute.items()
        }
        return Picture(
            as_of=view.present,
            complete_to=view.complete_to,
            figures=figures,
            series_from=hour.minutes[0],
            points=points,
            local=self._local,
        )

    async def _top_products(self, view: View) -> list[TopProduct]:
        begin, end = day_of(view.present, self._local)
        page = await products(view, Span(begin, end), limit=TOP_PRODUCTS)
        return [
            TopProduct(
                product_id=each.product_id,
                name=each.name,
                category=each.category,
                views=each.views,
                adds=each.adds,
                currencies={name: SoldToday(units=sold.units, net=sold.net) for name, sold in each.currencies.items()},
            )
            for each in page.products
        ]

    async def _left_out_today(self, view: View) -> LeftOut:
        return await left_out(view, Span(*day_of(view.present, self._local)))

    async def _latest_notices(self, view: View) -> list[Notice]:
        return await latest(view.database, self._shop, LATEST_NOTICES, view.session)

    async def _set_aside(self, view: View) -> Aside | None:
        some: dict[str, Any] = {"limit": SHOWN_PARKED, "at_most": COUNTED_PARKED}
        found = await parked(view.database, self._shop, **some, session=view.session)
        more = found.events == COUNTED_PARKED
        return Aside.of(found, more=more) if found.total or found.unreadable_total else None

    def _rate(self, present: datetime) -> Rate:
        """Events stored a second, over the last five."""
        now = present.timestamp()
        self._stored.append((now, self.stored))
        while len(self._stored) > 2 and self._stored[1][0] <= now - RATE_SECONDS:
            self._stored.popleft()
        (then, before), (_, after) = self._stored[0], self._stored[-1]
        return Rate(events_per_second=round((after - before) / (now - then), 1) if now > then else 0.0)
