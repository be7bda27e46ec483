"""What benchmarks start, they watch, hold still and end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import BenchmarkError, Child, cpu_seconds, frozen, memory, process_tree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="benchmarks read /proc")

CHILD = "import subprocess, sys; print('up', flush=True); subprocess.run(['sleep', '60'])"


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A Python that started a `sleep`."""
    started = Child("sleeper", [sys.executable, "-c", CHILD], tmp_path / "log")
    started.wait_until(lambda: "up" in started.output() and len(process_tree(started.pid)) == 2, 30)
    yield started
    started.stop()


def test_a_tree_is_counted_whole(child: Child) -> None:
    """Memory and CPU are those of the process and of what it started."""
    tree = process_tree(child.pid)
    assert tree[0] == child.pid
    assert all(0 < memory(pid).pss <= memory(pid).rss for pid in tree)
    assert cpu_seconds(tree) > 0
    assert cpu_seconds([tree[0]]) > cpu_seconds([tree[1]])


def test_a_frozen_process_goes_on_afterwards(child: Child) -> None:
    """SIGSTOP lasts as long as the context."""
    state = Path(f"/proc/{child.pid}/stat")
    with frozen(child.pid):
        child.wait_until(lambda: ") T " in state.read_text(), 10)
    child.wait_until(lambda: ") T " not in state.read_text(), 10)


def test_a_program_that_ends_early_shows_its_last_words(tmp_path: Path) -> None:
    """The error of a program that does not come up is what it printed."""
    child = Child("broken", [sys.executable, "-c", "print('no such port'); raise SystemExit(3)"], tmp_path / "log")
    with pytest.raises(BenchmarkError, match=r"broken ended with 3:\nno such port"):
        child.wait_until(lambda: False, 30)
