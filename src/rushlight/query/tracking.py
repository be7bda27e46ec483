"""What senders send, as it comes in: the last events taken, repeated and turned away, and what to say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from rushlight.query.heads import heads
from rushlight.query.verdicts import Check, Seen, judge
from rushlight.query.view import View
from rushlight.store.database import Document
from rushlight.store.rejected import KEPT, Sample, latest

WINDOW = timedelta(minutes=30)
COUNTED = timedelta(minutes=5)
# Of each partition so many of the last places are looked at, and so many of the shop's events there.
PLACES, EVENTS = 500, 150
SHOWN, REPEATS = 60, 50
FIELDS = {
    **dict.fromkeys(("eventName", "aggregateId", "timestamp", "receivedAt", "source", "origin", "visitorId"), 1),
    **dict.fromkeys(("customerId", "context", "payload.items", "payload.transactionId"), 1),
}
State = Literal["accepted", "duplicate", "rejected"]


class Tracked(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """One event as it came.

    Attributes:
        id: tells it from the others. at: when it came. name: as it is kept; empty when it could not be read.
        original: as it was sent, where it is another. key: the first characters of the write key.
        field, reason, sample: of one that was turned away.
    """

    id: str
    at: datetime
    state: State
    name: str
    original: str | None = None
    source: str = ""
    dialect: str | None = None
    library: str | None = None
    key: str | None = None
    visitor: str | None = None
    customer: str | None = None
    channel: str | None = None
    device: str | None = None
    bot: bool = False
    test: bool = False
    field: str = ""
    reason: str = ""
    sample: str = ""


class Tracking(msgspec.Struct, kw_only=True):
    """The last half hour, as far as it was looked through.

    Attributes:
        events: the newest first. names: how many of each name were taken since ``counted_since``: five minutes ago,
            or later, where more came than is looked at. checks: the worst first.
    """

    events: list[Tracked]
    names: dict[str, int]
    counted_since: datetime
    checks: list[Check]


async def tracking(view: View) -> Tracking:
    """What the shop's senders sent last."""
    since = view.present - WINDOW
    taken, looked_since = await _taken(view, since)
    repeats = await _repeats(view, since)
    _, _, samples = await latest(view.database, view.scope.shop, KEPT, view.session)
    turned_away = [sample for sample in samples if sample.at >= since]
    events = [*map(_accepted, taken), *repeats, *map(_rejected, turned_away)]
    counted_since = max(view.present - COUNTED, looked_since)
    counted = Counter(row["eventName"] for row in taken if row["receivedAt"] >= counted_since)
    return Tracking(
        events=sorted(events, key=lambda event: event.at, reverse=True)[:SHOWN],
        names=dict(counted.most_common()),
        counted_since=counted_since,
        checks=judge([_seen(row) for row in taken], len(repeats), turned_away, view.source),
    )


async def _taken(view: View, since: datetime) -> tuple[list[Document], datetime]:
    """The shop's last events of each partition, in no order, and since when these are all of them."""
    rows: list[Document] = []
    whole = since
    for partition, head in enumerate((await heads(view)).journal):
        match: Document = {"p": partition, "seq": {"$gt": head - PLACES}, "shop": view.scope.shop}
        found = view.database.journal.find(match, FIELDS, hint="place", session=view.session)
        last = await found.sort([("p", -1), ("seq", -1)]).limit(EVENTS).to_list() if head else []
        if last and (len(last) == EVENTS or head > PLACES):
            whole = max(whole, last[-1]["receivedAt"])
        rows += last
    return [row for row in rows if row["receivedAt"] >= since], whole


async def _repeats(view: View, since: datetime) -> list[Tracked]:
    match: Document = {"kind": "duplicate", "shop": view.scope.shop, "at": {"$gte": since}}
    found = view.database.outcomes.find(match, session=view.session, hint="repeats")
    rows = await found.sort("at", -1).limit(REPEATS).to_list()
    ids = [row["eventId"] for row in rows]
    stored = view.database.journal.find({"_id": {"$in": ids}}, FIELDS, session=view.session)
    first = {row["_id"]: row async for row in stored}
    return [_repeated(row, first.get(row["eventId"])) for row in rows]


def _accepted(row: Document) -> Tracked:
    context = row.get("context") or {}
    return Tracked(
        id=row["origin"],
        at=row["receivedAt"],
        state="accepted",
        name=row["eventName"],
        source=row["source"],
        visitor=row.get("visitorId"),
        customer=row.get("customerId"),
        original=context.get("original"),
        dialect=context.get("dialect"),
        library=context.get("library"),
        key=context.get("key"),
        channel=context.get("channel"),
        device=context.get("device"),
        bot=bool(context.get("bot")),
        test=bool(context.get("test")),
    )


def _repeated(row: Document, first: Document | None) -> Tracked:
    if first is None:
        return Tracked(id=row["_id"], at=row["at"], state="duplicate", name="", source=row["source"])
    return msgspec.structs.replace(_accepted(first), id=row["_id"], at=row["at"], state="duplicate")


def _rejected(sample: Sample) -> Tracked:
    return Tracked(
        id=f"{sample.at.isoformat()} {sample.code} {sample.field} {sample.sample[:80]}",
        at=sample.at,
        state="rejected",
        name=_name_of(sample.sample),
        source=sample.source,
        dialect=sample.dialect or None,
        key=sample.key or None,
        field=sample.field,
        reason=sample.reason,
        sample=sample.sample,
    )


def _name_of(sample: str) -> str:
    """The event's name in what is shown of it."""
    try:
        event: Any = msgspec.json.decode(sample)
    except msgspec.DecodeError:
        return ""
    names: Sequence[Any] = [event.get(name) for name in ("event", "type", "name")] if isinstance(event, dict) else []
    return next((name for name in names if isinstance(name, str)), "")


def _seen(row: Document) -> Seen:
    payload = row.get("payload") or {}
    return Seen(
        name=row["eventName"],
        aggregate_id=row["aggregateId"],
        visitor_id=row.get("visitorId"),
        source=row["source"],
        occurred_at=row["timestamp"],
        received_at=row["receivedAt"],
        items=payload.get("items"),
        transaction_id=payload.get("transactionId"),
        context=row.get("context") or {},
    )
