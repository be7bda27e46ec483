"""What is given out: the journal of a shop as flat rows, and everything that is held of one person."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from rushlight.errors import Rejected
from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.events.envelope import decode
from rushlight.events.event import event_type
from rushlight.events.money import to_text
from rushlight.store.database import Database, Document
from rushlight.store.journal import to_document
from rushlight.store.parking import Records
from rushlight.store.positions import Positions
from rushlight.store.subjects import Person, Subjects

Row = dict[str, Any]
Columns = Mapping[str, str]

PAGE_EVENTS = 1000
AMOUNTS = ("gross", "discounts", "tax", "shipping", "total", "amount")
# The largest amount has 16 digits, and no currency has more than four behind the point.
DECIMAL = "DECIMAL(24, 4)"
TEXT, TIME, NUMBER = "VARCHAR", "TIMESTAMPTZ", "BIGINT"
JSON = "JSON"
PLAIN: Columns = {
    "id": TEXT,
    "eventName": TEXT,
    "aggregateId": TEXT,
    "timestamp": TIME,
    "receivedAt": TIME,
    "shop": TEXT,
    "source": TEXT,
    "origin": TEXT,
    "schema": NUMBER,
    "version": NUMBER,
    "visitorId": TEXT,
    "customerId": TEXT,
    "correlationId": TEXT,
    "causationId": TEXT,
    "trace": TEXT,
    "p": NUMBER,
    "seq": NUMBER,
}
EVENTS: Columns = {
    **PLAIN,
    "currency": TEXT,
    **dict.fromkeys(AMOUNTS, DECIMAL),
    **{f"{name}Minor": NUMBER for name in AMOUNTS},
    "payload": JSON,
    "context": JSON,
}
TRAITS: Columns = {"name": TEXT, "value": JSON, "at": TIME, "event": TEXT}
LINKS: Columns = {"customer": TEXT, "visitor": TEXT, "first": TIME, "last": TIME}
SET_ASIDE: Columns = {"kind": TEXT, "reason": TEXT, "personal": JSON, **EVENTS}


class Tables(NamedTuple):
    """Everything of one person, each as rows of its columns."""

    traits: AsyncIterator[Row]
    links: AsyncIterator[Row]
    events: AsyncIterator[Row]
    parked: AsyncIterator[Row]


def event_row(document: Document) -> Row:
    """A journal document as one flat row: of catalogue events amounts also as decimals of their currency."""
    row: Row = {name: document[name] for name in PLAIN if name in document}
    row["id"] = document["_id"]
    payload = document["payload"]
    currency = payload.get("currency")
    if event_type(document["eventName"]) is not None and isinstance(currency, str):
        row["currency"] = currency
        for name in AMOUNTS:
            minor = payload.get(name)
            if isinstance(minor, int) and not isinstance(minor, bool):
                row[f"{name}Minor"] = int(minor)
                row[name] = _decimal(int(minor), currency)
    row["payload"] = payload
    if "context" in document:
        row["context"] = document["context"]
    return row


def _decimal(minor: int, currency: str) -> str | None:
    try:
        return to_text(minor, currency)
    except Rejected:  # stored before this code knew the currency, or as none
        return None


async def heads(database: Database) -> dict[int, int]:
    """The last place of each partition, as they stood at one moment."""
    async with database.client.start_session(snapshot=True) as session:
        return {partition: position.seq for partition, position in (await Positions(database).all(session)).items()}


async def journal(database: Database, shop: str, until: Mapping[int, int]) -> AsyncIterator[Row]:
    """The shop's events up to these places, partition by partition, each in its order."""
    for partition in sorted(until):
        after = 0
        while after < until[partition]:
            match = {"p": partition, "seq": {"$gt": after, "$lte": until[partition]}}
            page = await database.journal.find(match, hint="place").sort("seq").limit(PAGE_EVENTS).to_list()
            for document in page:
                if document["shop"] == shop:
                    yield event_row(document)
            if not page:
                break
            after = page[-1]["seq"]


class Held:
    """What is held of one person. Open it with `of`."""

    def __init__(self, database: Database, partitions: int, shop: str, person: Person) -> None:
        self._database = database
        self._partitions = partitions
        self._shop = shop
        self.person = person

    @classmethod
    async def of(cls, database: Database, partitions: int, shop: str, customer: str) -> Held:
        """Of a customer, under each of their names."""
        return cls(database, partitions, shop, await Subjects(database, partitions).person(shop, customer))

    def tables(self) -> Tables:
        """Everything, to be read once."""
        return Tables(self._traits(), self._links(), self._events(), self._parked())

    async def _traits(self) -> AsyncIterator[Row]:
        for trait in self.person.traits.values():
            value = msgspec.json.decode(trait.value)
            yield {"name": trait.name, "value": value, "at": trait.at, "event": trait.event_id}

    async def _links(self) -> AsyncIterator[Row]:
        for link in self.person.links.values():
            yield link._asdict()

    async def _events(self) -> AsyncIterator[Row]:
        """The person's events and orders; of a visitor that several customers were, not those of the others."""
        customers, orders, told = self.person.customers, set[str](), set[str]()
        match: Document = {"shop": self._shop, "customerId": {"$in": customers}}
        async for document in self._database.journal.find(match, hint="customer"):
            told.add(document["_id"])
            if document["eventName"] in MONEY_EVENTS:
                orders.add(document["aggregateId"])
            yield event_row(document)
        about = sorted({*orders, *self.person.visitors, *customers})
        for start in range(0, len(about), PAGE_EVENTS):
            match = {"aggregateId": {"$in": about[start : start + PAGE_EVENTS]}, "shop": self._shop}
            async for document in self._database.journal.find(match, hint="aggregate"):
                if document["_id"] in told or document.get("customerId", customers[0]) not in customers:
                    continue
                # A visitor may call himself as somebody's order is called.
                if document["eventName"] not in MONEY_EVENTS or document["aggregateId"] in orders:
                    yield event_row(document)

    async def _parked(self) -> AsyncIterator[Row]:
        """Events of the person that were set aside, with what is kept apart of those that may be retried."""
        apart = {
            document["origin"]: msgspec.json.decode(document["personal"])
            async for document in Subjects(self._database, self._partitions).parked(self._shop)
        }
        async for document in Records(self._database).kept(self._shop):
            try:
                event = decode(document.get("event", ""))
            except Rejected:
                continue
            if self._is_of(event.customer_id, event.visitor_id):
                row = event_row(to_document(event, document["p"], 0))
                del row["seq"]
                told = {"kind": document["kind"], "reason": document.get("reason"), "personal": apart.get(event.origin)}
                yield {**told, **row}

    def _is_of(self, customer: str | None, visitor: str | None) -> bool:
        if customer is not None:
            return customer in self.person.customers
        return visitor in self.person.visitors


def columns_of(tables: Sequence[str]) -> list[tuple[str, Columns]]:
    """The columns of a person's tables, by name."""
    known = {"traits": TRAITS, "links": LINKS, "events": EVENTS, "parked": SET_ASIDE}
    return [(name, known[name]) for name in tables]
