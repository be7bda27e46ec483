"""How options with units are read."""

from __future__ import annotations

import re
from datetime import timedelta

import click

_SPAN = re.compile(r"(\d{1,6})([smhd])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LIMIT = re.compile(r"(\d{1,9})(/s)?\Z")


def span(_: click.Context, __: click.Parameter, value: str) -> timedelta:
    """A span of time: ``30m``, ``24h``, ``7d``; ``0`` for none."""
    if value == "0":
        return timedelta(0)
    found = _SPAN.match(value)
    if found is None:
        raise click.BadParameter("must be like 30m, 24h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def limit(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Events a second: ``100`` or ``100/s``."""
    if value is None:
        return None
    found = _LIMIT.match(value)
    if found is None:
        raise click.BadParameter("must be like 100/s")
    return int(found[1])
