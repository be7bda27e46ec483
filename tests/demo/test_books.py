"""When the demo may say that all is well again."""

from __future__ import annotations

import pytest

from rushlight.demo.books import has_settled, is_at_rest

ENDED = {"stored": 6, "duplicate": 1, "parked": 1, "dropped": 0}


@pytest.mark.parametrize(
    ("balanced", "acknowledged", "at_rest", "since"),
    [(True, 8, True, True), (True, 9, False, False), (False, 8, False, False)],
)
def test_balanced_alone_is_not_enough(balanced: bool, acknowledged: int, at_rest: bool, since: bool) -> None:
    """Something pending is not at rest, and nothing has settled that was acknowledged and has not ended."""
    ledger = {"balanced": balanced, "total": {"acknowledged": acknowledged, **ENDED}}
    assert (is_at_rest(ledger), has_settled(ledger, acknowledged)) == (at_rest, since)
    assert has_settled(ledger, 7) == balanced
