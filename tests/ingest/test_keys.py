"""Keys open what they say, for their shop, until they are revoked."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from rushlight.errors import Rejected, Unavailable
from rushlight.ingest import keys
from rushlight.ingest.keys import Key, Keyring, change, create, digest, listed, revoke, rotate
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.ingest.making import until


async def test_a_key_is_known_by_its_hash_only(database: Database) -> None:
    """The text is handed out once; the database holds its hash, kind, shop and first characters."""
    text = await create(database, "secret", "north")
    assert text.startswith("sk_")
    assert len(text) >= 3 + 160 // 6
    document = await database.keys.find_one({})
    assert document is not None
    document.pop("createdAt")
    assert document == {"_id": digest(text), "kind": "secret", "shop": "north", "prefix": text[:9]}
    assert await Keyring(database).verify(text) == Key("secret", "north", text[:9])


@pytest.mark.parametrize("text", ["", "pk_", "sk_wrong", "nothing", "pk_" + "x" * 10_000, "pk_\udcff", "sk_$ne"])
async def test_other_texts_open_nothing(database: Database, text: str) -> None:
    """Whatever is not a key of ours is None, and asking twice does not ask the database twice."""
    keyring = Keyring(database)
    assert await keyring.verify(text) is None
    assert await keyring.verify(text) is None


async def test_a_revoked_key_stops_working(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within seconds it opens nothing, although it was in use all the time."""
    monkeypatch.setattr(keys, "FRESH_SECONDS", 0.05)
    monkeypatch.setattr(keys, "STALE_SECONDS", 0.1)
    text = await create(database, "public")
    keyring = Keyring(database)
    assert await keyring.verify(text) is not None
    assert await revoke(database, text[:9]) == 1
    assert await revoke(database, text) == 0
    async with asyncio.timeout(20):
        while await keyring.verify(text) is not None:  # noqa: ASYNC110 - the database is asked anew now and then
            await asyncio.sleep(0.02)


async def test_known_keys_work_without_mongodb(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While MongoDB is away a key that was good stays good, and one that was never seen is Unavailable, not refused."""
    monkeypatch.setattr(keys, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(keys, "STALE_SECONDS", 0.0)
    known, unknown = await create(database, "public"), await create(database, "public")
    own = await Database.connect(settings, role="tests")
    keyring = Keyring(own)
    found = await keyring.verify(known)
    await own.close()
    assert await keyring.verify(known) == found is not None
    with pytest.raises(Unavailable):
        await keyring.verify(unknown)


async def test_guesses_are_cheap(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not look like a key is never looked up, and what does only so often; only so many are remembered."""
    monkeypatch.setattr(keys, "MAX_CACHED_KEYS", 5)
    keyring = Keyring(database)
    good = await create(database, "public")
    assert await keyring.verify(good) is not None
    for number in range(20):
        assert await keyring.verify(f"pk_{number:032d}") is None
        assert await keyring.verify(f"pk_{number}") is None
    assert len(keyring._unknown) == 5
    assert await keyring.verify(good) is not None
    monkeypatch.setattr(keys, "LOOKUPS_PER_SECOND", 0.0)
    keyring._lookups = 0
    with pytest.raises(Unavailable, match="unknown keys"):
        await keyring.verify(f"pk_{99:032d}")
    assert await keyring.verify(f"pk_{19:032d}") is None
    assert await keyring.verify(good) is not None


async def test_a_rotated_key_works_until_its_grace_ends(database: Database) -> None:
    """The new key has the same rights; the old one is listed with its end and then opens nothing."""
    origins = ("https://shop.example", "https://*.shop.example")
    old = await create(database, "public", "north", origins=["HTTPS://shop.example:443", origins[1]], limit=50)
    new = await rotate(database, old[:9], timedelta(hours=24))
    keyring = Keyring(database)
    first, second = await keyring.verify(old), await keyring.verify(new)
    assert first is not None
    assert second is not None
    assert second == Key("public", "north", new[:9], origins, 50)
    assert first.expires is not None
    rows = {row.prefix: row for row in await listed(database)}
    assert rows[old[:9]].expires is not None
    assert (rows[new[:9]].expires, rows[new[:9]].origins, rows[new[:9]].limit) == (None, origins, 50)
    newest = await rotate(database, new, timedelta(0))
    assert await Keyring(database).verify(new) is None
    assert await Keyring(database).verify(newest) is not None
    with pytest.raises(Rejected, match="there is none"):
        await rotate(database, "pk_nobody", timedelta(0))


async def test_a_key_can_be_changed(database: Database) -> None:
    """Origins and limit are replaced or taken away, each without the other."""
    text = await create(database, "public", limit=5)
    await change(database, text[:9], origins=["http://localhost:3000"])
    assert await Keyring(database).verify(text) == Key("public", "default", text[:9], ("http://localhost:3000",), 5)
    await change(database, text, origins=[], limit=0)
    assert await Keyring(database).verify(text) == Key("public", "default", text[:9])
    for wrong in ("shop.example", "https://shop.example/cart", "https://a.*.example", "null", "https://*"):
        with pytest.raises(Rejected, match="origin"):
            await change(database, text, origins=[wrong])
    with pytest.raises(Rejected, match="limit"):
        await change(database, text, limit=-1)
    with pytest.raises(Rejected, match="origin"):
        await create(database, "secret", origins=["https://shop.example"])


async def test_a_listing_shows_when_a_key_was_used(database: Database) -> None:
    """To about a minute, and without a write for each use."""
    used, unused = await create(database, "public"), await create(database, "public")
    keyring = Keyring(database)
    await keyring.verify(used)

    async def noted() -> bool:
        return {row.prefix: row.used is not None for row in await listed(database)}[used[:9]]

    await until(noted)
    assert {row.prefix: row.used for row in await listed(database)}[unused[:9]] is None


async def test_keys_are_made_for_real_kinds_and_shops(database: Database) -> None:
    """Anything else is refused with the field."""
    with pytest.raises(Rejected, match="kind"):
        await create(database, "admin")  # type: ignore[arg-type]
    with pytest.raises(Rejected, match="shop"):
        await create(database, "public", "No Shop!")
