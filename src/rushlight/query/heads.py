"""How far the journal has come in each partition, as a view's snapshot has it."""

from __future__ import annotations

from rushlight.query.view import View


async def heads(view: View) -> list[int]:
    """The last place (seq) of each partition; 0 where nothing was ever stored."""
    found = [0] * view.scope.partitions
    async for position in view.database.positions.find({}, {"seq": 1}, session=view.session):
        found[position["_id"]] = position["seq"]
    return found
