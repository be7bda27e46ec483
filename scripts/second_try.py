"""Gives at most three failed tests a second try, each alone and one after the other; for `.ci/run` and nothing else.

As a plugin (``-p scripts.second_try``) it notes in pytest's cache how the run ended. As a script it gets the cache
directory of that run, which must belong to no other: a run that did not come to its end, or that failed in anything
but a few single tests, stays failed. Why there is a second try at all: docs/decisions/second-try.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MOST_TESTS = 3
ENDED = "second_try/ended"
FAILED = "cache/lastfailed"
RULE = "=" * 100


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Note how the run ended; workers of xdist have no say in that."""
    cache = getattr(session.config, "cache", None)
    if cache is not None and not hasattr(session.config, "workerinput"):
        cache.set(ENDED, int(exitstatus))


def failed_tests(cache: Path) -> list[str] | None:
    """The tests that a whole run failed in; None when it failed in something else, or when nobody knows.

    Args:
        cache: the cache directory of that run alone.
    """
    if _kept(cache, ENDED) != pytest.ExitCode.TESTS_FAILED:
        return None
    failed = sorted(_kept(cache, FAILED) or {})
    return failed if failed and all("::" in name for name in failed) else None


def _kept(cache: Path, name: str) -> Any:
    try:
        return json.loads((cache / "v" / name).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def passes_alone(name: str) -> bool:
    """Run one test in a process of its own."""
    print(f"\nA second try, alone: {name}", flush=True)
    done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", name], check=False)
    return done.returncode == pytest.ExitCode.OK


def loudly(headline: str, names: list[str]) -> None:
    """Print a list that nobody overlooks."""
    print("\n".join(["", RULE, headline, *(f"    {name}" for name in names), RULE]), flush=True)


def main(cache: Path) -> int:
    """0 when all that had failed passed this time."""
    failed = failed_tests(cache)
    if failed is None:
        print("The tests did not run to their end, or something else than single tests failed: no second try.")
        return 1
    if len(failed) > MOST_TESTS:
        print(f"{len(failed)} tests failed, and no more than {MOST_TESTS} get a second try.")
        return 1
    again = [name for name in failed if not passes_alone(name)]
    if again:
        loudly("FAILED TWICE:", again)
        return 1
    loudly("FAILED IN COMPANY, PASSED ALONE (find out why, and mend it):", failed)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
