"""`make soak`: a sale on real servers with random faults for as long as asked; it ends with the ledger and the verdict.

The shoppers' own tally of what was answered to them is the oracle: the figures must rise by exactly that. The seed,
which is printed, decides which faults come and when.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from rushlight.commands.children import make_key
from rushlight.demo.sale import Sale
from rushlight.demo.shop import Shop
from rushlight.local import Instance, default_roles, running
from rushlight.settings import Settings

WORKERS = 2
CALM_SECONDS = (3.0, 7.0)
FAULT_SECONDS = (1.0, 6.0)
STALE_LEASE_SECONDS = 13.0
SETTLE_SECONDS = 120.0
POLL_SECONDS = 0.5


class Nemesis:
    """Does one fault after another to an instance, and heals each before the next."""

    def __init__(self, instance: Instance, dice: random.Random) -> None:
        self._instance = instance
        self._dice = dice
        self.done: Counter[str] = Counter()
        self._faults: dict[str, Callable[[], Awaitable[None]]] = {
            "valkey frozen": lambda: self._frozen("valkey", self._dice.uniform(*FAULT_SECONDS)),
            "valkey killed": lambda: self._killed("valkey"),
            "valkey wiped": self._wiped,
            "mongod killed": lambda: self._killed("mongod"),
            "worker killed": lambda: self._killed(self._worker()),
            "worker frozen past its lease": lambda: self._frozen(self._worker(), STALE_LEASE_SECONDS),
            "web killed": lambda: self._killed("web"),
            "orders killed": lambda: self._killed("orders"),
        }

    async def run(self, seconds: float) -> None:
        """Faults for about so long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            await asyncio.sleep(self._dice.uniform(*CALM_SECONDS))
            name = self._dice.choice(sorted(self._faults))
            print(f"{name}", flush=True)
            await self._faults[name]()
            self.done[name] += 1

    def _worker(self) -> str:
        return f"worker-{self._dice.randint(1, WORKERS)}"

    async def _frozen(self, child: str, seconds: float) -> None:
        self._instance.freeze(child)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._instance.thaw(child)

    async def _killed(self, child: str) -> None:
        self._instance.kill(child)
        await asyncio.sleep(1.0)

    async def _wiped(self) -> None:
        async with Redis.from_url(self._instance.redis_url) as client:
            await client.flushall()


async def soak(duration: float, seed: int, data: Path) -> bool:
    """Run it; whether nothing was lost and nothing counted twice."""
    settings = Settings(data=str(data), port=0, workers=WORKERS, orders=True)
    print(f"seed {seed}, {duration:g} s", flush=True)
    async with running(settings, default_roles(settings)) as instance:
        nemesis = Nemesis(instance, random.Random(seed))
        shop = Shop(instance.urls["board"], instance.urls["orders"], make_key(instance, "public"))
        selling = asyncio.create_task(Sale(shop, seed=seed, count=None, haste=2.0).run())
        try:
            await nemesis.run(duration)
            selling.cancel()
            await asyncio.gather(selling, return_exceptions=True)
            await shop.drain()
            return await _verdict(instance, shop, nemesis)
        finally:
            selling.cancel()
            await asyncio.gather(selling, return_exceptions=True)
            await shop.close()


async def _verdict(instance: Instance, shop: Shop, nemesis: Nemesis) -> bool:
    async with aiohttp.ClientSession(instance.urls["board"]) as http:
        ledger = await _settled(http)
        usd = (await _get(http, "/api/v1/summary"))["currencies"].get("USD", {})
    found = {name: Decimal(usd.get(name) or 0) for name in ("orders", "gross", "refunds")}
    # A shopper who was sent home in mid-request does not know whether the order was taken.
    low, high = shop.tally.orders, shop.tally.orders + shop.tally.unanswered
    right = low <= found["orders"] <= high and (low < high or found["gross"] == shop.tally.gross)
    print(f"faults: {dict(nemesis.done)}")
    print(f"answered to shoppers: {low} orders, {shop.tally.gross} gross; {shop.tally.unanswered} without an answer")
    print(f"in the figures:       {found['orders']} orders, {found['gross']} gross")
    print(f"ledger: {ledger['total']} balanced: {ledger['balanced']}")
    good = right and bool(ledger["balanced"]) and not ledger["total"]["pending"]
    print("nothing lost, nothing twice" if good else "WRONG")
    return good


async def _settled(http: aiohttp.ClientSession) -> dict[str, Any]:
    ledger: dict[str, Any] = {}
    for _ in range(int(SETTLE_SECONDS / POLL_SECONDS)):
        ledger = await _get(http, "/api/v1/ledger")
        if ledger.get("balanced") and not ledger["total"]["pending"]:
            break
        await asyncio.sleep(POLL_SECONDS)
    return ledger


async def _get(http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    for _ in range(int(SETTLE_SECONDS / POLL_SECONDS)):
        try:
            async with http.get(path) as response:
                if response.ok:
                    answer: dict[str, Any] = await response.json()
                    return answer
        except aiohttp.ClientError:
            pass  # its process was killed and is on its way back
        await asyncio.sleep(POLL_SECONDS)
    raise ConnectionError(f"{path} is not answered")


def main() -> int:
    """Command line; 1 when something was lost or counted twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration", type=float, default=1800.0, help="seconds of faults")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rushlight-soak-") as data:
        return 0 if asyncio.run(soak(options.duration, options.seed, Path(data) / "data")) else 1


if __name__ == "__main__":
    sys.exit(main())
