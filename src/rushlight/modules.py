"""A user's own Python modules: importing them declares their events, projections and subscriptions."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb

from rushlight.errors import SetupError


def require_modules(names: Iterable[str]) -> None:
    """Look whether modules are there, without running any of their code.

    Args:
        names: dotted names, looked for on Python's path and in the working directory.

    Raises:
        SetupError: one is not; names it and says where it was looked for.
    """
    _look_here_too()
    for name in names:
        top = name.partition(".")[0]
        if top not in sys.modules and find_spec(top) is None:
            raise SetupError(_absent(name))


def import_modules(names: Iterable[str]) -> None:
    """Import modules for what they declare; again is harmless.

    Args:
        names: dotted names, looked for on Python's path and in the working directory.

    Raises:
        SetupError: one cannot be imported; names it, and the line that failed.
    """
    _look_here_too()
    for name in names:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if name == missing or name.startswith(f"{missing}."):
                raise SetupError(_absent(name)) from error
            raise SetupError(_failed(name, error)) from error
        except Exception as error:
            raise SetupError(_failed(name, error)) from error


def _look_here_too() -> None:
    # Last, so that a file of the working directory stands in for no installed package.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _absent(name: str) -> str:
    return (
        f"there is no module {name} (setting modules): it is looked for on Python's path and in {Path.cwd()}; "
        "install it, start in its directory or set PYTHONPATH"
    )


def _failed(name: str, error: Exception) -> str:
    last = error if isinstance(error, SyntaxError) else extract_tb(error.__traceback__)[-1]
    where = f"{last.filename}:{last.lineno}"
    return f"module {name} (setting modules) cannot be imported: {type(error).__name__}: {error} ({where})"
