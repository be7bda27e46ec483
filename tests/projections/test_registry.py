"""A user's projections are known by the modules that declare them, each name once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rushlight.errors import SetupError
from rushlight.projections.registry import BUILT_IN, projections_of

DECLARED = """
from rushlight import Projection


class {name}(Projection):
    name = {called!r}
    version = {version!r}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for modules, on Python's path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def declare(here: Path, module: str, name: str, called: object, version: object = 1) -> None:
    """Write a module with one projection."""
    (here / f"{module}.py").write_text(DECLARED.format(name=name, called=called, version=version))


def test_ours_are_always_there() -> None:
    """Without modules there are money and behaviour, and classes that merely exist in this process do not count."""
    assert [type(projection) for projection in projections_of(()).values()] == list(BUILT_IN)


def test_a_module_brings_its_own(here: Path) -> None:
    """Its classes count, those that it imported from elsewhere and those of the modules inside it too; bases do not."""
    declare(here, "reg_elsewhere", "Elsewhere", "elsewhere")
    (here / "reg_shop").mkdir()
    declare(here / "reg_shop", "inner", "Inner", "inner", 4)
    (here / "reg_shop" / "__init__.py").write_text(
        "from rushlight import Projection\nfrom reg_elsewhere import Elsewhere\nimport reg_shop.inner\n\n\n"
        "class Base(Projection):\n    pass\n\n\nclass Own(Base):\n    name = 'own'\n"
    )
    found = projections_of(["reg_shop", "reg_elsewhere"])
    assert sorted(found) == ["behaviour", "elsewhere", "inner", "money", "own"]
    assert found["inner"].version == 4
    assert sys.modules["reg_shop"].Own is type(found["own"])


@pytest.mark.parametrize(
    ("called", "version", "reason"),
    [
        ("money", 1, "two projections are named 'money': rushlight.projections.money.Money and .*Wrong"),
        ("Sales", 1, "lower-case letters, digits and _, not 'Sales'"),
        ("a.b", 1, "not 'a.b'"),
        (7, 1, "not 7"),
        ("fine", 0, "counts from 1, it is not 0"),
        ("fine", "2", "counts from 1, it is not '2'"),
    ],
)
def test_what_cannot_be_used_is_named(here: Path, called: object, version: object, reason: str) -> None:
    """A name that is taken, a name that MongoDB would read as a path, a version that is none."""
    module = f"reg_wrong_{abs(hash((called, version)))}"
    declare(here, module, "Wrong", called, version)
    with pytest.raises(SetupError, match=reason):
        projections_of([module])
