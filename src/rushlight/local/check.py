"""Makes sure that the servers are what Rushlight needs, in a short-lived process so that the supervisor stays small.

The embedded mongod is made a replica set of one (and told its new address when the data directory has moved);
servers given by URL must be Redis ≥ 7.0 that never evicts and a MongoDB ≥ 6.0 replica set.

Run as ``python -m rushlight.local.check`` with the settings in the environment; answers with one line of JSON.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from rushlight.errors import RushlightError, SetupError, Unavailable, in_short
from rushlight.local.servers import REPLICA_SET, url_of_socket
from rushlight.settings import Settings

REACH_SECONDS = 5.0
PRIMARY_SECONDS = 120.0  # a large journal may have to be replayed after a crash
POLL_SECONDS = 0.02
EMBEDDED_MONGOD = "RUSHLIGHT_EMBEDDED_MONGOD"
MIN_REDIS = (7, 0)
MIN_MONGODB = (6, 0)
NOT_YET_INITIALIZED = 94


def check_redis(url: str) -> None:
    """Require a reachable Redis (or Valkey) ≥ 7.0 that never evicts.

    Raises:
        Unavailable: when it cannot be reached.
        SetupError: when it is too old, refuses us or evicts.
    """
    import redis

    where = f"Redis at {_shown(url)}"
    try:
        with contextlib.closing(
            redis.Redis.from_url(url, socket_timeout=REACH_SECONDS, socket_connect_timeout=REACH_SECONDS)
        ) as client:
            found: Mapping[str, Any] = client.info()
    except ValueError as error:
        raise SetupError(f"--redis-url is not a Redis URL ({error}): write redis://HOST:PORT") from error
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError, redis.ResponseError) as error:
        raise SetupError(f"{where} refuses us ({error}): correct user and password in --redis-url") from error
    except redis.RedisError as error:
        raise Unavailable(f"{where} cannot be reached ({error}): start it or correct --redis-url") from error
    if _version(found["redis_version"]) < MIN_REDIS:
        raise SetupError(f"{where} is version {found['redis_version']} and 7.0 or newer is needed: upgrade it")
    policy = found.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise SetupError(
            f"{where} would throw events away when its memory is full (maxmemory-policy {policy}): "
            "set it with `CONFIG SET maxmemory-policy noeviction` and in its configuration file"
        )


def check_mongo(url: str, option: str = "--mongo-url") -> None:
    """Require a reachable MongoDB ≥ 6.0 that knows transactions (a replica set, or a router of one).

    Raises:
        Unavailable: when it cannot be reached.
        SetupError: when it is too old, refuses us or stands alone.
    """
    import pymongo
    from pymongo import errors

    where = f"MongoDB at {_shown(url)}"
    try:
        with pymongo.MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=int(REACH_SECONDS * 1000)) as client:
            hello = client.admin.command("hello")
            version = client.server_info()["version"]
    except (errors.InvalidURI, errors.ConfigurationError, ValueError) as error:
        raise SetupError(f"{option} is not a MongoDB URL ({error}): write mongodb://HOST:PORT") from error
    except errors.OperationFailure as error:
        raise SetupError(f"{where} refuses us ({error.details}): correct user and password in {option}") from error
    except errors.PyMongoError as error:
        raise Unavailable(f"{where} cannot be reached ({in_short(error)}): start it or correct {option}") from error
    if _version(version) < MIN_MONGODB:
        raise SetupError(f"{where} is version {version} and 6.0 or newer is needed: upgrade it")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise SetupError(
            f"{where} is not a replica set, which transactions need (one node is enough): start mongod with "
            "`--replSet rs0` and run `rs.initiate()` once"
        )


def make_replica_set(address: Path) -> None:
    """Make the embedded mongod the primary of a replica set of one, wherever its socket lies now.

    Raises:
        Unavailable: when it has not become primary in time.
    """
    import pymongo
    from pymongo import errors

    deadline = time.monotonic() + PRIMARY_SECONDS
    _await_listening(address, deadline)
    while time.monotonic() < deadline:
        # A client that was opened before the set existed never learns that sessions are supported: one per try.
        with (
            contextlib.suppress(errors.PyMongoError),
            pymongo.MongoClient[dict[str, Any]](url_of_socket(address)) as client,
        ):
            _configure(client, str(address))
            while not client.admin.command("hello")["isWritablePrimary"] and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            return
        time.sleep(POLL_SECONDS)
    raise Unavailable(f"the embedded MongoDB did not become ready in {PRIMARY_SECONDS:.0f} s: see its log")


def _configure(client: Any, address: str) -> None:
    from pymongo import errors

    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except errors.OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": address}]})
        return
    if config["members"][0]["host"] != address:
        config["members"][0]["host"] = address
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)


def _await_listening(address: Path, deadline: float) -> None:
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(address))
            return
        time.sleep(POLL_SECONDS)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def _shown(url: str) -> str:
    """The URL without what is secret in it."""
    return urlsplit(url).netloc.rpartition("@")[2] or urlsplit(url).path or url


def check_servers(settings: Settings) -> None:
    """Check every server that is given by URL.

    Raises:
        Unavailable, SetupError: as the single checks do.
    """
    if settings.redis_url:
        check_redis(settings.redis_url)
    if settings.mongo_url:
        check_mongo(settings.mongo_url)
    if settings.orders_mongo_url:
        check_mongo(settings.orders_mongo_url, "--orders-mongo-url")


def main() -> None:
    """Do what the supervisor asks for in the environment and answer in one line."""
    settings = Settings.from_env()
    answer = {}
    try:
        check_servers(settings)
        if address := os.environ.get(EMBEDDED_MONGOD):
            make_replica_set(Path(address))
    except RushlightError as error:
        answer = {"error": str(error)}
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")


if __name__ == "__main__":
    main()
