"""Remembering what was made of a text, in bounded room: long texts are rare among people and cheap for attackers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

MAX_CHARACTERS = 512
MAX_TEXTS = 4096

R = TypeVar("R")


def remembered(function: Callable[..., R]) -> Callable[..., R]:
    """The same pure function of texts, which remembers its latest results but for those of long texts."""
    known = lru_cache(maxsize=MAX_TEXTS)(function)

    @wraps(function)
    def call(first: str | None, *others: str | int | None) -> R:
        if first is not None and len(first) > MAX_CHARACTERS:
            return function(first, *others)
        for each in others:
            if each.__class__ is str and len(each) > MAX_CHARACTERS:
                return function(first, *others)
        return known(first, *others)

    return call
