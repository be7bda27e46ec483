"""Hypothesis looks for a sequence of sales, faults and deaths after which the books do not agree.

Rushlight's parts are real, and so are the servers. The number of sequences is small and their choice fixed, so that
the run is short and the same everywhere; ``STATE_MACHINE_EXAMPLES`` asks for more of them, chosen anew each time.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rushlight.ingest.log import delivery, figures, settling
from rushlight.local.instance import Instance
from rushlight.settings import Settings
from tests.engine.failing import failing, failing_mongod
from tests.faults.model import MORTAL, Model

EXAMPLES = "STATE_MACHINE_EXAMPLES"
FEW, STEPS = 5, 18
T = TypeVar("T")
UNKNOWN: list[dict[str, Any]] = [
    {"failCommands": ["commitTransaction"], "closeConnection": True},
    {"failCommands": ["commitTransaction"], "errorCode": 50},
    {"failCommands": ["commitTransaction", "find"], "closeConnection": True},
    {"failCommands": ["insert"], "errorCode": 112},
]


class Sale(RuleBasedStateMachine):
    """What may happen, in any order."""

    runner: asyncio.Runner
    where: Settings

    def __init__(self) -> None:
        super().__init__()
        self.data = tempfile.TemporaryDirectory(prefix="rushlight-model-")
        self.model: Model | None = None
        self.moved = False

    def run(self, happening: Coroutine[Any, Any, T]) -> T:
        """Let it happen."""
        self.moved = True
        return self.runner.run(happening)

    @property
    def world(self) -> Model:
        """The model, which `begin` opened."""
        assert self.model is not None
        return self.model

    @initialize()
    def begin(self) -> None:
        """Nothing has happened yet."""
        self.model = self.run(Model.open(msgspec.structs.replace(self.where, data=str(Path(self.data.name)))))

    @rule(count=st.integers(1, 5), loss=st.sampled_from([0.0, 0.5, 1.0]))
    def place(self, count: int, loss: float) -> None:
        """Orders."""
        self.run(self.world.place(count, loss))

    @rule(count=st.integers(1, 5), loss=st.sampled_from([0.0, 0.5, 1.0]))
    def go_on(self, count: int, loss: float) -> None:
        """What becomes of orders."""
        self.run(self.world.go_on(count, loss))

    @rule()
    def poison(self) -> None:
        """An event that nobody can make anything of."""
        self.run(self.world.poison())

    @rule(count=st.integers(1, 5))
    def accept(self, count: int) -> None:
        """Visitors."""
        self.run(self.world.accept(count))

    @rule(which=st.integers(0, 50))
    def accept_again(self, which: int) -> None:
        """A sender that repeats."""
        self.run(self.world.accept_again(which))

    @rule(count=st.integers(1, 12))
    def republish(self, count: int) -> None:
        """Twice, and backwards."""
        self.run(self.world.republish(count))

    @rule(how=st.sampled_from(["wipe", "forget_generation", "lose_entries"]))
    def lose(self, how: str) -> None:
        """The transport forgets."""
        self.run(getattr(self.world, how)())

    @rule(sweep=st.booleans())
    def step(self, sweep: bool) -> None:
        """Owners work."""
        self.run(self.world.step(sweep=sweep))

    @rule(name=st.sampled_from(MORTAL), sweep=st.booleans())
    def die(self, name: str, sweep: bool) -> None:
        """Owners die at their work."""
        self.run(self.world.die(name, sweep=sweep))

    @rule(how=st.sampled_from(UNKNOWN), times=st.integers(1, 4))
    def unknown(self, how: dict[str, Any], times: int) -> None:
        """Commits whose result nobody learns."""

        async def step() -> None:
            async with failing(self.world.database, {"times": times}, appName="rushlight model", **how):
                await self.world.step(sweep=True)

        self.run(step())

    @rule()
    def take_over(self) -> None:
        """Owners that do not know that others have taken their partitions."""
        self.run(self.world.take_over())

    @rule()
    def zombies(self) -> None:
        """They go on."""
        assert self.run(self.world.zombies()) == []

    @rule()
    def crash_intake(self) -> None:
        """A log is left behind and adopted."""
        self.run(self.world.crash_intake())

    @invariant()
    def all_agrees(self) -> None:
        """At each moment."""
        if self.model is not None and self.moved:
            assert self.run(self.world.wrong()) == []
            self.moved = False

    def teardown(self) -> None:
        """In the end everything that was acknowledged is there once, and every figure is right."""
        try:
            if self.model is not None:
                found = self.run(self.model.settle())
                self.run(self.model.close())
                assert found == []
        finally:
            self.data.cleanup()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs look often for what is settled or lost."""
    monkeypatch.setattr(settling, "HEAD_CHECK_SECONDS", 0.05)
    monkeypatch.setattr(settling, "FIRST_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(settling, "MAX_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(delivery, "PASS_SECONDS", 0.02)
    monkeypatch.setattr(delivery, "MAX_PASS_SECONDS", 0.1)
    monkeypatch.setattr(figures, "PUBLISH_SECONDS", 0.2)


@pytest.fixture
def model_settings(servers: Instance, tmp_path: Path) -> Iterator[Settings]:
    """A MongoDB that fails on demand, and the session's Redis."""
    with failing_mongod(tmp_path / "mongo") as url:
        yield Settings(redis_url=servers.redis_url, mongo_url=url, database="model", lease_ttl_seconds=600.0)


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("hasty")
def test_no_sequence_is_found(model_settings: Settings) -> None:
    """After each step nothing has gone back and all folds agree; in the end everything is there once."""
    many = int(os.environ.get(EXAMPLES, "0"))
    Sale.where = model_settings
    with asyncio.Runner() as runner:
        Sale.runner = runner
        run_state_machine_as_test(
            Sale,
            settings=settings(
                max_examples=many or FEW,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=not many,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
