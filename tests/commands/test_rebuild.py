"""`rushlight rebuild` beside a running instance: what that one knows, the command knows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rushlight.settings import Settings
from tests.conftest import Launch

DEADLINE_SECONDS = 120.0
MODULE = """
from rushlight import Projection


class Wrapping(Projection):
    name = "wrapping"
    events = frozenset({"order_created"})

    def fold(self, state, event):
        state.add(event.shop, {"orders": 1})
"""


def run(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``rushlight rebuild …`` on the data directory."""
    command = [sys.executable, "-m", "rushlight", "rebuild", *words, "--data", settings.data]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)


def test_the_running_instance_says_which_modules(
    settings: Settings, launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A projection of a module that the instance was started with is rebuilt without naming the module again."""
    (tmp_path / "parcels_of_a_test.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    chosen = msgspec.structs.replace(settings, modules=("parcels_of_a_test",))
    launch(chosen, "worker").ready()
    done = run(chosen, "wrapping")
    assert done.returncode == 0, done.stderr
    assert "It is what readers read now." in done.stdout
    done = run(chosen, "packing")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no projection 'packing'; there are behaviour, money, wrapping" in done.stderr
