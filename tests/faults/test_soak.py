"""A short soak: the long one is `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.soak import soak

SECONDS = 30.0


@pytest.mark.timeout(300)
async def test_a_sale_under_random_faults_loses_nothing(tmp_path: Path) -> None:
    """Servers and roles are frozen, killed and wiped in mid-sale; figures equal what was answered to the shoppers."""
    assert await soak(SECONDS, 1, tmp_path / "data")
