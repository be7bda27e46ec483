"""One site for the tests of a file; its database is dropped in the end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pymongo
import pytest
import redis

from rushlight.local.instance import Instance
from rushlight.settings import Settings
from tests.hostile.site import Site


@pytest.fixture(scope="module")
def site_settings(servers: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings on the session's servers with a database of the file's own."""
    with redis.Redis.from_url(servers.redis_url) as valkey:
        valkey.flushall()  # streams are of the server, not of a database
    database = f"test_{uuid.uuid4().hex[:12]}"
    data = tmp_path_factory.mktemp("hostile") / "data"
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushall()  # a worker of this file would take what another file left in the streams
    yield Settings(data=str(data), port=0, redis_url=servers.redis_url, mongo_url=servers.mongo_url, database=database)
    with pymongo.MongoClient[dict[str, object]](servers.mongo_url) as client:
        client.drop_database(database)


@pytest.fixture(scope="module")
def site(site_settings: Settings) -> Iterator[Site]:
    """Ingest, query API and board, with keys of two shops."""
    opened = Site(site_settings)
    yield opened
    opened.close()
