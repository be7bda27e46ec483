"""Which projections there are: Rushlight's own, and those of the modules that the setting ``modules`` names."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

from rushlight.errors import SetupError
from rushlight.modules import import_modules
from rushlight.projections.behaviour import Behaviour
from rushlight.projections.money import Money
from rushlight.projections.projection import Projection

BUILT_IN: tuple[type[Projection], ...] = (Money, Behaviour)
# It is part of a collection's name and of a field's path.
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


def projections_of(modules: Sequence[str]) -> dict[str, Projection]:
    """Every projection by its name.

    Args:
        modules: Python modules to import; each subclass of `Projection` with a name that stands in one of them, or
            in a module inside of one, counts.

    Raises:
        SetupError: a module cannot be imported; two classes have one name; a name or version cannot be used.
    """
    import_modules(modules)
    found: dict[str, Projection] = {}
    for kind in (*BUILT_IN, *(kind for module in modules for kind in _classes(module))):
        name = _checked(kind)
        other = found.setdefault(name, kind())
        if type(other) is not kind:
            raise SetupError(f"two projections are named {name!r}: {_place(type(other))} and {_place(kind)}")
    return found


def _classes(module: str) -> list[type[Projection]]:
    inside = [kind for kind in _subclasses(Projection) if f"{kind.__module__}.".startswith(f"{module}.")]
    named = [value for value in vars(sys.modules[module]).values() if isinstance(value, type)]
    return [kind for kind in dict.fromkeys([*inside, *named]) if issubclass(kind, Projection) and "name" in vars(kind)]


def _subclasses(kind: type[Projection]) -> Iterator[type[Projection]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _checked(kind: type[Projection]) -> str:
    name: object = kind.name
    version: object = kind.version
    if not isinstance(name, str) or not NAME.match(name):
        raise SetupError(
            f"{_place(kind)}: a projection's name has 1 to 40 lower-case letters, digits and _, not {name!r}"
        )
    if not isinstance(version, int) or version < 1:
        raise SetupError(f"{_place(kind)}: a projection's version counts from 1, it is not {version!r}")
    return name


def _place(kind: type[Projection]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
