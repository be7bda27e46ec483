"""The table of what each step costs."""

from __future__ import annotations

from benchmarks import shares
from benchmarks.steps import Step

TIMED = {
    "1": [
        Step("decode", 2.0, [2.0]),
        Step("seal", 6.0, [6.0]),
        Step("ids", 1.0, [1.0]),
        Step("log", 2.0, [2.0], wait_ms=1.5),
    ]
}


def _share(table: str, name: str) -> str:
    row = next(line for line in table.splitlines() if line.startswith(f"| {name}"))
    return row.split("|")[3].strip()


def test_parts_of_a_step_are_not_counted_twice() -> None:
    """Without a load, shares are of the steps' own sum."""
    table = shares.section(TIMED, {}, {})
    assert _share(table, "JSON decoded") == "20 %"
    assert _share(table, "of which ids") == "10 %"
    assert _share(table, "**all**") == "100 %"


def test_what_no_step_explains_is_shown_as_the_rest() -> None:
    """Beside what the service used under load, the rest is what is left of it."""
    table = shares.section(TIMED, {"1": 20.0}, {})
    assert _share(table, "JSON decoded") == "10 %"
    assert _share(table, shares.REST) == "50 %"


def test_sockets_are_what_the_server_alone_uses_beyond_its_step() -> None:
    """They are explained, and not part of the rest."""
    timed = {"1": [*TIMED["1"], Step("http", 1.0, [1.0])]}
    table = shares.section(timed, {"1": 20.0}, {"1": 5.0})
    assert _share(table, shares.SOCKETS) == "20 %"
    assert _share(table, shares.REST) == "25 %"
