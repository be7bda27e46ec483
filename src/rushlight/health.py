"""Whether a process can do its work, and why not: every role answers ``/health/*`` in this shape."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

SLOW_SECONDS = 2.0

# By name: whether a part of the process can do its work, and if not, why not.
Check = Callable[[], Awaitable[str | None]]
Checks = Mapping[str, Check]


class Health(msgspec.Struct, rename="camel", kw_only=True):
    """Whether this process is up, and whether it can do its work.

    Attributes:
        status: ``live``, ``ready``, ``degraded`` (it does its work, and somebody should look) or ``unready``.
        reason: the first of the reasons. reasons: everything that is not well, the gravest first.
    """

    status: str
    reason: str = ""
    reasons: list[str] = msgspec.field(default_factory=list)


async def assess(checks: Checks, concerns: Checks) -> Health:
    """Ask every part at once.

    Args:
        checks: without these the process cannot do its work. concerns: without these it can, and is degraded.
    """
    grave, slight = await asyncio.gather(_reasons(checks), _reasons(concerns))
    reasons = [*grave, *slight]
    status = "unready" if grave else "degraded" if slight else "ready"
    return Health(status=status, reason=reasons[0] if reasons else "", reasons=reasons)


async def _reasons(checks: Checks) -> list[str]:
    found = await asyncio.gather(*(_ask(check) for check in checks.values()))
    return [f"{name}: {reason}" for name, reason in zip(checks, found, strict=True) if reason is not None]


async def _ask(check: Check) -> str | None:
    try:
        async with asyncio.timeout(SLOW_SECONDS):
            return await check()
    except TimeoutError:
        return "does not answer in time"
