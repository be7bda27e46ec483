"""Takes over the logs that their holders left behind on this host, and delivers what is still unsettled in them."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path

from pymongo.errors import PyMongoError

from rushlight.errors import Unavailable
from rushlight.failpoints import at
from rushlight.ingest.log.delivery import Delivery
from rushlight.ingest.log.holding import Undeliverable, deliver, lock_log, take_over
from rushlight.ingest.log.registry import host, identity, partitions_of
from rushlight.steady import steadily
from rushlight.store.database import Database

logger = logging.getLogger(__name__)

SEARCH_SECONDS = 3.0
CHECK_SECONDS = 0.25
CLOSE_SETTLE_SECONDS = 1.0


class Adopter:
    """Looks for unlocked logs that are not closed: under ``root``, and wherever this host's logs are registered.

    An adopted log that has come to rest is closed and left to whoever opens its directory next; its counts stay. Any
    number of adopters may run on a host: the lock on a log decides.

    Args:
        database: the logs' database; logs of another one are left alone.
        root: ``DATA/wal`` of the instance.
    """

    def __init__(self, database: Database, redis_url: str, root: Path) -> None:
        self._database = database
        self._redis_url = redis_url
        self._root = root.absolute()
        self._adopted: dict[Path, Delivery] = {}
        self._undeliverable: set[Path] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, every three seconds."""
        self._task = asyncio.create_task(steadily(self._run))

    async def stop(self) -> None:
        """Let go of everything; what is pending stays in its log."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for delivery in self._adopted.values():
            await delivery.close(settle_seconds=0)
        self._adopted.clear()

    @property
    def adopted(self) -> set[str]:
        """Ids of the logs that are in its hands now."""
        return {delivery.log.id for delivery in self._adopted.values()}

    async def _run(self) -> None:
        while True:
            try:
                found = await self._left_behind()
            except (PyMongoError, OSError) as error:
                logger.warning("cannot look for logs that were left behind: %s", error)
                found = []
            for directory in found:
                try:
                    await self._adopt(directory)
                except (PyMongoError, Unavailable, OSError) as error:
                    logger.warning("the log in %s cannot be adopted now: %s", directory, error)
            await self._let_go_of_the_settled(SEARCH_SECONDS)

    async def _left_behind(self) -> list[Path]:
        """Directories of logs that are not closed and not known to be in somebody's hands."""
        ours = {"host": host()}
        documents = [d async for d in self._database.logs.find(ours, {"path": 1, "closed": 1})]
        closed = {Path(document["path"]) for document in documents if document["closed"]}
        candidates = {Path(document["path"]) for document in documents if not document["closed"]}
        if self._root.is_dir():
            candidates |= {entry for entry in self._root.iterdir() if entry.is_dir()} - closed
        return sorted(candidates - self._adopted.keys() - self._undeliverable)

    async def _adopt(self, directory: Path) -> None:
        held = lock_log(directory)
        if held is None:
            return
        at("adopt.locked")
        try:
            known_as, partitions = await identity(self._database), await partitions_of(self._database)
        except BaseException:
            os.close(held)
            raise
        try:
            log = await asyncio.to_thread(take_over, directory, held, known_as, cap_bytes=0, partitions=partitions)
        except Undeliverable as error:
            logger.error("%s", error)
            self._undeliverable.add(directory)
            return
        if log is None:
            return
        at("adopt.read")
        try:
            delivery = await deliver(log, self._database, self._redis_url)
        except PyMongoError:
            await log.close()
            raise
        logger.info("log %s was left behind with %d records pending: adopted", log.id, delivery.figures.pending)
        at("adopt.registered")
        delivery.start()
        self._adopted[directory] = delivery

    async def _let_go_of_the_settled(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            for directory, delivery in list(self._adopted.items()):
                if not delivery.figures.pending:
                    del self._adopted[directory]
                    await delivery.close(settle_seconds=CLOSE_SETTLE_SECONDS)
            with suppress(TimeoutError):
                await asyncio.sleep(min(left, CHECK_SECONDS) if self._adopted else left)
