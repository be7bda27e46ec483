"""What processes without a door of their own say of themselves (``reports``): a small document each, every few seconds.

A document is ``{_id: worker's name, role, label, startedAt, at, …figures}``; ``at`` is the server's time, and what is a
day old is forgotten by the server.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from pymongo.errors import PyMongoError

from rushlight.steady import steadily
from rushlight.store.database import Database, Document, relaxed

INTERVAL_SECONDS = 5.0
CHILD_NAME = "RUSHLIGHT_CHILD"


def label_of_this_process() -> str:
    """``HOST/NAME``: the same after a restart where a supervisor gives names, else ``HOST/PID``."""
    return f"{socket.gethostname()}/{os.environ.get(CHILD_NAME) or os.getpid()}"


class Reporter:
    """Reports for one process until it is stopped; a report that fails is left out.

    Args:
        name: the document's id. figures: what to say, called for each report.
    """

    def __init__(self, database: Database, role: str, name: str, figures: Callable[[], Document]) -> None:
        self._reports = relaxed(database.reports)
        self._fixed: Document = {"role": role, "label": label_of_this_process()}
        self._name = name
        self._figures = figures
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to report, at once and then every five seconds."""
        self._task = asyncio.create_task(steadily(self._run))

    async def stop(self) -> None:
        """Take the report back: whoever left in good order is no longer missed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(PyMongoError):
            await self._reports.delete_one({"_id": self._name})

    async def _run(self) -> None:
        while True:
            with suppress(PyMongoError):
                change: Document = {"$set": {**self._fixed, **self._figures()}, "$currentDate": {"at": True}}
                await self._reports.update_one({"_id": self._name}, change, upsert=True)
            await asyncio.sleep(INTERVAL_SECONDS)
