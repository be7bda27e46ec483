"""How far the journal and the figures have come in each partition, as a view's snapshot has it."""

from __future__ import annotations

from typing import NamedTuple

from rushlight.query.view import View
from rushlight.store.generations import seq_name


class Heads(NamedTuple):
    """Last places (seq) by partition; 0 where nothing was ever stored.

    Attributes:
        journal: of the journal. folded: by projection, what its live generation has folded.
    """

    journal: list[int]
    folded: dict[str, list[int]]


async def heads(view: View) -> Heads:
    """Of every partition."""
    generations = view.scope.generations
    found = Heads([0] * view.scope.partitions, {name: [0] * view.scope.partitions for name in generations})
    fields = {"seq": 1, "projections": 1}
    async for position in view.database.positions.find({}, fields, session=view.session):
        partition = position["_id"]
        found.journal[partition] = position["seq"]
        for name, number in generations.items():
            found.folded[name][partition] = position.get("projections", {}).get(seq_name(name, number), 0)
    return found
