"""Holds everything that the system says against the diary; each difference is one sentence that begins with its letter.

D: every 2xx is in the journal or parked. U: each once. N: nothing that was never sent. R: amounts and figures are the
oracle's. O: no gaps in versions and sequences. C: nothing pending, board = query API = oracle. L: the ledger recounted.
B: bounds (see `trial.Audit`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rushlight.events.money import to_minor
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.money import Money
from rushlight.store.database import Database
from rushlight.store.ledger import Ledger
from rushlight.store.recount import verify
from tests.engine.audit import _documents, _folds
from tests.faults.told import Document, Figures, Told, identity

SHOWN = 8
NAMES = {
    "orders": "o",
    "units": "u",
    "gross": "g",
    "discounts": "d",
    "refunds": "r",
    "tax": "t",
    "shipping": "s",
}
AMOUNTS = ("gross", "discounts", "refunds", "tax", "shipping")
ENDS = {"parked", "dropped"}


async def check(told: Told, database: Database, said: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Everything that is not as it must be once all is healed and settled; empty when all is well.

    Args:
        said: the ``currencies`` of the shop's figures by who said so: the query API, the board.
    """
    journal = await database.journal.find().sort([("p", 1), ("seq", 1)]).to_list()
    outcomes = await database.outcomes.find().to_list()
    wrong = [
        *look(told, journal, outcomes),
        *order(journal),
        *await _places(database, journal),
        *await _figures(told, database),
        *_said(told, said),
        *_ledger(told, await verify_twice(database)),
    ]
    documents = {p.name: await _documents(database, p) for p in (Money(), Behaviour())}
    return wrong + [f"R {line}" for line in _folds(journal, documents)]


async def verify_twice(database: Database) -> tuple[Ledger, list[str]]:
    """The ledger and what a recount of every document says against it."""
    recount = await verify(database)
    return recount.ledger, recount.differences


def look(told: Told, journal: Iterable[Document], outcomes: Iterable[Document]) -> list[str]:
    """D, U, N and amounts: claims against documents, one by one; notes in the claims what was found."""
    for claim in told.claims.values():
        claim.found = 0
    wrong: list[str] = []
    for document in journal:
        known = told.claims.get(identity(document))
        if known is None:
            wrong.append(f"N never sent: {document['eventName']} {document['_id']} of {document['source']}")
            continue
        known.found += 1
        wrong += _amounts(known.sent, document)
    ended = {document.get("eventId") for document in outcomes if document["kind"] in ENDS}
    for name, claim in told.claims.items():
        present = claim.found or claim.sent.event_id in ended
        if claim.outcome == "accepted" and not present:
            wrong.append(f"D lost: {' '.join(name)}")
        if claim.outcome == "refused" and claim.found:
            wrong.append(f"N refused and stored all the same: {' '.join(name)}")
        if claim.found > 1:
            wrong.append(f"U stored {claim.found} times: {' '.join(name)}")
    return wrong


def _amounts(sent: Any, document: Document) -> Iterator[str]:
    payload = document["payload"]
    if document["eventName"] == "order_created":
        expected = {name: getattr(sent, name) for name in ("currency", "gross", "discounts", "tax", "shipping")}
    elif document["eventName"] == "order_refunded":
        expected = {"currency": sent.currency, "amount": sent.gross, "tax": sent.tax, "shipping": sent.shipping}
    else:
        return
    for name, value in expected.items():
        if payload.get(name, 0) != value:
            where = f"{document['eventName']} of {document['aggregateId']}"
            yield f"R {where}: {name} is {payload.get(name, 0)} instead of {value}"


