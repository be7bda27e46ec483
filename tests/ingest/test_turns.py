"""Long work goes on in slices, in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from rushlight.ingest import turns as turns_
from rushlight.ingest.turns import Turns


def work(name: str, steps: int, seen: list[str], then: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Notes its name at each step, and does something in the end."""
    for _ in range(steps):
        seen.append(name)
        yield
    then()


async def _seen(seen: list[str], count: int) -> None:
    async with asyncio.timeout(30):
        while len(seen) < count:  # noqa: ASYNC110 - each look is a turn of the loop
            await asyncio.sleep(0)


async def test_owners_take_turns_and_one_owner_waits_for_itself() -> None:
    """A slice each; the second of an owner begins when its first has ended."""
    seen: list[str] = []
    turns = Turns(seconds=0)
    turns.add("a", work("a1", 3, seen))
    turns.add("a", work("a2", 2, seen))
    turns.add("b", work("b", 3, seen))
    assert not seen, "nothing is done before somebody else had a turn"
    await _seen(seen, 8)
    assert seen == ["a1", "b", "a1", "b", "a1", "b", "a2", "a2"]


async def test_only_so_many_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait, and an owner with much to do does not come before one that has waited."""
    monkeypatch.setattr(turns_, "MAX_BEGUN", 1)
    seen: list[str] = []
    turns = Turns(seconds=0)
    for name in ("a1", "a2", "a3"):
        turns.add("a", work(name, 2, seen))
    turns.add("b", work("b", 2, seen))
    await _seen(seen, 8)
    assert seen == ["a1", "a1", "b", "b", "a2", "a2", "a3", "a3"]


async def test_others_are_heard_between_slices_and_work_may_add_work() -> None:
    """The loop goes round after each slice; what a work adds for its own owner is done after it."""
    seen: list[str] = []
    turns = Turns(seconds=0)
    turns.add("a", work("a", 3, seen, lambda: turns.add("a", work("added", 1, seen))))
    for _ in range(4):
        await asyncio.sleep(0)
        seen.append("another")
    await _seen(seen, 8)
    assert [name for name in seen if name != "another"] == ["a", "a", "a", "added"]
    assert seen[:6] == ["a", "another"] * 3


async def test_work_that_fails_ends_alone() -> None:
    """What has no answer to its own errors is told to the loop, and the next one has its turn."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    seen: list[str] = []
    turns = Turns(seconds=0)

    def fail() -> None:
        raise ValueError

    turns.add("a", work("a", 1, seen, fail))
    turns.add("a", work("b", 1, seen))
    await _seen(seen, 2)
    assert (seen, [type(error) for error in told]) == (["a", "b"], [ValueError])
