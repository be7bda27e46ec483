"""Compares everything that MongoDB holds with what was acknowledged, and says every difference in words."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from rushlight.events.envelope import Envelope
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.money import Money
from rushlight.projections.projection import Projection
from rushlight.store.accounts import account_of
from rushlight.store.database import Database, Document
from rushlight.store.generations import live_generations
from rushlight.store.journal import Journal, to_envelope
from rushlight.store.outstanding import SOME_ENTRY
from tests.projections import oracle
from tests.projections.folding import fold

PATIENCE_SECONDS = 120.0
KINDS = {"money": "hdpcx", "behaviour": "fpsubtn"}


async def settled(
    database: Database, acknowledged: Iterable[Envelope], patience_seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until every acknowledgement has its terminal record and has left its outbox.

    Raises:
        TimeoutError: they do not.
    """
    pairs = [(event.id, event.origin) for event in acknowledged]
    origins = {origin for _, origin in pairs}
    journal = Journal(database)

    async def all_ended() -> bool:
        return await journal.settled(pairs) == origins and not await database.orders.find_one(SOME_ENTRY)

    await eventually(all_ended, patience_seconds)


async def eventually(condition: Callable[[], Awaitable[object]], patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the condition holds.

    Raises:
        TimeoutError: it does not.
    """
    async with asyncio.timeout(patience_seconds):
        while not await condition():  # noqa: ASYNC110 - it comes true in servers and other processes
            await asyncio.sleep(0.05)


async def audit(database: Database, acknowledged: Iterable[Envelope]) -> list[str]:
    """Everything that is not as it must be; empty when all is well."""
    events = {event.origin: event for event in acknowledged}
    journal = await database.journal.find().sort([("p", 1), ("seq", 1)]).to_list()
    outcomes = await database.outcomes.find().to_list()
    documents = {p.name: await _documents(database, p) for p in (Money(), Behaviour())}
    return [
        *_records(events, journal, outcomes),
        *_contents(events, journal),
        *await _places(database, journal),
        *_order(journal, outcomes),
        *_figures(events, journal, documents),
        *_folds(journal, documents),
        *await _ledger(database, journal, outcomes),
    ]


async def consistent(database: Database) -> list[str]:
    """What disagrees within MongoDB, whatever was acknowledged: places, versions, folds, counters."""
    journal = await database.journal.find().sort([("p", 1), ("seq", 1)]).to_list()
    outcomes = await database.outcomes.find().to_list()
    documents = {p.name: await _documents(database, p) for p in (Money(), Behaviour())}
    return [
        *await _places(database, journal),
        *_order(journal, outcomes),
        *_folds(journal, documents),
        *await _ledger(database, journal, outcomes),
    ]


def _records(events: Mapping[str, Envelope], journal: list[Document], outcomes: list[Document]) -> list[str]:
    """Every acknowledgement has one terminal record, and nothing is recorded that was not acknowledged."""
    found = Counter([document["origin"] for document in journal] + [document["_id"] for document in outcomes])
    lost, twice, unknown = events.keys() - found.keys(), {o for o, n in found.items() if n > 1}, found.keys() - events
    return [
        *[f"lost: {events[origin].name} {origin}" for origin in sorted(lost)],
        *[f"twice: {origin}" for origin in sorted(twice)],
        *[f"unknown: {origin}" for origin in sorted(unknown)],
    ]


def _contents(events: Mapping[str, Envelope], journal: list[Document]) -> list[str]:
    """What is stored is what was sent."""
    return [
        f"changed: {document['origin']}"
        for document in journal
        if document["origin"] in events and to_envelope(document) != events[document["origin"]]
    ]


async def _places(database: Database, journal: list[Document]) -> list[str]:
    """The sequence of each partition is dense, and the position stands at its end."""
    seqs = defaultdict(list)
    for document in journal:
        seqs[document["p"]].append(document["seq"])
    wrong = [f"sequence of partition {p}: {s}" for p, s in seqs.items() if s != list(range(1, len(s) + 1))]
    async for position in database.positions.find():
        if position["seq"] != len(seqs[position["_id"]]):
            wrong.append(f"position of partition {position['_id']}: {position['seq']}")
        if any(seq != position["seq"] for seq in position.get("projections", {}).values()):
            wrong.append(f"projections of partition {position['_id']}: {position['projections']}")
    return wrong


def _order(journal: list[Document], outcomes: list[Document]) -> list[str]:
    """Versions rise by one within each aggregate, in the order of the journal, past those that were dropped."""
    versions, dropped = defaultdict(list), defaultdict(set)
    for document in journal:
        if "version" in document:
            versions[document["shop"], document["aggregateId"]].append(document["version"])
    for document in outcomes:
        if document["kind"] == "dropped" and "version" in document:
            dropped[document["shop"], document["aggregateId"]].add(document["version"])
    wrong = []
    for aggregate, found in versions.items():
        dense = range(1, len(found) + len(dropped[aggregate]) + 1)
        if found != [version for version in dense if version not in dropped[aggregate]][: len(found)]:
            wrong.append(f"versions of {aggregate[1]}: {found}")
    return wrong


def _figures(
    events: Mapping[str, Envelope], journal: list[Document], documents: Mapping[str, Mapping[int, Mapping[str, Any]]]
) -> list[str]:
    """Figures are those of the oracle, told from what was acknowledged and is stored."""
    stored = [events[document["origin"]] for document in journal if document["origin"] in events]
    wrong = []
    for name, expected in (("money", oracle.money(stored)), ("behaviour", oracle.behaviour(stored))):
        found: Counter[tuple[str, str]] = Counter()
        for contents in documents[name].values():
            for place, number in oracle.flat(contents, KINDS[name]).items():
                found[place] += number
        wrong += [
            f"figure {name} {place}: {found[place]} instead of {expected.get(place, 0)}"
            for place in sorted(expected.keys() | found.keys())
            if found[place] != expected.get(place, 0)
        ]
    return wrong


def _folds(journal: list[Document], documents: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> list[str]:
    """Every projection document is the fold of its partition's journal, in its order."""
    wrong = []
    for projection in (Money(), Behaviour()):
        for partition in {document["p"] for document in journal}:
            some = [to_envelope(document) for document in journal if document["p"] == partition]
            stored = {key: content for key, content in documents[projection.name].get(partition, {}).items() if content}
            folded = fold(projection, some)
            different = {key for key in folded.keys() | stored.keys() if folded.get(key) != stored.get(key)}
            wrong += [f"fold {projection.name} {partition} {key}" for key in sorted(different)]
    return wrong


async def _documents(database: Database, projection: Projection) -> dict[int, dict[str, Any]]:
    """What readers read, by partition and key."""
    contents: dict[int, dict[str, Any]] = defaultdict(dict)
    live = (await live_generations(database))[projection.name]
    async for document in database.projection(projection.name).find():
        generation, partition, key = document.pop("_id").split("/", 2)
        if int(generation) != live:
            continue
        assert document.pop("p") == int(partition)
        document.pop("seq")
        contents[int(partition)][key] = document
    return contents


async def _ledger(database: Database, journal: list[Document], outcomes: list[Document]) -> list[str]:
    """The counters that commits raised are the number of the documents that they wrote."""
    counted: Counter[tuple[int, str | None, str]] = Counter()
    for document in journal:
        counted[document["p"], account_of(document["origin"], document["source"]), "stored"] += 1
    for document in outcomes:
        counted[document["p"], account_of(document["_id"], document.get("source", "")), document["kind"]] += 1
    raised: Counter[tuple[int, str | None, str]] = Counter()
    async for counter in database.ledger.find():
        for column in ("stored", "duplicate", "parked", "dropped", "unreadable"):
            raised[counter["p"], counter["source"], column] += counter.get(column, 0)
    return [
        f"ledger {place}: {raised[place]} raised, {counted[place]} counted"
        for place in sorted(counted.keys() | raised.keys(), key=str)
        if place[1] is not None and raised[place] != counted[place]
    ]
