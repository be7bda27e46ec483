"""Background work that must not end: an error that nobody foresaw is logged, and the work goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


async def steadily(work: Callable[[], Awaitable[None]]) -> None:
    """Run endless work again whenever it fails, until it returns or is cancelled.

    A task that died of an error would be missed by nobody until it is awaited, at the end of the process.

    Args:
        work: may be begun anew at any point; errors that it expects it handles itself.
    """
    while True:
        try:
            await work()
        except Exception:
            log.exception("%s failed; it is begun anew", getattr(work, "__qualname__", work))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