def order(journal: Iterable[Document]) -> list[str]:
    """O: versions rise by one within each aggregate, in the order of the journal; sequences have no gap."""
    versions, seqs = defaultdict(list), defaultdict(list)
    for document in journal:
        seqs[document["p"]].append(document["seq"])
        if "version" in document:
            versions[document["shop"], document["aggregateId"]].append(document["version"])
    return [
        *[f"O versions of {a}: {v}" for (_, a), v in versions.items() if v != list(range(1, len(v) + 1))],
        *[f"O sequence of partition {p} has gaps" for p, s in seqs.items() if s != list(range(1, len(s) + 1))],
    ]


async def _places(database: Database, journal: Iterable[Document]) -> list[str]:
    ends = Counter[int]()
    for document in journal:
        ends[document["p"]] = max(ends[document["p"]], document["seq"])
    return [
        f"O position of partition {position['_id']} is {position['seq']}, its journal ends at {ends[position['_id']]}"
        async for position in database.positions.find()
        if position["seq"] != ends[position["_id"]]
    ]


async def _figures(told: Told, database: Database) -> list[str]:
    """R: the projections' own documents, by source and currency, against the oracle."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    async for document in database.projection("money").find({"_id": {"$regex": "^[^/]+/[^/]+/default/d/"}}):
        _, _, _, _, source, currency, _ = document["_id"].split("/")
        for cell in document["q"].values():
            found[source, currency].update({name: cell.get(short, 0) for name, short in NAMES.items()})
    wrong = []
    for source in ("orders", "api"):
        expected = told.figures(source)
        currencies = expected.keys() | {currency for owner, currency in found if owner == source}
        for currency in sorted(currencies):
            wrong += _differences(
                f"R {source} in {currency}", found[source, currency], expected.get(currency, Counter())
            )
    return wrong


def _said(told: Told, said: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """C: what people see is what the oracle says."""
    expected = told.figures("orders")
    wrong = []
    for who, currencies in said.items():
        for currency in sorted(expected.keys() | currencies.keys()):
            found = in_minor_units(currency, currencies.get(currency, {}))
            wrong += _differences(f"C the {who} in {currency}", found, expected.get(currency, Counter()))
    return wrong


def in_minor_units(currency: str, figures: Mapping[str, Any]) -> Counter[str]:
    """One currency's figures as the query API and the board tell them."""
    counted = Counter({name: int(figures.get(name, 0)) for name in ("orders", "units")})
    counted.update({name: to_minor(figures[name], currency) for name in AMOUNTS if figures.get(name)})
    return counted


def agrees(expected: Figures, currencies: Mapping[str, Any]) -> bool:
    """Whether what is shown is what the oracle expects."""
    return not any(
        _differences("", in_minor_units(currency, currencies.get(currency, {})), expected.get(currency, Counter()))
        for currency in expected.keys() | currencies.keys()
    )


def _differences(where: str, found: Counter[str], expected: Counter[str]) -> list[str]:
    return [
        f"{where}: {name} {found[name]} instead of {expected[name]}" for name in NAMES if found[name] != expected[name]
    ]


def _ledger(told: Told, verified: tuple[Ledger, list[str]]) -> list[str]:
    ledger, differences = verified
    wrong = [f"L {line}" for line in differences]
    if not ledger.balanced:
        wrong.append(f"L not balanced: {ledger.total}")
    if ledger.unreachable:
        wrong.append(f"L silent logs: {ledger.unreachable}")
    if ledger.total.pending:
        wrong.append(f"C pending: {ledger.total.pending}")
    for source, count in told.answered().items():
        counted = ledger.sources[source].acknowledged if source in ledger.sources else 0
        if counted < count:
            wrong.append(f"L {source}: {counted} acknowledged in the ledger, {count} answered to senders")
    return wrong


def short(wrong: list[str]) -> list[str]:
    """The first of each letter, for people."""
    shown: list[str] = []
    for letter in sorted({line[0] for line in wrong}):
        of_it = [line for line in wrong if line[0] == letter]
        shown += of_it[:SHOWN]
        if len(of_it) > SHOWN:
            shown.append(f"{letter} … and {len(of_it) - SHOWN} more")
    return shown
