"""Each check of the model fires when the bug that it is there for is put into the code, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from rushlight.ingest.log import delivery, settling
from rushlight.local.instance import Instance
from rushlight.settings import Settings
from tests.engine.failing import failing_mongod
from tests.faults.bugs import BUGS
from tests.faults.model import Model

DOCUMENT = Path(__file__).parents[2] / "docs" / "seeded-bugs.md"
# With the bug some things never come to an end.
PATIENCE_SECONDS = 2.0


@pytest.fixture(scope="module")
def fragile_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB that fails on demand."""
    with failing_mongod(tmp_path_factory.mktemp("fragile") / "data") as url:
        yield url


@pytest.fixture
def model_settings(servers: Instance, fragile_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Where the model lives; its log looks often for what is lost."""
    monkeypatch.setattr(settling, "HEAD_CHECK_SECONDS", 0.05)
    monkeypatch.setattr(settling, "FIRST_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(delivery, "MAX_PASS_SECONDS", 0.2)
    return Settings(
        data=str(tmp_path / "data"),
        redis_url=servers.redis_url,
        mongo_url=fragile_url,
        database="model",
        lease_ttl_seconds=600.0,
    )


@pytest.mark.parametrize("name", BUGS)
async def test_the_check_fires(model_settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The story ends well as it is; with the bug, the check that the table names says so."""
    bug = BUGS[name]
    sound = await Model.open(model_settings)
    assert await bug.story(sound) == []
    await sound.close()
    spoilt = await Model.open(msgspec.structs.replace(model_settings, data=f"{model_settings.data}-spoilt"))
    spoilt.patience_seconds = PATIENCE_SECONDS
    with monkeypatch.context() as patch:
        bug.seed(patch)
        said = await bug.story(spoilt)
    await spoilt.close()
    assert [line for line in said if line.startswith(bug.check)], said


def test_the_table_lists_all_of_them() -> None:
    """The page names each bug with the check that caught it, and no other."""
    rows = [line.split("|") for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("| ")]
    listed = {row[1].strip(): row[2].strip() for row in rows[1:]}
    assert listed == {name: f"`{bug.check.rstrip(':')}`" for name, bug in BUGS.items()}
