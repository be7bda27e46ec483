"""A user's own modules: found, imported, and named in one sentence when they cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rushlight.errors import SetupError
from rushlight.events.event import event_type
from rushlight.modules import import_modules, require_modules


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_what_a_module_declares_is_known(here: Path) -> None:
    """A module of the working directory is imported once, and the event that it declares is known."""
    declared = 'from rushlight import Event\n\n\nclass Gift(Event, name="gift_for_a_test"):\n    order_id: str\n'
    (here / "gifts_for_a_test.py").write_text(declared)
    import_modules(["gifts_for_a_test", "gifts_for_a_test"])
    assert event_type("gift_for_a_test") is not None


@pytest.mark.parametrize("name", ["nowhere_to_be_found", "nowhere_to_be_found.at_all"])
def test_a_module_that_is_not_there(here: Path, name: str) -> None:
    """Both before and at the import it is named, with the directory where it was looked for."""
    for looked in (require_modules, import_modules):
        with pytest.raises(SetupError, match=name) as refused:
            looked([name])
        assert str(here) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import a_package_nobody_has\n", ["a_package_nobody_has", ":1"]),
        ("x = 1\nx.y\n", ["AttributeError", ":2"]),
        ("x = \n", ["SyntaxError", ":1"]),
        ("from rushlight import Event\n\n\nclass A(Event, name='a', aggregate='b'):\n    c: str\n", ["'b'"]),
    ],
)
def test_a_module_that_fails(here: Path, content: str, words: list[str]) -> None:
    """Its name, its error and its place are told; that it is there is not disputed."""
    name = f"failing_{abs(hash(content))}"
    (here / f"{name}.py").write_text(content)
    require_modules([name])
    with pytest.raises(SetupError, match=name) as refused:
        import_modules([name])
    assert all(word in str(refused.value) for word in words)


def test_the_commands_say_so_at_once(here: Path) -> None:
    """`up` and `worker` start nothing for the sake of a module that is not there."""
    for command in ("up", "worker"):
        done = subprocess.run(
            [sys.executable, "-m", "rushlight", command, "--data", "data", "--module", "not_there"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("rushlight: there is no module not_there")
        assert not (here / "data").exists()
