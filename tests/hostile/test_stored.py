"""Requests with something wrong in them, all the way: what a door accepted is stored, and every figure can be read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.hostile.fuzz import paths, run_one
from tests.hostile.payloads import mutated, text_of
from tests.hostile.site import Site, ask
from tests.ingest.making import until, working

SPAN = "from=2026-01-01T00:00:00Z&to=2036-01-01T00:00:00Z"
READ = ("summary", "funnel", "products", "sessions", "rejected", "tracking", "events", "parked")
INPUTS = 200


def test_from_the_door_to_the_figures(site: Site) -> None:
    """Nothing that was accepted is parked, the ledger balances, and no figure breaks on it."""

    @given(st.data(), paths, st.booleans())
    def one(data: st.DataObject, path: str, public: bool) -> None:
        key = site.keys.public if public else site.keys.secret
        headers = [("content-type", "application/json"), ("authorization", f"Bearer {key}")]
        assert site.call("POST", path, headers, text_of(data.draw(mutated(path)))).status < 500

    run_one(one, INPUTS)
    site.run(_settled(site))
    total = site.call("GET", "/api/v1/ledger").json["total"]
    assert total["parked"] == 0
    assert total["stored"] > 50
    for name in READ:
        answer = site.call("GET", f"/api/v1/{name}?{SPAN}")
        assert answer.status == 200, answer


async def _settled(site: Site) -> None:
    async def done() -> bool:
        ledger = (await ask(site.app, "GET", "/api/v1/ledger")).json
        total = ledger["total"]
        return bool(ledger["balanced"] and total["pending"] == 0 and total["stored"] + total["parked"] > 0)

    async with working(site.settings):
        await until(done)
