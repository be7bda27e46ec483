"""Reads Prometheus's text format strictly: what this takes, a scraper takes."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from rushlight.metrics import CATALOGUE

LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\"n])*)"(?:,|\Z)')


class Scrape(NamedTuple):
    """Samples by name and labels, and every name's kind."""

    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float]
    kinds: dict[str, str]

    def value(self, name: str, **labels: str) -> float:
        """One sample."""
        return self.samples[name, tuple(sorted(labels.items()))]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.samples.items() if found == name and wanted <= set(has))

    def labels(self, name: str, label: str) -> set[str]:
        """Every value of a label."""
        return {dict(has)[label] for found, has in self.samples if found == name}


def read(text: str) -> Scrape:
    """Parse, and check what the format asks for: families whole and once, histograms that add up, no sample twice."""
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    kinds: dict[str, str] = {}
    current = ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current not in kinds, f"{current} stands there twice"
            kinds[current] = kind
            continue
        match = LINE.match(line)
        assert match, line
        name, labels, value = match.groups()
        family = re.sub(r"_(bucket|sum|count)\Z", "", name) if kinds[current] == "histogram" else name
        assert family == current, f"{name} stands under {current}"
        pairs = LABEL.findall(labels or "")
        assert ",".join(f'{key}="{text}"' for key, text in pairs) == (labels or ""), line
        key = (name, tuple(sorted(pairs)))
        assert key not in samples, f"{line} stands there twice"
        samples[key] = float(value)
    _check_histograms(samples, kinds)
    return Scrape(samples, kinds)


def _check_histograms(samples: dict[tuple[str, tuple[tuple[str, str], ...]], float], kinds: dict[str, str]) -> None:
    last: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    for (name, labels), value in samples.items():
        family = name.removesuffix("_bucket")
        if kinds.get(family) == "histogram" and family != name:
            rest = (family, tuple(pair for pair in labels if pair[0] != "le"))
            assert value >= last[rest]
            last[rest] = int(value)
            if dict(labels)["le"] == "+Inf":
                assert value == samples[f"{family}_count", rest[1]]


def documented() -> dict[str, str]:
    """Every name of the catalogue with its kind."""
    return {name: metric.kind for name, metric in CATALOGUE.items()}
