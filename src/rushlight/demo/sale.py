"""The flash sale itself: shoppers trickle in, the doors open, the rush comes and ebbs, and comes again."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable

from rushlight.demo.shop import Shop
from rushlight.demo.shopper import plan, walk

OPENING_SECONDS = 12.0
QUIET_ARRIVALS_PER_SECOND = 3.0
RUSH_ARRIVALS_PER_SECOND = 90.0
WAVE_SECONDS = 240.0
TICK_SECONDS = 0.05
MAX_SHOPPERS_AT_ONCE = 1200


def arrivals_per_second(elapsed_seconds: float) -> float:
    """How many shoppers come: a trickle, a steep rise at the opening, a long ebb, and again every four minutes."""
    if elapsed_seconds < OPENING_SECONDS:
        return QUIET_ARRIVALS_PER_SECOND
    since = (elapsed_seconds - OPENING_SECONDS) % WAVE_SECONDS
    rise = 1 - math.exp(-since / 4)
    ebb = math.exp(-since / 90)
    ripple = 1 + 0.15 * math.sin(since / 3.1)
    return QUIET_ARRIVALS_PER_SECOND + RUSH_ARRIVALS_PER_SECOND * rise * ebb * ripple


class Sale:
    """Lets shoppers in until it is cancelled or enough orders have been placed.

    Args:
        count: exactly this many orders, then the doors close; None goes on.
        haste: time goes by this much faster, for the shoppers and for the sale.
    """

    def __init__(self, shop: Shop, *, seed: int, count: int | None, haste: float = 1.0) -> None:
        self._shop = shop
        self._seed = seed
        self._count = count
        self._haste = haste
        # Two sales on one data directory must not share ids, even with the same seed.
        self._run = secrets.token_hex(2)
        self._shoppers = 0
        self._buyers = 0
        self._visits: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def run(self, progress: Callable[[int], None] = lambda _orders: None) -> None:
        """Let shoppers in as they come, and wait at the end for those inside.

        Args:
            progress: told the number of orders so far, several times a second.

        Raises:
            ConnectionError: a service did not answer, however often it was asked.
        """
        loop = asyncio.get_running_loop()
        began, owed = loop.time(), 0.0
        try:
            while not self._is_sold_out() or self._visits:
                await asyncio.sleep(TICK_SECONDS)
                if self._failure is not None:
                    raise self._failure
                owed += arrivals_per_second((loop.time() - began) * self._haste) * self._haste * TICK_SECONDS
                for _ in range(int(owed)):
                    self._let_in()
                owed %= 1
                progress(self._shop.tally.orders)
        finally:
            for visit in self._visits:
                visit.cancel()
            await asyncio.gather(*self._visits, return_exceptions=True)

    def _is_sold_out(self) -> bool:
        return self._count is not None and self._buyers >= self._count

    def _let_in(self) -> None:
        if self._is_sold_out() or len(self._visits) >= MAX_SHOPPERS_AT_ONCE:
            return
        self._shoppers += 1
        visit = plan(self._seed, self._shoppers)
        self._buyers += visit.order is not None
        name = f"{self._run}-{self._shoppers}"
        task = asyncio.create_task(walk(self._shop, visit, name, haste=self._haste))
        self._visits.add(task)
        task.add_done_callback(self._leave)

    def _leave(self, visit: asyncio.Task[None]) -> None:
        self._visits.discard(visit)
        if not visit.cancelled() and visit.exception() is not None:
            self._failure = visit.exception()
