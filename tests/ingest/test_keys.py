"""Keys open what they say, for their shop, until they are revoked."""

from __future__ import annotations

import asyncio

import pytest

from rushlight.errors import Rejected, Unavailable
from rushlight.ingest import keys
from rushlight.ingest.keys import Key, Keyring, create, digest, revoke
from rushlight.settings import Settings
from rushlight.store.database import Database


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


async def test_the_memory_of_keys_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wrong keys are tried, only so many are remembered."""
    monkeypatch.setattr(keys, "MAX_CACHED_KEYS", 5)
    keyring = Keyring(database)
    for number in range(20):
        await keyring.verify(f"pk_{number}")
    assert len(keyring._cache) == 5


async def test_keys_are_made_for_real_kinds_and_shops(database: Database) -> None:
    """Anything else is refused with the field."""
    with pytest.raises(Rejected, match="kind"):
        await create(database, "admin")  # type: ignore[arg-type]
    with pytest.raises(Rejected, match="shop"):
        await create(database, "public", "No Shop!")
