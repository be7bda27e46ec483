"""One role by itself: on the servers that are given by URL, or those that run on the data directory."""

from __future__ import annotations

import asyncio

import msgspec

from rushlight.app import run
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
            own = {"port": settings.port, "modules": settings.modules or instance.settings.modules}
            return run(role, msgspec.structs.replace(instance.settings, **own))
        asyncio.run(serve(settings, (role,)))
    except KeyboardInterrupt:
        pass  # the way to stop it, and it has stopped
    return 0
