"""``/health/live``: the process answers. ``/health/ready``: it can do its work; otherwise 503 and the reasons."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar import HttpMethod, Response, route
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from rushlight.health import Health, assess

READ = [HttpMethod.GET, HttpMethod.HEAD]


@route("/health/live", http_method=READ, summary="Is the process up?", sync_to_thread=False)
def get_live() -> Health:
    """Always 200 while the process answers."""
    return Health(status="live")


@route("/health/ready", http_method=READ, summary="Can the process do its work?")
async def get_ready(
    checks: NamedDependency[SkipValidation[Any]],
    concerns: NamedDependency[SkipValidation[Any]],
) -> Response[Health]:
    """200 when every part can do its work (``degraded``: with something missing), else 503; the reasons say why."""
    health = await assess(checks, concerns)
    unready = health.status == "unready"
    return Response(health, status_code=HTTPStatus.SERVICE_UNAVAILABLE if unready else HTTPStatus.OK)
