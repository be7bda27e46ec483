"""Results are written with the command and the machine that made them, and with every single measurement."""

from __future__ import annotations

import os
import platform
import shlex
import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

RESULTS = Path(__file__).parent / "results"


def median(values: Iterable[float]) -> float:
    """The median; NaN of nothing."""
    found = list(values)
    return statistics.median(found) if found else float("nan")


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of the values do not exceed; NaN of nothing."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its columns padded so that the source reads well too."""
    grid = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in grid) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in grid
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def number(value: float, digits: int = 0) -> str:
    """A number for a table; an unknown one is a dash."""
    return "–" if value != value else f"{value:,.{digits}f}"  # noqa: PLR0124 - NaN is what differs from itself


def machine() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "processors": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()}, {_build()}",
        "load": " ".join(f"{each:.1f}" for each in os.getloadavg()),
    }


def _build() -> str:
    """How the interpreter was built: one without profile-guided optimisation is a quarter slower."""
    if sys.base_prefix == "/usr":
        return "the distribution's"
    optimised = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return "built with optimisations" if optimised else "built without optimisations"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "processor")


def revision() -> str:
    """The commit that was measured, marked when the checkout differs from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    answer = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def command_line() -> str:
    """The command that a reader would repeat."""
    return shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])


def write(name: str, title: str, sections: Sequence[str], raw: object, notes: dict[str, str] | None = None) -> Path:
    """Write ``results/NAME.md`` for people and ``results/NAME.json`` with every single measurement.

    Returns:
        The path of the Markdown file.
    """
    facts: dict[str, Any] = {
        "command": command_line(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        **machine(),
        **(notes or {}),
    }
    head = "\n".join(f"- {key}: {f'`{value}`' if key == 'command' else value}" for key, value in facts.items())
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text(f"# {title}\n\n{head}\n\n" + "\n\n".join(sections) + "\n", encoding="utf-8")
    encoded = msgspec.json.format(msgspec.json.encode({"facts": facts, "measurements": raw}), indent=1)
    path.with_suffix(".json").write_bytes(encoded + b"\n")
    return path
