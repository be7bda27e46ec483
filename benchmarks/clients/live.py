"""Listens to `analyticsUpdate` and prints when each frame came and which orders it shows; ends with its stdin."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import msgspec
import socketio


def show(update: dict[str, Any]) -> dict[str, object]:
    """What one frame tells of orders: their ids, and how many there are today (None when it does not say)."""
    at = time.monotonic_ns()
    ids = [update["orderId"]] if "orderId" in update else [order["orderId"] for order in update.get("orders", ())]
    today = update.get("today")
    count = sum(figures["orders"] for figures in today["currencies"].values()) if today else None
    return {"at": at, "ids": ids, "count": count}


def emit(line: dict[str, object]) -> None:
    """One line of JSON, at once."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


async def listen(url: str, namespace: str) -> None:
    """Print frames until stdin closes."""
    client = socketio.AsyncClient(reconnection=False)

    async def connected() -> None:
        emit({"connected": True})

    async def update(data: dict[str, Any]) -> None:
        emit(show(data))

    client.on("connect", connected, namespace=namespace)
    client.on("analyticsUpdate", update, namespace=namespace)
    await client.connect(url, namespaces=[namespace])
    await asyncio.to_thread(sys.stdin.buffer.read)
    await client.disconnect()


if __name__ == "__main__":
    asyncio.run(listen(sys.argv[1], sys.argv[2]))
