"""The embedded servers are what the rest of the system builds on."""

from __future__ import annotations

from typing import Any

import pymongo
import redis

from rushlight.settings import Settings


def test_mongo_commits_transactions(settings: Settings) -> None:
    """The embedded MongoDB is a primary that knows transactions."""
    with pymongo.MongoClient[dict[str, Any]](settings.mongo_url) as client:
        with client.start_session() as session, session.start_transaction():
            client[settings.database].things.insert_one({"_id": 1}, session=session)
        assert client[settings.database].things.find_one() == {"_id": 1}


def test_valkey_never_evicts(settings: Settings) -> None:
    """The embedded Valkey is capped, refuses instead of evicting, and writes an append-only file."""
    assert settings.redis_url is not None
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        found = {name: client.config_get(name)[name] for name in ("maxmemory", "maxmemory-policy", "appendonly")}
    assert found == {"maxmemory": str(256 << 20), "maxmemory-policy": "noeviction", "appendonly": "yes"}
