"""Each promise names its test, and each test that is named exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "guarantees.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def missing(text: str) -> list[str]:
    """Tests that a text names and that are not there."""
    found = []
    for file, name in NAMED.findall(text):
        path = ROOT / file
        code = path.read_text("utf-8") if path.exists() else ""
        if not code or (name and not re.search(rf"^(async )?def {name}\(", code, re.MULTILINE)):
            found.append(f"{file}::{name}")
    return found


def test_every_named_test_exists() -> None:
    """The page's tests are in the repository under the names that it gives."""
    text = PAGE.read_text("utf-8")
    assert len(NAMED.findall(text)) > 40
    assert missing(text) == []


def test_what_is_not_there_is_missed() -> None:
    """A file or a test that does not exist is found out."""
    assert missing("`tests/test_none.py::test_a` `tests/test_guarantees.py::test_none` `tests/test_none.py`") == [
        "tests/test_none.py::test_a",
        "tests/test_guarantees.py::test_none",
        "tests/test_none.py::",
    ]
