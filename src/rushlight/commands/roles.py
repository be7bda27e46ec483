"""One role by itself: on the servers that are given by URL, or those that run on the data directory."""

from __future__ import annotations

import asyncio

import msgspec

from rushlight.app import run
from rushlight.errors import SetupError
from rushlight.local import read, serve
from rushlight.local.check import check_servers
from rushlight.modules import require_modules
from rushlight.settings import Settings


def alone(role: str, settings: Settings) -> int:
    """Run a role in this process until a signal; where nothing runs on the data directory yet, with its own servers.

    Returns:
        The exit code.
    """
    try:
        require_modules(settings.modules)
        if settings.redis_url and settings.mongo_url:
            check_servers(settings)
            return run(role, settings)
        instance = read(settings.data)
        if instance is not None:
            own = {name: getattr(settings, name) for name in ("port", "status_port", "log_format")}
            own |= {"modules": settings.modules or instance.settings.modules}
            return run(role, msgspec.structs.replace(instance.settings, **own))
        asyncio.run(serve(settings, (role,)))
    except KeyboardInterrupt:
        pass  # the way to stop it, and it has stopped
    return 0


def relay(settings: Settings, *, finish: bool) -> int:
    """Move a shop's outboxes to the servers that are given by URL, or those that run on the data directory.

    Raises:
        SetupError: neither is there; a relay starts no servers of its own.
    """
    if not (settings.redis_url and settings.mongo_url):
        instance = read(settings.data)
        if instance is None:
            raise SetupError(
                "a relay delivers to servers that run already: give --redis-url and --mongo-url, or the --data of an "
                "instance that runs"
            )
        settings = msgspec.structs.replace(
            settings,
            redis_url=instance.redis_url,
            mongo_url=instance.mongo_url,
            database=instance.database,
            partitions=instance.settings.partitions,
        )
    else:
        check_servers(msgspec.structs.replace(settings, orders_mongo_url=None))
    try:
        return run("relay", settings, finish=finish)
    except KeyboardInterrupt:
        return 0
