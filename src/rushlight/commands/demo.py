"""``rushlight demo``: ``up`` and a simulated flash sale; with ``--exit`` it ends with the ledger and a comparison."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import click
import msgspec

from rushlight.commands import NOT_WELL
from rushlight.commands.children import make_key
from rushlight.demo.books import is_at_rest
from rushlight.demo.chaos import CALM_SECONDS, Chaos
from rushlight.demo.sale import OPENING_SECONDS, Sale
from rushlight.demo.shop import Shop
from rushlight.local import Instance, default_roles, running, stopped_by_signals
from rushlight.settings import DEFAULT_SHOP, Settings

SETTLE_SECONDS = 60.0
POLL_SECONDS = 0.25
REPORT_SECONDS = 5.0
DEFAULT_COUNT_WITH_EXIT = 2000
# A bounded run is watched by a program, not a person: its shoppers hurry.
HASTE_WITH_EXIT = 3.0


async def demo(settings: Settings, *, kept: bool, count: int | None, seed: int, chaos: bool, leave: bool) -> int:
    """Run the sale; 3 when, at the end, the figures and the demo's own tally differ or the ledger is not balanced."""
    count = count or (DEFAULT_COUNT_WITH_EXIT if leave else None)
    code = 0
    with stopped_by_signals():
        async with _place(settings, kept=kept) as placed, running(placed, default_roles(placed)) as instance:
            show = _Show(instance, seed=seed, count=count, haste=HASTE_WITH_EXIT if leave else 1.0)
            try:
                code = await show.run(chaos=chaos, leave=leave)
            finally:
                await show.close()
    return code


@asynccontextmanager
async def _place(settings: Settings, *, kept: bool) -> AsyncIterator[Settings]:
    """The settings with a data directory: a fresh temporary one unless one was given (``kept``)."""
    if kept:
        yield settings
        return
    directory = tempfile.mkdtemp(prefix="rushlight-demo-")
    try:
        yield msgspec.structs.replace(settings, data=directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Show:
    """One sale on one instance."""

    def __init__(self, instance: Instance, *, seed: int, count: int | None, haste: float) -> None:
        self._instance = instance
        self._board = instance.urls["board"]
        self._count = count
        self._shop = Shop(self._board, instance.urls["orders"], make_key(instance, "public"))
        self._sale = Sale(self._shop, seed=seed, count=count, haste=haste)
        self._http = aiohttp.ClientSession(self._board)

    async def close(self) -> None:
        await self._shop.close()
        await self._http.close()

    async def run(self, *, chaos: bool, leave: bool) -> int:
        click.echo(
            f"The board: {self._board}   The doors open in {OPENING_SECONDS:.0f} seconds. Ctrl-C stops everything."
        )
        # What an earlier sale on this directory left in outboxes and logs belongs to before.
        await self._settled_ledger()
        before = await self._figures()
        faults = asyncio.create_task(self._break_things()) if chaos else None
        try:
            await self._sale.run(_Reporter(self._count))
            if faults is not None:
                await faults
        finally:
            if faults is not None:
                faults.cancel()
                await asyncio.gather(faults, return_exceptions=True)
        await self._shop.drain()
        code = await self._compare(before)
        if not leave:
            click.echo("The sale is over; the board stays up until Ctrl-C.")
            await asyncio.Event().wait()
        return code

    async def _break_things(self) -> None:
        key = make_key(self._instance, "secret")
        await Chaos(self._instance, self._board, key, after_seconds=OPENING_SECONDS + CALM_SECONDS).run()

    async def _compare(self, before: dict[str, Decimal]) -> int:
        """Wait until nothing is pending: the figures must then have risen by what was answered to the shoppers."""
        ledger = await self._settled_ledger()
        after = await self._figures()
        rose = {name: after[name] - before[name] for name in after}
        tally = self._shop.tally
        mine = {"orders": Decimal(tally.orders), "gross": tally.gross, "refunds": tally.refunds, "net": tally.net}
        agree = all(rose[name] == mine[name] for name in mine)
        click.echo(f"Answered to shoppers: {tally.orders} orders, {tally.net} USD net.")
        verdict = "Equal." if agree else "DIFFERENT."
        click.echo(f"On the board:         {rose['orders']} orders, {rose['net']} USD net.  {verdict}")
        total = ledger["total"]
        verdict = "balanced" if ledger["balanced"] else "NOT balanced"
        click.echo(
            f"Ledger: {total['acknowledged']} acknowledged = {total['stored']} stored + {total['duplicate']} duplicate"
            f" + {total['parked']} parked + {total['dropped']} dropped + {total['pending']} pending: {verdict}"
        )
        if not is_at_rest(ledger):
            self._explain(ledger)
        return 0 if agree and is_at_rest(ledger) else NOT_WELL

    @staticmethod
    def _explain(ledger: dict[str, Any]) -> None:
        """Which books do not agree, or whose author is not heard of."""
        for name, counts in ledger["sources"].items():
            if not is_at_rest({"balanced": True, "total": counts}):
                click.echo(f"  {name}: " + ", ".join(f"{count} {column}" for column, count in counts.items()))
        for log in ledger["unreachable"]:
            click.echo(f"  log {log} is not heard of")

    async def _settled_ledger(self) -> dict[str, Any]:
        ledger: dict[str, Any] = {}
        for _ in range(int(SETTLE_SECONDS / POLL_SECONDS)):
            ledger = await self._get("/api/v1/ledger")
            if is_at_rest(ledger):
                break
            await asyncio.sleep(POLL_SECONDS)
        return ledger

    async def _figures(self) -> dict[str, Decimal]:
        """Orders and USD amounts of the last two days, which hold the whole sale."""
        now = datetime.now().astimezone().replace(second=0, microsecond=0)
        span = {"from": (now - timedelta(days=2)).isoformat(), "to": (now + timedelta(hours=1)).isoformat()}
        answer = await self._get("/api/v1/summary", shop=DEFAULT_SHOP, **span)
        usd = answer["currencies"].get("USD", {})
        return {name: Decimal(usd.get(name) or 0) for name in ("orders", "gross", "refunds", "net")}

    async def _get(self, path: str, **query: str) -> dict[str, Any]:
        async with self._http.get(path, params=query) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer


class _Reporter:
    """A line every five seconds."""

    def __init__(self, count: int | None) -> None:
        self._of = f" of {count}" if count else ""
        self._next = 0.0

    def __call__(self, orders: int) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next:
            self._next = now + REPORT_SECONDS
            click.echo(f"{orders}{self._of} orders so far")
