"""Data flows down the list of packages and imports only point up it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "rushlight"
ANYWHERE = {"errors", "failpoints", "health", "logs", "metrics", "modules", "settings", "steady", "wording"}
MAY_IMPORT: dict[str, set[str]] = {
    "events": set(),
    "bus": {"events"},
    "store": {"events"},
    "projections": {"events"},
    "engine": {"events", "bus", "store", "projections"},
    "ingest": {"events", "bus", "store"},
    "query": {"events", "store", "projections"},
    "live": {"events", "bus", "query"},
    "local": set(),
}


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Gives the line and the package of Rushlight that each import of the file names."""
    home = ["rushlight", *file.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            names = [[*module, alias.name] for alias in node.names] if module == ["rushlight"] else [module]
        else:
            continue
        yield from ((node.lineno, name[1]) for name in names if name[0] == "rushlight" and len(name) > 1)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_only_point_up(package: str) -> None:
    """No module of a package imports one that stands below it."""
    files = list((SOURCE / package).rglob("*.py"))
    assert files
    allowed = MAY_IMPORT[package] | ANYWHERE | {package}
    wrong = [
        f"{file.relative_to(SOURCE)}:{line} imports {name}"
        for file in files
        for line, name in imported(file)
        if name not in allowed
    ]
    assert not wrong


def test_events_are_pure() -> None:
    """What can happen is described without a client of any server."""
    for file in (SOURCE / "events").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"redis", "pymongo", "aiohttp", "litestar", "asyncio"}
