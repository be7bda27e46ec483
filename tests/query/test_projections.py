"""A shop's own projection over HTTP: merged documents, page by page, and what it says when there is nothing to read."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from rushlight.local.instance import Instance
from rushlight.query.api import build
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.generations import Generations
from tests.query.world import client

DECLARED = """
from rushlight import Projection


class Parcels(Projection):
    name = "parcels_of_a_test"
"""


async def test_own_figures(servers: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """404 for what nobody declares and for Rushlight's own, 503 while it is built, then pages of what is live."""
    (tmp_path / "query_parcels.py").write_text(DECLARED)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = Settings(
        mongo_url=servers.mongo_url, database=f"test_{uuid.uuid4().hex[:12]}", modules=("query_parcels",)
    )
    database = await Database.connect(settings, role="test")
    generations = Generations(database)
    name = "parcels_of_a_test"
    await generations.register(name, 1)
    async with client(build(database, settings)) as http:
        for absent in ("nothing", "money"):
            assert (await http.get(f"/api/v1/projections/{absent}")).status_code == 404
        building = await http.get(f"/api/v1/projections/{name}")
        assert building.status_code == 503
        assert "being built" in building.json()["error"]["message"]
        documents = [
            {"_id": f"{generation}/{p:02d}/default/{key}", "p": p, "seq": 1, "n": n, "big": 1 << 40}
            for generation, p, key, n in (
                (1, 0, "a", 1),
                (1, 3, "a", 2),
                (1, 7, "b", 5),
                (2, 1, "a", 90),
                (1, 2, "c", 1),
            )
        ]
        await database.projection(name).insert_many(documents)
        await database.projection(name).insert_one({"_id": "1/00/other/a", "n": 7})
        await generations.flip(name, 1)
        first = (await http.get(f"/api/v1/projections/{name}?limit=2")).json()
        assert first["documents"] == {"a": {"n": 3, "big": 2 << 40}, "b": {"n": 5, "big": 1 << 40}}
        assert (first["projection"], first["generation"], first["next"]) == (name, 1, "b")
        rest = (await http.get(f"/api/v1/projections/{name}?limit=2&after=b")).json()
        assert (list(rest["documents"]), rest["next"]) == (["c"], None)
        assert list((await http.get(f"/api/v1/projections/{name}?prefix=b")).json()["documents"]) == ["b"]
        assert (await http.get(f"/api/v1/projections/{name}?limit=0")).status_code == 400
    await database.client.drop_database(database.name)
    await database.close()
