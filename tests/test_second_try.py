"""CI forgives up to three tests that fail in company and pass alone, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.second_try import ENDED, FAILED, main

ROOT = Path(__file__).resolve().parent.parent
GOOD = "def test_good():\n    pass\n\n\n"
# The first time it fails, the second time it does not.
FLAKY = """
import pytest
from pathlib import Path

@pytest.mark.parametrize("word", ["a b"])
def test_flaky(word):
    mark = Path(__file__).with_name("mark")
    tried = mark.exists()
    mark.touch()
    assert tried
"""
BAD = "def test_bad():\n    assert False\n\n\n"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with nothing but pytest itself."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def tried(folder: Path, text: str) -> tuple[int, int, str]:
    """Exit codes of the suite and of its second try, and what the second one said."""
    (folder / "test_it.py").write_text(text)
    suite = run(folder, "-m", "pytest", "-q", "-p", "scripts.second_try", "-o", f"cache_dir={folder / 'cache'}")
    again = run(folder, str(ROOT / "scripts" / "second_try.py"), str(folder / "cache"))
    return suite.returncode, again.returncode, again.stdout


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (GOOD + FLAKY, 0, "PASSED ALONE (find out why, and mend it):\n    test_it.py::test_flaky[a b]\n"),
        (FLAKY + BAD, 1, "FAILED TWICE:\n    test_it.py::test_bad\n"),
    ],
    ids=["flaky", "failing"],
)
def test_the_second_try(tmp_path: Path, text: str, code: int, words: str) -> None:
    """A flaky test is named and forgiven; one that fails twice is not, though another was flaky."""
    suite, again, said = tried(tmp_path, text)
    assert (suite, again) == (1, code), said
    assert words in said


@pytest.mark.parametrize(
    ("ended", "failed", "words"),
    [
        ("0", "", "no second try"),
        ("1", '{"a.py::b": true, "a.py::c": true, "a.py::d": true, "a.py::e": true}', "4 tests failed"),
        ("1", '{"a.py": true}', "no second try"),
        ("1", "", "no second try"),
        ("3", '{"a.py::b": true}', "no second try"),
        ("", '{"a.py::b": true}', "no second try"),
    ],
    ids=["passed", "four failed", "not collected", "nothing named", "broke off", "never said how it ended"],
)
def test_who_gets_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], ended: str, failed: str, words: str) -> None:
    """A fourth test, a file that cannot be collected, a run that is not known to have come to its end."""
    for name, text in ((ENDED, ended), (FAILED, failed)):
        (tmp_path / "v" / name).parent.mkdir(parents=True)
        (tmp_path / "v" / name).write_text(text)
    assert main(tmp_path) == 1
    assert words in capsys.readouterr().out
