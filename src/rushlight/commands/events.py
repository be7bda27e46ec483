"""``rushlight events``: the audit trail, as lines for people or as NDJSON for programs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import click
import msgspec

from rushlight.commands.session import opened
from rushlight.events.readable import readable
from rushlight.settings import Settings
from rushlight.store.database import Database, Document
from rushlight.store.journal import Journal

PAGE_EVENTS = 500
FOLLOW_SECONDS = 0.5


async def show(
    settings: Settings, *, aggregate: str | None, name: str | None, follow: bool, shop: str, as_json: bool
) -> None:
    """Print events, oldest first; with ``follow`` go on until Ctrl-C."""
    async with opened(settings, role="events", roles=(), reads=True) as session:
        trail = Trail(session.database, session.settings.partitions, shop, aggregate, name)
        while True:
            for document in await trail.next():
                click.echo(_line(document, as_json=as_json))
            if trail.caught_up:
                if not follow:
                    return
                await asyncio.sleep(FOLLOW_SECONDS)


class Trail:
    """Walks the journal of all partitions page by page: each in its order, together by time of receipt."""

    def __init__(self, database: Database, partitions: int, shop: str, aggregate: str | None, name: str | None) -> None:
        self._journal = Journal(database)
        self._after = dict.fromkeys(range(partitions), 0)
        self._shop, self._aggregate, self._name = shop, aggregate, name
        self.caught_up = False

    async def next(self) -> list[Document]:
        """The next events, maybe none."""
        if self._aggregate is not None:
            found = [document async for document in self._journal.of_aggregate(self._aggregate, self._shop)]
            fresh = [document for document in found if document["seq"] > self._after[document["p"]]]
            self.caught_up = True
        else:
            pages = [await self._journal.read(p, after=seq, limit=PAGE_EVENTS) for p, seq in self._after.items()]
            fresh = sorted((d for page in pages for d in page), key=lambda d: (d["receivedAt"], d["p"], d["seq"]))
            self.caught_up = not fresh
        for document in fresh:
            self._after[document["p"]] = max(self._after[document["p"]], document["seq"])
        return [document for document in fresh if self._wanted(document)]

    def _wanted(self, document: Document) -> bool:
        return document["shop"] == self._shop and self._name in (None, document["eventName"])


def _line(document: Document, *, as_json: bool) -> str:
    document["payload"] = readable(document["eventName"], document["payload"])
    if as_json:
        return msgspec.json.encode({"id": document.pop("_id"), **document}, enc_hook=str).decode()
    moment: datetime = document["timestamp"]
    version = f" v{document['version']}" if "version" in document else ""
    payload = msgspec.json.encode(document["payload"]).decode()
    when = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{when}  {document['eventName']:<20} {document['aggregateId']}{version}  {payload}"
