"""The role that takes events in is killed again and again while clients send: nothing that was answered is lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from rushlight.events.ids import event_id
from rushlight.ingest.dialects.cloudevents import STRUCTURED
from rushlight.ingest.keys import create
from rushlight.local import Instance
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.conftest import Launch
from tests.ingest.making import by_aggregate, missing, until

CLIENTS = 8
KILLS = 3
ACKNOWLEDGED_BETWEEN_KILLS = 60


class Client:
    """Sends one event after the other and repeats each until it is answered, as every SDK does."""

    def __init__(self, name: str, url: str, key: str) -> None:
        self.acknowledged: list[str] = []
        self._name = name
        self._url = url
        self._headers = {"authorization": f"Bearer {key}", "content-type": STRUCTURED}

    async def send_for_ever(self) -> None:
        """Until cancelled."""
        async with aiohttp.ClientSession(headers=self._headers) as session:
            for number in itertools.count():
                message = f"{self._name} {number}"
                event = {"specversion": "1.0", "id": message, "source": "/shop", "type": "login", "subject": self._name}
                while not await self._accepted(session, event):  # noqa: ASYNC110 - the server is what is waited for
                    await asyncio.sleep(0.05)
                self.acknowledged.append(message)

    async def _accepted(self, session: aiohttp.ClientSession, event: dict[str, Any]) -> bool:
        try:
            async with session.post(f"{self._url}/events", json=event, headers=self._headers) as response:
                assert response.status in (202, 503), await response.text()
                return response.status == 202
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return False


async def test_nothing_that_was_answered_is_lost(settings: Settings, database: Database, launch: Launch) -> None:
    """Three times kill -9 under load: each answered event is stored once, in its visitor's order, and the ledger of the
    logs agrees with that of the commits.
    """
    key = await create(database, "public")
    instance: Instance = await asyncio.to_thread(launch(settings, "web", "worker").ready)
    clients = [Client(f"v{number}", instance.urls["board"], key) for number in range(CLIENTS)]
    sending = [asyncio.create_task(client.send_for_ever()) for client in clients]

    def acknowledged() -> int:
        assert not any(task.done() for task in sending), [task.exception() for task in sending if task.done()]
        return sum(len(client.acknowledged) for client in clients)

    for _ in range(KILLS):
        await until(more_than(acknowledged, acknowledged() + ACKNOWLEDGED_BETWEEN_KILLS))
        instance.kill("web")
    await until(more_than(acknowledged, acknowledged() + ACKNOWLEDGED_BETWEEN_KILLS))
    for task in sending:
        task.cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    await until(lambda: _stored(database, clients))
    await until(lambda: _balanced(database))
    rows = await database.journal.find({}).sort([("p", 1), ("seq", 1)]).to_list()
    stored = by_aggregate((row["aggregateId"], row["_id"]) for row in rows)
    for client in clients:
        sent = [_event_id(message) for message in client.acknowledged]
        assert await missing(database, sent) == set()
        visitor = client.acknowledged[0].split()[0]
        assert [event for event in stored[visitor] if event in set(sent)] == sent
    assert len(rows) <= sum(len(client.acknowledged) + 1 for client in clients)


def more_than(count: Callable[[], int], wanted: int) -> Callable[[], Awaitable[bool]]:
    """Whether there are so many by now."""

    async def reached() -> bool:
        return count() > wanted

    return reached


def _event_id(message: str) -> str:
    return event_id("default", "public", "/shop", message)


async def _stored(database: Database, clients: list[Client]) -> bool:
    """Whether all that was answered is in the journal: a log's own figures may be a second older than that."""
    return not await missing(database, [_event_id(message) for client in clients for message in client.acknowledged])


async def _balanced(database: Database) -> bool:
    """Whether every acknowledgement of every log has its terminal record."""
    logs = [log["sources"].get("web", {}) async for log in database.logs.find({})]
    acknowledged: int = sum(counts.get("acknowledged", 0) for counts in logs)
    pending: int = sum(counts.get("pending", 0) for counts in logs)
    rows = await database.ledger.find({"source": "web"}).to_list()
    terminal: int = sum(row.get("stored", 0) + row.get("duplicate", 0) for row in rows)
    return pending == 0 and acknowledged == terminal
