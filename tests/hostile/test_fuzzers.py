"""Whatever comes in: no 5xx, no exception, neighbours survive, and what was accepted can be stored and read back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.hostile.fuzz import Fuzzers, run_one

INPUTS = 150
NAMES = (
    *("decode cloudevents", "decode segment", "decode segment batch", "decode ga4", "decode ga4 debug"),
    *("arbitrary JSON", "mutated requests", "neighbours", "repetitions", "bytes and packings", "headers and queries"),
)


@pytest.fixture(scope="module")
def fuzzers(site_settings: Settings) -> Iterator[Fuzzers]:
    """Over one door, whose accepted events are all stored in the end."""
    with asyncio.Runner() as runner:
        database = runner.run(Database.connect(site_settings, role="tests"))
        made = Fuzzers(runner.run, database)
        yield made
        runner.run(database.close())


def test_each_dialect_has_its_fuzzer(fuzzers: Fuzzers) -> None:
    """A new dialect is fuzzed, or this fails."""
    assert set(fuzzers.all()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_inputs(fuzzers: Fuzzers, name: str) -> None:
    """The same inputs each time; ``python -m tests.hostile.fuzz`` tries others."""
    run_one(fuzzers.all()[name](), INPUTS)


def test_what_was_accepted_is_stored(fuzzers: Fuzzers) -> None:
    """All of it, in MongoDB itself, and equal to what it was."""
    run_one(fuzzers.mutations(), 20)
    assert fuzzers.run(fuzzers.store()) > 10
