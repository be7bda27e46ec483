"""Breaks things in mid-sale, for real, and says so on the board: Valkey frozen for ten seconds, a worker killed."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from rushlight.demo.books import has_settled
from rushlight.local import Instance

CALM_SECONDS = 15.0
FREEZE_SECONDS = 10.0
BETWEEN_SECONDS = 12.0
AFTERMATH_SECONDS = 6.0
READY_POLL_SECONDS = 0.5
RECOVERY_SECONDS = 60.0


class Chaos:
    """One round of faults against an instance's own children.

    Args:
        key: a secret write key, for the notices. after_seconds: when the first fault comes.
    """

    def __init__(self, instance: Instance, board: str, key: str, *, after_seconds: float) -> None:
        self._instance = instance
        self._board = board
        self._headers = {"Authorization": f"Bearer {key}"}
        self._after = after_seconds

    async def run(self) -> None:
        """Freeze Valkey, thaw it, kill a worker, and wait until all that was acknowledged by then is settled."""
        async with aiohttp.ClientSession(headers=self._headers) as http:
            await asyncio.sleep(self._after)
            await self._freeze(http)
            await asyncio.sleep(BETWEEN_SECONDS)
            await self._kill(http)

    async def _freeze(self, http: aiohttp.ClientSession) -> None:
        await self._say(http, "fault", f"Valkey is frozen for {FREEZE_SECONDS:.0f} s. Orders go on without it.")
        self._instance.freeze("valkey")
        try:
            await asyncio.sleep(FREEZE_SECONDS)
        finally:
            self._instance.thaw("valkey")
        await self._say(http, "healed", "Valkey runs again; what waited in the write-ahead log is on its way.")

    async def _kill(self, http: aiohttp.ClientSession) -> None:
        workers = [name for name in self._instance.children if name.startswith("worker")]
        if not workers:
            return
        await self._say(http, "fault", f"{workers[0]} is killed with -9, in the middle of its work.")
        self._instance.kill(workers[0])
        await asyncio.sleep(AFTERMATH_SECONDS)
        await self._say_when_settled(http)

    async def _say_when_settled(self, http: aiohttp.ClientSession) -> None:
        """The sale goes on, so that the ledger is never at rest: what was acknowledged until now has to be."""
        acknowledged = (await self._ledger(http))["total"]["acknowledged"]
        for _ in range(int(RECOVERY_SECONDS / READY_POLL_SECONDS)):
            if has_settled(await self._ledger(http), acknowledged):
                await self._say(
                    http, "healed", "A new worker took over; the ledger is balanced: nothing lost, nothing twice."
                )
                return
            await asyncio.sleep(READY_POLL_SECONDS)
        await self._say(http, "fault", "The ledger is not balanced yet.")

    async def _ledger(self, http: aiohttp.ClientSession) -> dict[str, Any]:
        async with http.get(f"{self._board}/api/v1/ledger") as response:
            response.raise_for_status()
            ledger: dict[str, Any] = await response.json()
            return ledger

    async def _say(self, http: aiohttp.ClientSession, kind: str, text: str) -> None:
        async with http.post(f"{self._board}/api/v1/notices", json={"text": text, "kind": kind}) as response:
            response.raise_for_status()
