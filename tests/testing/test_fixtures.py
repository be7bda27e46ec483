"""The fixtures and the fault injector, as a user's own tests have them, with a user's own module."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from rushlight import Event, EventBus
from rushlight.errors import SetupError
from rushlight.local import Instance
from rushlight.settings import Settings
from rushlight.testing import Faults

pytest_plugins = ["rushlight.testing.fixtures"]

MODULE = """
from pathlib import Path

from rushlight import Envelope, Event, subscribe


class Parcel(Event, name="parcel_for_a_test", aggregate="parcel_id"):
    parcel_id: str


@subscribe(Parcel, name="label", start="first")
async def print_label(event: Parcel, envelope: Envelope) -> None:
    with Path({file!r}).open("a") as labels:
        labels.write(event.parcel_id + "\\n")
"""


class Parcel(Event, name="parcel_for_a_test", aggregate="parcel_id"):
    """The same event on the sender's side."""

    parcel_id: str


async def test_a_reaction_of_a_users_own_module(
    rushlight_up: Callable[..., Instance],
    rushlight_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`up` with a module: published events reach its function, though the worker is killed and Valkey wiped between."""
    labels = tmp_path / "labels"
    (tmp_path / "parcels_of_a_test.py").write_text(MODULE.format(file=str(labels)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    instance = rushlight_up("worker", modules=("parcels_of_a_test",))
    faults = Faults(instance)
    assert faults.names == ["worker-1"]
    bus = await EventBus.connect(
        redis_url=instance.redis_url,
        mongo_url=instance.mongo_url,
        database=rushlight_settings.database,
        wal=tmp_path / "wal",
    )
    async with bus:
        await bus.publish(Parcel(parcel_id="one"))
        await _until(lambda: _lines(labels) >= {"one"})
        await faults.wipe()
        await faults.kill("worker-1")
        await bus.publish(Parcel(parcel_id="two"))
        with faults.frozen("worker-1"):
            await bus.publish(Parcel(parcel_id="three"))
        await _until(lambda: _lines(labels) == {"one", "two", "three"})
        async with faults.stopped("worker-1"):
            await bus.publish(Parcel(parcel_id="four"))
        await _until(lambda: "four" in _lines(labels))
    with pytest.raises(SetupError, match="worker-9"):
        await faults.kill("worker-9")
    with pytest.raises(SetupError, match="nothing runs"):
        Faults(tmp_path / "elsewhere")
    assert Faults(instance.settings.data).names == faults.names


def _lines(file: Path) -> set[str]:
    return set(file.read_text().split()) if file.exists() else set()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it comes true in another process
            await asyncio.sleep(0.05)
