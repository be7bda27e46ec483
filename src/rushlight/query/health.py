"""``/health/live``: the process answers. ``/health/ready``: it can do its work; otherwise 503 and the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import pymongo
from litestar import HttpMethod, Response, route
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from pymongo.errors import PyMongoError

from rushlight.query.answers import Health
from rushlight.query.figures import Figures

CHECK_SECONDS = 1.0

# By name: whether a part of the process can do its work, and if not, why not.
Checks = Mapping[str, Callable[[], Awaitable[str | None]]]
READ = [HttpMethod.GET, HttpMethod.HEAD]


@route("/health/live", http_method=READ, summary="Is the process up?", sync_to_thread=False)
def get_live() -> Health:
    """Always 200 while the process answers."""
    return Health(status="live")


@route("/health/ready", http_method=READ, summary="Can the process do its work?")
async def get_ready(
    figures: NamedDependency[SkipValidation[Figures]],
    checks: NamedDependency[SkipValidation[Any]],
) -> Response[Health]:
    """200 when MongoDB and every part answer, else 503 with the first reason."""
    reason = await _reason(figures, checks)
    if reason is None:
        return Response(Health(status="ready"))
    return Response(Health(status="unready", reason=reason), status_code=HTTPStatus.SERVICE_UNAVAILABLE)


async def _reason(figures: Figures, checks: Checks) -> str | None:
    try:
        with pymongo.timeout(CHECK_SECONDS):
            await figures.database.client.admin.command("ping")
    except PyMongoError:
        return "MongoDB does not answer"
    for name, check in checks.items():
        if (reason := await check()) is not None:
            return f"{name}: {reason}"
    return None
