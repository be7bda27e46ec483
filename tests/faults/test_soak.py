"""A short soak: the long one is `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.soak import soak
from tests.faults.world import World

SECONDS = 20.0


@pytest.mark.timeout(400)
async def test_a_sale_under_random_faults_loses_nothing(world: World, diary: Path, tmp_path: Path) -> None:
    """Random faults, two at once among them, in mid-sale: the oracle finds nothing wrong, and the books balance."""
    result = await soak(SECONDS, 1, tmp_path, world, diary)
    assert result.wrong == []
    assert result.balanced
    assert not any(result.revenue_difference.values())
    assert result.faults
