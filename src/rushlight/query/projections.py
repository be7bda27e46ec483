"""Any projection's documents as its readers get them: those of all partitions merged by the projection itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from rushlight.errors import Unavailable
from rushlight.projections.keys import document_id
from rushlight.projections.projection import Projection
from rushlight.query.freshness import CompleteTo
from rushlight.query.view import View
from rushlight.store.database import Document
from rushlight.store.generations import seq_name

INTERNAL = ("_id", "p", "seq")


class Page(msgspec.Struct, kw_only=True):
    """A projection's merged documents, by key (the part after the shop), in the order of their keys.

    Attributes:
        generation: whose documents they are. complete_to: they hold every event that was acknowledged before.
        next: the key to go on after, or None at the end.
    """

    generation: int
    complete_to: CompleteTo
    documents: dict[str, Any]
    next: str | None


async def page(view: View, projection: Projection, *, prefix: str = "", after: str = "", limit: int = 100) -> Page:
    """Documents of the view's shop whose key begins with ``prefix``, in one snapshot of one generation.

    Args:
        after: only keys beyond this one. limit: at most so many keys.

    Raises:
        Unavailable: the projection's first figures are still being built.
    """
    generation = view.scope.generations.get(projection.name)
    if generation is None:
        raise Unavailable(f"the figures of {projection.name} are being built from the journal; try again later")
    slices: dict[str, list[Mapping[str, Any]]] = {}
    for partition in range(view.scope.partitions):
        async for key, document in _of_partition(view, projection.name, generation, partition, prefix, after, limit):
            slices.setdefault(key, []).append(document)
    keys = sorted(slices)[:limit]
    return Page(
        generation=generation,
        complete_to=await _complete_to(view, seq_name(projection.name, generation)),
        documents={key: projection.merge(slices[key]) for key in keys},
        next=keys[-1] if len(slices) > limit else None,
    )


async def _of_partition(
    view: View, name: str, generation: int, partition: int, prefix: str, after: str, limit: int
) -> Any:
    start = document_id(generation, partition, f"{view.scope.shop}/")
    low = {"$gt": start + after} if after >= prefix and after else {"$gte": start + prefix}
    # Nothing that a key may hold sorts behind this.
    match: Document = {"_id": {**low, "$lt": f"{start}{prefix}\U0010ffff"}}
    # One more than wanted tells that there are more; the first of all partitions are among the first of each.
    found = view.collection(name).find(match, session=view.session).sort("_id").limit(limit + 1)
    async for document in found:
        key = document["_id"][len(start) :]
        yield key, {field: value for field, value in document.items() if field not in INTERNAL}


async def _complete_to(view: View, seq: str) -> CompleteTo:
    """The view's, bounded by what this generation has not folded yet in this snapshot."""
    money, behaviour = view.complete_to.money, view.complete_to.behaviour
    fields = {"seq": 1, "projections": 1}
    async for position in view.database.positions.find({}, fields, session=view.session):
        folded = position.get("projections", {}).get(seq, 0)
        if folded < position["seq"]:
            place: Document = {"p": position["_id"], "seq": folded + 1}
            first = await view.database.journal.find_one(place, {"receivedAt": 1}, session=view.session)
            received: datetime = first["receivedAt"] if first else min(money, behaviour)
            money, behaviour = min(money, received), min(behaviour, received)
    return CompleteTo(money=money, behaviour=behaviour)
