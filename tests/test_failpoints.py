"""Failpoints: all of them lie in the code, none can be armed outside a test, and each does what its rule says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushlight import failpoints
from rushlight.errors import SetupError
from rushlight.failpoints import FAILPOINTS, Injected, arm, armed, at
from rushlight.settings import ENV_WHOLE, Settings
from tests.faults import places

SOURCE = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints._armed.clear()


def test_each_place_lies_in_the_code_once() -> None:
    """What the list names is passed at one place, and no place is passed that the list does not name."""
    found = [
        name for file in SOURCE.rglob("*.py") for name in re.findall(r'\bat\("([a-z.]+)"\)', file.read_text("utf-8"))
    ]
    assert sorted(found) == sorted(FAILPOINTS)


def test_at_each_place_some_process_dies() -> None:
    """What the tests of failpoints leave to others is named there."""
    families = [*places.INGEST, *places.ADOPTER, *places.ORDERS, *places.WORKER, *places.ELSEWHERE]
    assert sorted(families) == sorted(FAILPOINTS)
    root = Path(__file__).parents[1]
    for name, file in places.ELSEWHERE.items():
        assert name in (root / file).read_text("utf-8")


def test_refused_where_nothing_is_tested() -> None:
    """Neither the front door nor a role starts with an armed failpoint unless it is being tested."""
    environment = {"RUSHLIGHT_FAILPOINTS": "commit.begun=die"}
    with pytest.raises(SetupError, match="only for tests"):
        Settings.load(environment=environment)
    assert Settings.load(environment={**environment, "RUSHLIGHT_TESTING": "true"}).testing
    handed_down = {**os.environ, ENV_WHOLE: Settings(failpoints="commit.begun=die").to_json()}
    role = subprocess.run(
        [sys.executable, "-m", "rushlight.app", "worker"], env=handed_down, capture_output=True, check=False, timeout=60
    )
    assert role.returncode == 1
    assert b"only for tests" in role.stderr
    assert b"Traceback" not in role.stderr


@pytest.mark.parametrize("rule", ["commit.begun", "commit.begun=sing", "no.such=die", "commit.begun=die@0"])
def test_rules_that_nobody_understands(rule: str) -> None:
    """A wrong rule is named."""
    with pytest.raises(SetupError, match="failpoints"):
        arm(Settings(failpoints=rule, testing=True))


def test_the_second_time_only(capfd: pytest.CaptureFixture[str]) -> None:
    """A rule with a number fires that time only, and says so; other places are passed."""
    arm(Settings(failpoints="commit.begun=raise@2 commit.ledger=pause:0", testing=True))
    at("commit.begun")
    with pytest.raises(Injected):
        at("commit.begun")
    at("commit.begun")
    at("commit.ledger")
    at("commit.journal")
    assert capfd.readouterr().err == "failpoint commit.begun: raise\nfailpoint commit.ledger: pause:0\n"


def test_an_action_of_ones_own() -> None:
    """In this process a place can do anything, for as long as the block runs."""
    passed: list[str] = []
    with armed("batch.sorted", lambda: passed.append("here")):
        at("batch.sorted")
        at("batch.folded")
    at("batch.sorted")
    assert passed == ["here"]
    with pytest.raises(KeyError), armed("no.such", lambda: None):
        pass
