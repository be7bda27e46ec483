"""How a log finds out what is settled: nothing that happens meanwhile may end that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rushlight.bus.appender import Placed
from rushlight.ingest.intake import Intake
from rushlight.ingest.log.sender import Group
from rushlight.settings import Settings
from tests.ingest.conftest import OpenIntake
from tests.ingest.making import until, view, working
from tests.ingest.test_intake import accepts, settled


async def test_a_partition_that_is_new_in_the_middle_of_a_pass(
    open_intake: OpenIntake, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A partition's first record may be sent while the others' are being looked up."""
    intake = await open_intake()
    settling = intake._delivery._settling
    look_up = settling.look_up

    async def meanwhile(numbers: Sequence[int]) -> list[int]:
        others = set(range(8)) - settling._tracks.keys()
        if others and settling._tracks:
            place = Placed("a generation", "1-1")
            settling.sent([Group(others.pop(), 1, 1, place)])
        return await look_up(numbers)

    monkeypatch.setattr(settling, "look_up", meanwhile)
    async with working(settings):
        await intake.accept([view()])
        await settled(intake)
    assert len(settling._tracks) > 1
    assert "begun anew" not in caplog.text


async def test_a_full_log_makes_room_whoever_settles_its_last_record(
    open_intake: OpenIntake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is the figures' own look at the ledger that finds out."""
    intake = await open_intake(cap_bytes=1 << 20)
    monkeypatch.setattr(intake._delivery._settling, "go_through", _nothing_found)
    while await accepts(intake, view(name="x" * 500)):
        pass
    async with working(settings):
        await settled(intake)
        await until(lambda: _has_room(intake))


async def _nothing_found(*, thorough: bool = False) -> tuple[bool, set[int]]:
    return False, set()


async def _has_room(intake: Intake) -> bool:
    return await accepts(intake, view(name="x" * 500))
