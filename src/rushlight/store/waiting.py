"""Whoever is cancelled while PyMongo waits for a server leaves PyMongo's lock to the others, on every Python.

PyMongo waits for a condition by ``asyncio.wait_for``, which before Python 3.12 does it in a task of its own. When the
caller is cancelled just as the time has run out, that task takes the lock again, for nobody, and every later call of
the client waits for ever: a process that was without MongoDB for a moment, and gave something up meanwhile, would hang
until it is killed. Here the caller itself waits, as in newer Pythons.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

import pymongo.lock

T = TypeVar("T")


async def wait_here(happening: Awaitable[T], timeout: float | None) -> T:
    """Wait for it, without a task in between.

    Args:
        timeout: seconds; None: as long as it takes.

    Raises:
        TimeoutError: it did not come in time.
    """
    async with asyncio.timeout(timeout):
        return await happening


def mend() -> None:
    """Let all of this process's clients wait so."""
    if sys.version_info < (3, 12):
        pymongo.lock.wait_for = wait_here  # type: ignore[assignment, attr-defined]
