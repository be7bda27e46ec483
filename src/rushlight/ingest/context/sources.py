"""Which sites are search engines, social networks, shopping or video sites, and which hosts are one site."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rushlight.ingest.context.remembered import remembered

Kind = Literal["search", "social", "shopping", "video"]

# Where a host or name is in two lists, the more particular one is asked first.
KINDS: tuple[Kind, ...] = ("shopping", "video", "social", "search")
_FREE_PREFIXES = frozenset(("www", "m", "mobile", "l", "lm", "web", "out", "old", "amp"))
_MAX_LANGUAGE_CHARACTERS = 3
_MAX_SUFFIX_LABELS = 2


class _Known(NamedTuple):
    """``brands`` stand under any top-level domain, ``domains`` with everything under them, ``names`` as UTM sources."""

    brands: frozenset[str]
    domains: frozenset[str]
    names: frozenset[str]


def _load() -> tuple[dict[Kind, _Known], frozenset[str], frozenset[str]]:
    data: dict[str, Any] = tomllib.loads(Path(__file__).with_name("sources.toml").read_text(encoding="utf-8"))
    kinds: dict[Kind, _Known] = {}
    for kind in KINDS:
        hosts: list[str] = data[kind]["hosts"]
        brands = {host.removesuffix(".*") for host in hosts if host.endswith(".*")}
        domains = {host for host in hosts if not host.endswith(".*")}
        # "t" of t.co or "shop" of shop.app is nobody's name.
        labels = {label for host in hosts if len(label := host.partition(".")[0]) > _MAX_LANGUAGE_CHARACTERS}
        generic = {"search", "shop", "shopping", "line", "news", "medium", "target", "wish", "otto"}
        names = brands | (labels - generic) | set(data[kind].get("names", ()))
        kinds[kind] = _Known(frozenset(brands), frozenset(domains), frozenset(names))
    shared = data["shared"]
    return kinds, frozenset(shared["suffixes"]), frozenset(shared["second_level"])


_KNOWN, _SHARED, _SECOND_LEVEL = _load()


@remembered
def kind_of(source: str) -> Kind | None:
    """What a source is: a host (lower-case, without ``www.``) or the value of ``utm_source``."""
    source = source.lower()
    if "." not in source:
        return next((kind for kind in KINDS if source in _KNOWN[kind].names), None)
    labels = source.split(".")
    above = {".".join(labels[index:]) for index in range(len(labels))}
    for kind in KINDS:
        if above & _KNOWN[kind].domains:
            return kind
    return next((kind for kind in KINDS if _brand(labels) in _KNOWN[kind].brands), None)


def _brand(labels: list[str]) -> str | None:
    """The name before the top-level domain: ``google`` of ``google.co.uk`` and ``de.google.com``, not of a service of
    its own such as ``mail.google.com``.
    """
    at = 0
    while at < len(labels) - 2 and (labels[at] in _FREE_PREFIXES or len(labels[at]) == 2):
        at += 1
    suffix = labels[at + 1 :]
    simple = len(suffix) == 1 or (len(suffix) == _MAX_SUFFIX_LABELS and suffix[0] in _SECOND_LEVEL)
    return labels[at] if simple else None


@remembered
def site_of(host: str) -> str:
    """The site that a host belongs to: ``example.co.uk`` of ``checkout.example.co.uk``."""
    labels = host.split(".")
    if len(labels) <= 2 or labels[-1].isdigit() or ":" in host:
        return host
    wide = len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    shared = ".".join(labels[-2:]) in _SHARED
    return ".".join(labels[-3 if wide or shared else -2 :])
